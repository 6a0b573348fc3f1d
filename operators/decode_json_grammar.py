"""The grammar of common JSON samples, compiled: one message to its fields and values, or "ask the judge"."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.bytes_of_words import (
    eight_digits,
    first_special,
    hash_bytes,
    last_mix,
    low_bytes,
    mix,
    some_bytes,
    start_hash,
)
from operators.compiled import part
from operators.decimals import number
from operators.machine import load_word
from operators.times import Int, nanos_of_digits
from operators.types import F64, I64, U8

DONE, ASK, GROW = range(3)
HEAD = 13
ITEMS = 4096
"""Signals that one message may name here; more go to the judge."""

# places in `head`, what a message says besides its values; FILL counts rows written so far, ASIDE its values of
# unknown signals
SEEN, DEVICE, DEVICE_END, DEVICE_HASH, BOOT, BOOT_END, BOOT_HASH, TS, ARRIVAL, SEQ, FILL, NAMED, ASIDE = range(HEAD)
# bits of head[SEEN]
HAS_DEVICE, HAS_SENSOR, HAS_TS, HAS_V, HAS_SIGNALS, HAS_ARRIVAL, HAS_SEQ, HAS_BOOT = (1 << i for i in range(8))
# keys as little-endian numbers; no key is longer than 7 bytes, so equal numbers are equal keys
_K_DEVICE, _K_SENSOR, _K_TS, _K_V, _K_SIGNALS, _K_ARRIVAL, _K_SEQ, _K_BOOT = (
    int.from_bytes(key, "little")
    for key in (b"device", b"sensor", b"ts", b"v", b"signals", b"arrival", b"seq", b"boot")
)


class Items(NamedTuple):
    """The signals of one message: name bounds and hash, first value, number of values (-1: a plain number)."""

    start: I64
    end: I64
    hash: I64
    first: I64
    size: I64


@part
def _space(text: U8, p: int, end: int) -> int:
    while p < end and (text[p] == 32 or text[p] == 10 or text[p] == 13 or text[p] == 9):
        p += 1
    return p


@part
def _string(text: U8, p: int, end: int) -> tuple[int, np.uint64]:
    """From the byte after the opening quote: where the closing one is (-1: escapes, controls, none) and the hash."""
    h = start_hash()
    while p + 8 <= text.size:
        word = load_word(text, p)
        k = first_special(word)
        if k == 8:
            h = mix(h, word)
            p += 8
            continue
        p += k
        return p if p < end and text[p] == 34 else -1, last_mix(h, low_bytes(word, k), k)
    k = 0
    while p + k < end and text[p + k] != 34 and text[p + k] != 92 and text[p + k] >= 32:
        k += 1
    h = last_mix(h, some_bytes(text, p, k), k)
    p += k
    return p if p < end and text[p] == 34 else -1, h


@part
def _key(text: U8, p: int, end: int) -> tuple[int, Int]:
    """From the byte after the opening quote: where the closing one is (-1: after more than 7 bytes), and the key."""
    k = 0
    if p + 8 <= text.size:
        word = load_word(text, p)
        k = first_special(word)
        if k == 8 or p + k >= end or text[p + k] != 34:
            return -1, 0
        return p + k, np.int64(low_bytes(word, k))
    while p + k < end and text[p + k] != 34:
        k += 1
    return (p + k, np.int64(some_bytes(text, p, k))) if k < 8 and p + k < end else (-1, np.int64(0))


@part
def _digits(text: U8, p: int, end: int, most: int) -> tuple[int, np.int64]:
    """Digits without a leading zero: the position after them (-1: not so, or too many) and their number."""
    first = p
    value = np.int64(0)
    while p + 8 <= end and p + 8 - first <= most:
        eight = eight_digits(load_word(text, p))
        if eight < 0:
            break
        value = 100_000_000 * value + np.int64(eight)
        p += 8
    while p < end and 48 <= text[p] <= 57 and p - first <= most:
        value = 10 * value + np.int64(text[p] - 48)
        p += 1
    if p == first or p - first > most or (p - first > 1 and text[first] == 48):
        return -1, value
    return p, value


@part
def _time(text: U8, p: int, end: int) -> tuple[int, Int]:
    p, whole = _digits(text, p, end, 19)
    if p < 0 or whole < 0:  # 19 digits hold every nanosecond there is; beyond int64 they wrap to below 0
        return -1, 0
    fraction, digits = np.int64(0), 0
    if p < end and text[p] == 46:
        p += 1
        while p < end and 48 <= text[p] <= 57 and digits < 19:
            fraction = 10 * fraction + np.int64(text[p] - 48)
            digits += 1
            p += 1
        if digits == 0 or digits > 18:
            return -1, 0
    if p < end and (text[p] == 101 or text[p] == 69):
        return -1, 0
    return p, nanos_of_digits(whole, fraction, digits)


@part
def _values(text: U8, p: int, end: int, values: F64, fill: int) -> tuple[int, int, int]:
    """A number or a list of numbers: the position after it, the fill after it, how many (-1: a plain number).

    A position of -1: ask the judge; -2: `values` is full.
    """
    if p >= end or text[p] != 91:
        if fill >= values.size:
            return -2, fill, 0
        p, value = number(text, p, end)
        values[fill] = value
        return p, fill + 1, -1
    p = _space(text, p + 1, end)
    first = fill
    while True:
        if fill >= values.size:
            return -2, fill, 0
        p, value = number(text, p, end)
        if p < 0:
            return -1, fill, 0
        values[fill] = value
        fill += 1
        p = _space(text, p, end)
        if p >= end or (text[p] != 44 and text[p] != 93):
            return -1, fill, 0
        if text[p] == 93:
            return p + 1, fill, fill - first
        p = _space(text, p + 1, end)


@part
def _signals(text: U8, p: int, end: int, head: I64, items: Items, values: F64) -> int:
    """The object of signals, from its opening brace: the position after it, or -1, -2 as `_values`."""
    if p >= end or text[p] != 123:
        return -1
    p = _space(text, p + 1, end)
    while True:
        if p >= end or text[p] != 34:
            return -1
        k = head[NAMED]
        if k >= items.start.size:
            return -1
        items.start[k] = p + 1
        p, h = _string(text, p + 1, end)
        if p < 0:
            return -1
        items.end[k] = p
        items.hash[k] = np.int64(h)
        p = _space(text, p + 1, end)
        if p >= end or text[p] != 58:
            return -1
        items.first[k] = head[FILL]
        p, fill, count = _values(text, _space(text, p + 1, end), end, values, head[FILL])
        if p < 0:
            return p
        items.size[k] = count
        head[FILL] = fill
        head[NAMED] = k + 1
        p = _space(text, p, end)
        if p >= end or (text[p] != 44 and text[p] != 125):
            return -1
        if text[p] == 125:
            return p + 1
        p = _space(text, p + 1, end)


@part
def _field(text: U8, key: Int, p: int, end: int, head: I64, items: Items, values: F64) -> int:
    """The value of one top-level key, from its first byte: the position after it, or -1, -2 as `_values`."""
    seen = head[SEEN]
    if key in (_K_DEVICE, _K_SENSOR, _K_BOOT):
        bit = HAS_DEVICE if key == _K_DEVICE else (HAS_SENSOR if key == _K_SENSOR else HAS_BOOT)
        if seen & bit != 0 or p >= end:
            return -1
        head[SEEN] = seen | bit
        if key == _K_BOOT and text[p] != 34:
            stop, _ = _digits(text, p, end, 18)
            head[BOOT], head[BOOT_END], head[BOOT_HASH] = p, stop, np.int64(hash_bytes(text, p, stop))
            return stop
        stop, h = _string(text, p + 1, end)
        if stop < 0 or text[p] != 34:
            return -1
        if key == _K_SENSOR:
            items.start[0], items.end[0], items.hash[0] = p + 1, stop, np.int64(h)
        elif key == _K_DEVICE:
            head[DEVICE], head[DEVICE_END], head[DEVICE_HASH] = p + 1, stop, np.int64(h)
        else:
            head[BOOT], head[BOOT_END], head[BOOT_HASH] = p + 1, stop, np.int64(h)
        return stop + 1
    if key in (_K_TS, _K_ARRIVAL):
        bit, place = (HAS_TS, TS) if key == _K_TS else (HAS_ARRIVAL, ARRIVAL)
        if seen & bit != 0:
            return -1
        head[SEEN] = seen | bit
        p, head[place] = _time(text, p, end)
        return p if head[place] > 0 else -1
    if key == _K_SEQ:
        if seen & HAS_SEQ:
            return -1
        head[SEEN] = seen | HAS_SEQ
        p, head[SEQ] = _digits(text, p, end, 18)
        return p
    if seen & (HAS_V | HAS_SIGNALS) != 0:
        return -1
    if key == _K_SIGNALS:
        if seen & HAS_SENSOR != 0:
            return -1
        head[SEEN] = seen | HAS_SIGNALS
        return _signals(text, p, end, head, items, values)
    if key != _K_V:
        return -1
    head[SEEN] = seen | HAS_V
    items.first[0] = head[FILL]
    p, fill, items.size[0] = _values(text, p, end, values, head[FILL])
    head[FILL] = fill
    head[NAMED] = 1
    return p


@part
def parse(text: U8, p: int, end: int, head: I64, items: Items, values: F64) -> int:
    """One message into `head`, `items` and `values`, from head[FILL] on: DONE, ASK or GROW."""
    head[SEEN] = 0
    head[NAMED] = 0
    p = _space(text, p, end)
    if p >= end or text[p] != 123:
        return ASK
    p = _space(text, p + 1, end)
    while True:
        if p >= end or text[p] != 34:
            return ASK
        p, key = _key(text, p + 1, end)
        if p < 0:
            return ASK
        p = _space(text, p + 1, end)
        if p >= end or text[p] != 58:
            return ASK
        p = _field(text, key, _space(text, p + 1, end), end, head, items, values)
        if p < 0:
            return GROW if p == -2 else ASK
        p = _space(text, p, end)
        if p >= end or (text[p] != 44 and text[p] != 125):
            return ASK
        if text[p] == 125:
            break
        p = _space(text, p + 1, end)
    if _space(text, p + 1, end) != end:
        return ASK
    seen = head[SEEN]
    shape = seen & (HAS_SENSOR | HAS_V | HAS_SIGNALS)
    whole = shape == HAS_SIGNALS or shape == (HAS_SENSOR | HAS_V)
    return DONE if whole and seen & HAS_DEVICE != 0 else ASK
