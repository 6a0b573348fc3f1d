"""Common JSON samples straight to columns, compiled. What is not plainly good is left to `decode_json`, the judge.

A message is taken here only when every byte of it is understood: strict grammar, known keys, no escapes, a known
device and boot, known signals, values in range. So nothing here ever rejects; it stops at the row and says why.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.byte_index import Table, find
from operators.bytes_of_words import same
from operators.compiled import kernel, part
from operators.decode_json_grammar import (
    ARRIVAL,
    ASIDE,
    ASK,
    BOOT,
    BOOT_END,
    BOOT_HASH,
    DEVICE,
    DEVICE_END,
    DEVICE_HASH,
    DONE,
    FILL,
    HAS_ARRIVAL,
    HAS_BOOT,
    HAS_SEQ,
    HAS_TS,
    NAMED,
    SEEN,
    SEQ,
    TS,
    Items,
    parse,
)
from operators.frames import PLAIN, READ
from operators.frames import TRUSTED as CLOCK_TRUSTED
from operators.names import LONGEST_NAME
from operators.signal_plan import NORM_TOLERANCE, Columns
from operators.types import F64, I32, I64, U8, Quality

MOST_UNKNOWN = 64
"""Signals of a message among which unknown ones are set aside here; beyond, the judge does it."""
_ARRIVAL_AS_TIME, _SENTINEL = int(Quality.ARRIVAL_AS_TIME), int(Quality.SENTINEL)


class Wire(NamedTuple):
    """The frames, and what is known of each row besides its bytes: `notes` of operators.frames, READ = to the judge."""

    buffer: U8
    start: I64
    end: I64
    key_start: I64
    key_end: I64
    offset: I64
    arrival: I64
    notes: U8


class Known(NamedTuple):
    """Devices and boots met so far; boots with a number up to newest - remembered are forgotten."""

    devices: Table
    type_numbers: I32
    ids: I32
    boots: Table
    boot_ids: I32
    newest: I32
    remembered: int


class Rows(NamedTuple):
    """Samples as they are written, of all types mixed; grows by doubling."""

    type: I32
    series: I32
    ts: I64
    arrival: I64
    value: F64
    quality: U8
    seq: I64
    boot: I32
    offset: I64


class Facts(NamedTuple):
    """What became of each message: kind, type, device, number of rows and of values set aside, sequence number, boot,
    whether its clock is trusted."""

    kind: U8
    type: I32
    device: I32
    rows: I32
    aside: I32
    seq: I64
    boot: I32
    trusted: U8


@part
def _unknown(text: U8, items: Items, k: int) -> bool:
    """Whether the name of item k is plainly good text that no earlier item has; else the judge looks."""
    start, end = items.start[k], items.end[k]
    if not (0 < end - start <= LONGEST_NAME and k < MOST_UNKNOWN):
        return False
    for p in range(start, end):
        if text[p] < 32 or text[p] > 126:
            return False
    again = 0
    for i in range(k):
        again += items.hash[i] == items.hash[k]
    return again == 0


@part
def fits(columns: Columns, flat: int, value: float) -> int:
    """0: out of range, 1: a reading, 2: a sentinel."""
    for i in range(columns.sentinel_at[flat], columns.sentinel_at[flat + 1]):
        if columns.sentinels[i] == value:
            return 2
    return 1 if columns.low[flat] <= value <= columns.high[flat] else 0


@part
def _resolve(
    text: U8, columns: Columns, items: Items, head: I64, type_number: int, base: int, stamp: I64, row: int, out: Rows,
    fill: int,
) -> int:  # fmt: skip
    """Signals and quality of the values of one message, those of unknown signals counted in head[ASIDE]; the fill after
    it, or -1: ask the judge."""
    head[ASIDE] = 0
    for k in range(head[NAMED]):
        start, end, n = items.start[k], items.end[k], items.size[k]
        entry = find(columns.names, type_number, text, start, end, np.uint64(items.hash[k]))
        known = 0
        if entry < 0:
            if not _unknown(text, items, k):
                return -1
        elif n < 0:
            known = 1
            if columns.scalar[entry] < 0 or columns.alone[base + columns.scalar[entry]] == 0:
                return -1
        else:
            known = columns.list_length[entry]
            if columns.scalar[entry] >= 0 or (columns.declared[entry] != 0 and known != n):
                return -1
        head[ASIDE] += max(max(n, 1) - known, 0)
        total = 0.0
        for j in range(min(max(n, 1), known)):
            value = out.value[items.first[k] + j]
            signal = columns.scalar[entry] if n < 0 else columns.elements[columns.list_at[entry] + j]
            fit = fits(columns, base + signal, value)
            if fit == 0 or stamp[base + signal] == row or (fit == 2 and columns.unit_norm[entry] != 0):
                return -1
            stamp[base + signal] = row
            out.value[fill] = value
            out.series[fill] = signal
            out.quality[fill] = _SENTINEL if fit == 2 else 0
            fill += 1
            total += value * value
        if known > 1 and columns.unit_norm[entry] != 0 and not abs(np.sqrt(total) - 1.0) <= NORM_TOLERANCE:
            return -1
    return fill


@part
def _boot(text: U8, head: I64, known: Known, device: int) -> int:
    entry = find(known.boots, device, text, head[BOOT], head[BOOT_END], np.uint64(head[BOOT_HASH]))
    if entry < 0 or known.boot_ids[entry] <= known.newest[device] - known.remembered:
        return -1
    return int(known.boot_ids[entry])


@part
def _take(
    wire: Wire, known: Known, columns: Columns, head: I64, items: Items, stamp: I64, row: int, out: Rows, facts: Facts,
    fill: int,
) -> bool:  # fmt: skip
    """Write the rows of a parsed message; False: ask the judge."""
    text = wire.buffer
    seen, start, end = head[SEEN], head[DEVICE], head[DEVICE_END]
    device = find(known.devices, 0, text, start, end, np.uint64(head[DEVICE_HASH]))
    if device < 0:
        return False
    key = wire.key_start[row]
    if key >= 0 and (wire.key_end[row] - key != end - start or not same(text, key, text, start, end - start)):
        return False
    boot = 0
    if seen & HAS_BOOT != 0:
        boot = _boot(text, head, known, device)
        if boot < 0:
            return False
    type_number = known.type_numbers[device]
    base = columns.base[type_number]
    arrival, note = wire.arrival[row], wire.notes[row]
    trusted = columns.trusted[type_number] if note == PLAIN else np.uint8(note == CLOCK_TRUSTED)
    if seen & HAS_ARRIVAL != 0 and (arrival <= 0 or trusted != 0):
        arrival = head[ARRIVAL]
    if seen & HAS_TS == 0 and arrival <= 0:
        return False
    filled = _resolve(text, columns, items, head, type_number, base, stamp, row, out, fill)
    if filled < 0:
        return False
    head[FILL] = filled
    ts = head[TS] if seen & HAS_TS != 0 else arrival
    if arrival <= 0:
        arrival = ts
    flag = 0 if seen & HAS_TS != 0 else _ARRIVAL_AS_TIME
    seq = head[SEQ] if seen & HAS_SEQ != 0 else -1
    first = known.ids[device] * columns.width[type_number]
    for at in range(fill, filled):
        out.type[at] = type_number
        out.series[at] += first
        out.ts[at] = ts
        out.arrival[at] = arrival
        out.quality[at] |= flag
        out.seq[at] = seq
        out.boot[at] = boot
        out.offset[at] = wire.offset[row]
    facts.kind[row] = 1
    facts.type[row] = type_number
    facts.device[row] = known.ids[device]
    facts.rows[row] = filled - fill
    facts.aside[row] = head[ASIDE]
    facts.seq[row] = seq
    facts.boot[row] = boot
    facts.trusted[row] = trusted
    return True


@part
def _no_object(text: U8, start: int, end: int) -> bool:
    """Whether the last byte tells that this is no JSON object, whatever lies before: cut off, most of the time."""
    while end > start and (text[end - 1] == 32 or text[end - 1] == 10 or text[end - 1] == 13 or text[end - 1] == 9):
        end -= 1
    return end == start or text[end - 1] != 125


@kernel
def scan(
    wire: Wire,
    known: Known,
    columns: Columns,
    head: I64,
    items: Items,
    stamp: I64,
    row: int,
    out: Rows,
    fill: int,
    facts: Facts,
) -> tuple[int, int, int]:
    """Rows from `row` on, until one needs something: that row, the fill before it, and DONE, ASK or GROW.

    Messages that can only be refused are passed over; their kind stays 0, and why they are is for the judge to say.

    Args:
        stamp: int64[flat signals], the last message that named each; it finds signals named twice.
    """
    while row < wire.start.size:
        if wire.notes[row] >= READ:
            return row, fill, ASK
        head[FILL] = fill
        code = parse(wire.buffer, wire.start[row], wire.end[row], head, items, out.value)
        if code == ASK and _no_object(wire.buffer, wire.start[row], wire.end[row]):
            row += 1
            continue
        if code != DONE:
            return row, fill, code
        if not _take(wire, known, columns, head, items, stamp, row, out, facts, fill):
            return row, fill, ASK
        fill = head[FILL]
        row += 1
    return row, fill, DONE
