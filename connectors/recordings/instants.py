"""Times of recordings to int64 nanoseconds UTC, exactly; what is no time becomes NO_TIME."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

import numpy as np

from operators.types import I64, NO_TIME

SECOND = 1_000_000_000
MAX_TIME_NS = 9_214_646_400 * SECOND
"""2262-01-01; the wire takes times from 1970 up to here."""
PLAIN_FROM = 10**17
"""From here on (1973-03-03) a whole number on the wire is read as nanoseconds."""
_STEP = 900 * SECOND
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?)?\s*(Z|[+-]\d\d:?\d\d)?", re.I | re.A
)
_DURATION = re.compile(r"(\d+(?:\.\d*)?) *(ns|us|ms|s|min|h|d)?", re.A)
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": SECOND, "min": 60 * SECOND, "h": 3600 * SECOND, "d": 86_400 * SECOND}


def duration_ns(text: str) -> int | None:
    """Nanoseconds of text such as 100ms, 2s, 5min, 1h; a bare number is seconds; None where it is no duration.

    >>> duration_ns("1.5min"), duration_ns("30"), duration_ns("soon")
    (90000000000, 30000000000, None)
    """
    match = _DURATION.fullmatch(text.strip())
    return None if match is None else int(Decimal(match[1]) * _UNITS[match[2] or "s"])


def iso_ns(text: str, zone: str) -> int:
    """One ISO 8601 date, or date and time; `zone` where it names none.

    >>> iso_ns("2020-03-09 10:34:33", "UTC"), iso_ns("2020-03-09T10:34:33.5+03:00", "UTC")
    (1583750073000000000, 1583739273500000000)
    """
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return NO_TIME
    year, month, day, hour, minute, second = (int(match[i] or 0) for i in range(1, 7))
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return NO_TIME
    whole = int((local - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))
    nanos = whole * SECOND + int((match[7] or "0").ljust(9, "0"))
    if not match[8]:
        return checked(int(from_zone(np.array([nanos]), zone)[0])) if 0 <= nanos < MAX_TIME_NS else NO_TIME
    digits = match[8].replace(":", "")
    ahead = 0 if digits in "Zz" else (int(digits[1:3]) * 60 + int(digits[3:5])) * (-1 if digits[0] == "-" else 1)
    return checked(nanos - ahead * 60 * SECOND)


def checked(nanos: int) -> int:
    """The time, or NO_TIME where the wire would not take it."""
    return nanos if 0 < nanos < MAX_TIME_NS else NO_TIME


def pattern_ns(text: str, pattern: str, zone: str) -> int:
    """One time in a strptime pattern, to the microsecond."""
    try:
        parsed = datetime.strptime(text.strip(), pattern)
    except ValueError:
        return NO_TIME
    local = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    nanos = int((local - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
    if parsed.tzinfo or not 0 <= nanos < MAX_TIME_NS:
        return checked(nanos)
    return checked(int(from_zone(np.array([nanos]), zone)[0]))


def unix_ns(text: str, unit_ns: int, start_ns: int) -> int:
    """One number of units since `start_ns`, exactly.

    >>> unix_ns("1432235498.025043042", 10**9, 0)
    1432235498025043042
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return NO_TIME
    return checked(int(value * unit_ns) + start_ns) if value.is_finite() and abs(value) < 10**20 else NO_TIME


def from_zone(local: I64, zone: str) -> I64:
    """UTC of local times, both ns; of a doubled hour the first is meant.

    >>> from_zone(np.array([1_700_000_000 * SECOND]), "Europe/Berlin").tolist()
    [1699996400000000000]
    """
    if zone == "UTC":
        return local
    place = ZoneInfo(zone)
    steps, at = np.unique(local // _STEP, return_inverse=True)
    epoch = datetime(1970, 1, 1)
    ahead = [place.utcoffset(epoch + timedelta(seconds=int(step) * 900)) for step in steps]
    offsets = np.array([round((a or timedelta()) / timedelta(seconds=1)) for a in ahead], np.int64)
    return np.asarray(local - offsets[at] * SECOND, np.int64)


def wire_time(nanos: int) -> str:
    """A time as a JSON number that the wire contract reads as exactly this instant.

    >>> wire_time(1583750073000000000), wire_time(5_000_000_001)
    ('1583750073000000000', '5.000000001')
    """
    return str(nanos) if nanos >= PLAIN_FROM else f"{nanos // SECOND}.{nanos % SECOND:09d}"


def each(texts: Sequence[str], unit_ns: int, start_ns: int) -> I64:
    """`unix_ns` of each text."""
    return np.array([unix_ns(text, unit_ns, start_ns) for text in texts], np.int64)
