"""Bytes looked at eight at a time, in compiled code: ends of strings, runs of digits, equality, hashes.

The tricks are those of Warren, Hacker's Delight (2nd edition, 6-1: find the first 0-byte), and Lemire, "Quickly parsing
eight digits" (2018). A word is 8 bytes as a uint64, the first in the lowest bits.
"""

from __future__ import annotations

import numpy as np

from operators.compiled import part
from operators.machine import load_word, trailing_zeros
from operators.types import U8

_ONES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES, _SPACES = (np.uint64(c * 0x0101010101010101) for c in (34, 92, 32))
_NOUGHTS, _TO_TOP = np.uint64(0x3030303030303030), np.uint64(0x4646464646464646)
_SEED, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


@part
def low_bytes(word: np.uint64, count: int) -> np.uint64:
    """The first `count` bytes of a word, 0 to 7, the others zero."""
    return np.uint64(word & ~(_FULL << np.uint64(8 * count)))


@part
def some_bytes(text: U8, start: int, count: int) -> np.uint64:
    """Up to 7 bytes from `start` on as a word, the others zero."""
    if start + 8 <= text.size:
        return low_bytes(load_word(text, start), count)
    word = np.uint64(0)
    for i in range(count):
        word |= np.uint64(text[start + i]) << np.uint64(8 * i)
    return word


@part
def first_special(word: np.uint64) -> int:
    """Place of the first byte that is a quote, a backslash or a control, 8 where there is none."""
    q, b = word ^ _QUOTES, word ^ _BACKSLASHES
    found = ((q - _ONES) & ~q) | ((b - _ONES) & ~b) | ((word - _SPACES) & ~word)
    return int(trailing_zeros(found & _TOPS) >> 3)


@part
def mix(h: np.uint64, word: np.uint64) -> np.uint64:
    """A hash after one more word."""
    h = (h ^ word) * _PRIME
    return np.uint64(h ^ (h >> _32))


@part
def start_hash() -> np.uint64:
    """The hash of nothing."""
    return _SEED


@part
def hash_bytes(text: U8, start: int, end: int) -> np.uint64:
    """Hash of text[start:end]: its whole words, then what is left of it together with how much that is."""
    h = _SEED
    p = start
    while p + 8 <= end:
        h = mix(h, load_word(text, p))
        p += 8
    return last_mix(h, some_bytes(text, p, end - p), end - p)


@part
def last_mix(h: np.uint64, rest: np.uint64, count: int) -> np.uint64:
    """A hash after the last `count` bytes, 0 to 7; the top byte of `rest` is free to say how many."""
    return mix(h, rest | (np.uint64(count + 1) << np.uint64(56)))


@part
def same(a: U8, at_a: int, b: U8, at_b: int, length: int) -> bool:
    """Whether so many bytes of a, from at_a, are those of b, from at_b."""
    k = 0
    while k + 8 <= length:
        if load_word(a, at_a + k) != load_word(b, at_b + k):
            return False
        k += 8
    return bool(some_bytes(a, at_a + k, length - k) == some_bytes(b, at_b + k, length - k))


@part
def eight_digits(word: np.uint64) -> int:
    """The number that 8 decimal digits make, -1 where one of the bytes is none."""
    if (((word + _TO_TOP) | (word - _NOUGHTS)) & _TOPS) != np.uint64(0):
        return -1
    w = word - _NOUGHTS
    w = w * np.uint64(10) + (w >> np.uint64(8))
    low = np.uint64(0x000000FF000000FF)
    high = ((w >> np.uint64(16)) & low) * np.uint64(0x0000271000000001)
    return int(np.int64(((w & low) * np.uint64(0x000F424000000064) + high) >> _32))
