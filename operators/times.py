"""Timestamps of the wire to int64 nanoseconds UTC, exactly: integers stay integers, decimals are read as text.

The size of a number says its unit: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else
nanoseconds. What is finer than a nanosecond is cut off. Zero, negative times and times from 2262 on are no times.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TypeAlias

import numpy as np

from operators.compiled import kernel, part
from operators.types import I64

MAX_TIME_NS = 9_214_646_400 * 1_000_000_000
"""2262-01-01T00:00:00Z, the first instant that is refused: the rest up to int64 is room for sums."""
LONGEST_TEXT = 64
"""Characters a timestamp may have on the wire."""

Int: TypeAlias = int | np.int64

_NUMBER = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def nanos_of_number(text: str) -> int | None:
    """Nanoseconds of a JSON number given as text; None where it is no time.

    >>> nanos_of_number("1700000000.123456789"), nanos_of_number("1700000000123"), nanos_of_number("-1")
    (1700000000123456789, 1700000000123000000, None)
    """
    match = _NUMBER.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    if match is None or text.startswith("-"):
        return None
    whole, fraction, exponent = match[1], match[2] or "", int(match[3] or "0")
    if abs(exponent) > 2 * LONGEST_TEXT:
        return None
    scale = exponent - len(fraction)
    mantissa = int(whole + fraction)
    # value = mantissa * 10**scale, compared and scaled as integers only
    for limit, nanos in ((11, 9), (14, 6), (17, 3)):
        if _times_ten(mantissa, scale - limit) < 1:
            return _checked(_times_ten(mantissa, scale + nanos))
    return _checked(_times_ten(mantissa, scale))


def _times_ten(mantissa: int, power: int) -> int:
    shift: int = 10 ** abs(power)
    return mantissa * shift if power >= 0 else mantissa // shift


def _checked(nanos: int) -> int | None:
    return nanos if 0 < nanos < MAX_TIME_NS else None


def nanos_of_text(text: str) -> int | None:
    """Nanoseconds of an RFC 3339 date-time with zone; None where it is none (a leap second :60 is none).

    >>> nanos_of_text("2023-11-14T22:13:20.5Z"), nanos_of_text("2023-11-14T22:13:20")
    (1700000000500000000, None)
    """
    match = _RFC3339.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    zone = 60 * int(match[9] or 0) + int(match[10] or 0)
    if hour > 23 or minute > 59 or second > 59 or int(match[9] or 0) > 23 or int(match[10] or 0) > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    seconds = 86400 * days + 3600 * hour + 60 * minute + second - 60 * (-zone if match[8] == "-" else zone)
    return _checked(seconds * 1_000_000_000 + int((match[7] or "0")[:9].ljust(9, "0")))


@part
def nanos_of_digits(whole: Int, fraction: Int, digits: int) -> Int:
    """Nanoseconds of whole.fraction, the fraction with so many digits (at most 18); 0 where it is no time.

    Args:
        whole: at least 0, below 2**63.
        fraction: at least 0, below 10**digits.
    """
    if whole < 100_000_000_000:
        keep, unit = 9, 1_000_000_000
    elif whole < 100_000_000_000_000:
        keep, unit = 6, 1_000_000
    elif whole < 100_000_000_000_000_000:
        keep, unit = 3, 1_000
    else:
        keep, unit = 0, 1
    if whole >= MAX_TIME_NS // unit:
        return 0
    for _ in range(digits, keep):
        fraction *= 10
    for _ in range(keep, digits):
        fraction //= 10
    return whole * unit + fraction


@kernel
def _nanos_of_column(raw: I64, out: I64) -> int:
    for i in range(raw.size):
        out[i] = nanos_of_digits(raw[i], 0, 0) if raw[i] > 0 else 0
        if out[i] == 0:
            return i
    return -1


def nanos_of_integers(raw: I64) -> tuple[I64, int]:
    """Nanoseconds of int64[n] wire times, and the first row that is no time (-1: all are)."""
    out = np.empty(raw.size, np.int64)
    return out, int(_nanos_of_column(raw, out))
