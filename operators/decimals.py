"""JSON numbers to the nearest float64 in compiled code, bit-equal to Python's float(), or an honest "cannot say".

Short numbers are exact products of two floats (Clinger 1990); the rest takes the 128-bit product of Lemire, "Number
parsing at a gigabyte per second" (2021), with his table of powers of five. What neither settles (over 19 digits,
subnormal or infinite results) is left to the caller's slow path.
"""

from __future__ import annotations

import numpy as np

from operators.compiled import kernel, part
from operators.types import U8

_SMALLEST, _LARGEST = -342, 308


def _powers_of_five() -> tuple[list[int], list[int]]:
    """The 128 leading bits of 5**q for q in [-342, 308]: high and low halves."""
    high, low = [], []
    for q in range(_SMALLEST, _LARGEST + 1):
        if q >= 0:
            power = 5**q
            shift = power.bit_length() - 128
            bits = power >> shift if shift > 0 else power << -shift
        else:
            power = 5**-q
            bits = (1 << (2 * power.bit_length() + 128)) // power + 1
            bits >>= bits.bit_length() - 128
        high.append(bits >> 64)
        low.append(bits & (1 << 64) - 1)
    return high, low


_HIGH, _LOW = (np.array(half, np.uint64) for half in _powers_of_five())
_TEN = np.array([10.0**i for i in range(23)])
_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
_HALF = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_ONE = np.uint64(1)


@part
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    a0, a1, b0, b1 = a & _HALF, a >> _32, b & _HALF, b >> _32
    low = a0 * b0
    mid = a1 * b0 + (low >> _32)
    mid2 = a0 * b1 + (mid & _HALF)
    return a1 * b1 + (mid >> _32) + (mid2 >> _32), (mid2 << _32) | (low & _HALF)


@part
def _nearest(digits: np.uint64, power: np.int64) -> tuple[bool, float]:
    """Whether the nearest float64 of digits * 10**power could be told, and which it is."""
    if digits == np.uint64(0):
        return True, 0.0
    if power < _SMALLEST or power > _LARGEST:
        return False, 0.0
    w = digits
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if w >> np.uint64(64 - step) == np.uint64(0):
            w <<= np.uint64(step)
            zeros += step
    upper, lower = _product(w, _HIGH[power - _SMALLEST])
    if upper & np.uint64(0x1FF) == np.uint64(0x1FF):
        more, _ = _product(w, _LOW[power - _SMALLEST])
        lower += more
        if more > lower:
            upper += _ONE
    if lower == _FULL and (power < -27 or power > 55):
        return False, 0.0
    top = upper >> np.uint64(63)
    shift = top + np.uint64(9)
    mantissa = upper >> shift
    exponent = (((152170 + 65536) * power) >> 16) + 63 + np.int64(top) - zeros + 1023
    if exponent <= 0:
        return False, 0.0
    tie = lower <= _ONE and -4 <= power <= 23 and mantissa & np.uint64(3) == _ONE
    if tie and mantissa << shift == upper:
        mantissa -= _ONE
    mantissa = (mantissa + (mantissa & _ONE)) >> _ONE
    if mantissa >= np.uint64(1 << 53):
        mantissa = np.uint64(1 << 52)
        exponent += 1
    if exponent >= 2047:
        return False, 0.0
    bits = (mantissa & np.uint64((1 << 52) - 1)) | (np.uint64(exponent) << np.uint64(52))
    return True, np.uint64(bits).view(np.float64)


@part
def number(text: U8, at: int, end: int) -> tuple[int, float]:
    """The JSON number that starts at `at`: the position after it (-1: not settled here) and its value."""
    negative = at < end and text[at] == 45
    p = at + 1 if negative else at
    first = p
    digits = np.uint64(0)
    while p < end and 48 <= text[p] <= 57:
        digits = digits * np.uint64(10) + np.uint64(text[p] - 48)
        p += 1
    count = p - first
    if count == 0 or (count > 1 and text[first] == 48):
        return -1, 0.0
    power = np.int64(0)
    if p < end and text[p] == 46:
        p += 1
        point = p
        while p < end and 48 <= text[p] <= 57:
            digits = digits * np.uint64(10) + np.uint64(text[p] - 48)
            p += 1
        power = np.int64(point - p)
        count += p - point
        if power == 0:
            return -1, 0.0
    if count > 19:
        return -1, 0.0
    if p < end and (text[p] == 101 or text[p] == 69):
        p, exponent = _exponent(text, p + 1, end)
        if p < 0:
            return -1, 0.0
        power += exponent
    if digits < np.uint64(1 << 53) and -22 <= power <= 22:
        exact = float(digits)
        value = exact / _TEN[-power] if power < 0 else exact * _TEN[power]
    else:
        known, value = _nearest(digits, power)
        if not known:
            return -1, 0.0
    return p, -value if negative else value


@part
def _exponent(text: U8, at: int, end: int) -> tuple[int, np.int64]:
    p = at
    negative = False
    if p < end and (text[p] == 43 or text[p] == 45):
        negative = text[p] == 45
        p += 1
    first = p
    exponent = np.int64(0)
    while p < end and 48 <= text[p] <= 57 and p - first < 5:
        exponent = 10 * exponent + np.int64(text[p] - 48)
        p += 1
    if p == first or p - first == 5:
        return -1, exponent
    return p, -exponent if negative else exponent


@kernel
def _whole(text: U8, size: int) -> tuple[int, float]:
    return number(text, 0, size)


def read_number(text: bytes) -> float | None:
    """The value of one whole JSON number, None where the compiled reader cannot settle it.

    >>> read_number(b"0.1"), read_number(b"1e999"), read_number(b"01")
    (0.1, None, None)
    """
    at, value = _whole(np.frombuffer(text or b" ", np.uint8), len(text))
    return float(value) if at == len(text) and text else None
