"""Cells of a table to numbers and instants, a whole column at once where it is clean, else only its bad part slowly."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from pyarrow import compute

from connectors.recordings.instants import MAX_TIME_NS, SECOND, each, from_zone, iso_ns, pattern_ns
from connectors.recordings.mapping import UNIX_NS, Time
from operators.types import F64, I64, NO_TIME, Mask

Column: TypeAlias = pa.Array
NOTHING = ("", "nan", "na", "n/a", "null", "none", "-", "?")
"""Cells without a value, in any case."""
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
_PER_SECOND = {"s": SECOND, "ms": 10**6, "us": 10**3, "ns": 1}


def is_text(column: Column) -> bool:
    """Whether the cells are text."""
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def floats(column: Column, decimal: str = ".") -> tuple[F64, Mask]:
    """Values, NaN where a cell holds none, and the cells that hold something else than a finite number.

    Raises:
        TypeError: the column is of a type that has no numbers.

    >>> values, bad = floats(pa.array(["1.5", "NaN", "x", " 2"]))
    >>> values.tolist(), bad.tolist()
    ([1.5, nan, nan, 2.0], [False, False, True, False])
    """
    if is_text(column):
        trimmed = compute.utf8_trim_whitespace(column)
        if decimal == ",":
            trimmed = compute.replace_substring(trimmed, ",", ".")
        void = compute.is_in(compute.utf8_lower(trimmed), value_set=pa.array(NOTHING))
        values, bad = _parsed(compute.if_else(void, pa.scalar(None, pa.string()), trimmed))
    elif any(holds(column.type) for holds in _NUMERIC):
        values, bad = compute.cast(column, pa.float64(), safe=False), np.zeros(len(column), np.bool_)
    else:
        raise TypeError(f"{column.type} holds no numbers")
    out = np.array(values.to_numpy(zero_copy_only=False), np.float64)
    bad |= np.isinf(out)
    out[bad] = np.nan
    return out, bad


def _parsed(texts: Column) -> tuple[Column, Mask]:
    """Numbers of text cells: all at once, or halved until the cells that are none stand alone."""
    try:
        return compute.cast(texts, pa.float64()), np.zeros(len(texts), np.bool_)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            text = texts[0].as_py()
            good = _NUMBER.fullmatch(text) is not None
            return pa.array([float(text) if good else None], pa.float64()), np.array([not good])
    half = len(texts) // 2
    (a, bad_a), (b, bad_b) = _parsed(texts.slice(0, half)), _parsed(texts.slice(half))
    return pa.concat_arrays([a, b]), np.concatenate([bad_a, bad_b])


def instants(column: Column, spec: Time) -> I64:
    """Times, ns UTC; NO_TIME where a cell holds none.

    Raises:
        TypeError: the column is of a type that the format does not fit.

    >>> instants(pa.array(["2020-03-09 10:34:33", "soon"]), Time(column="t")).tolist()[0]
    1583750073000000000
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if pa.types.is_date(kind):
            column, kind = compute.cast(column, pa.timestamp("ms")), pa.timestamp("ms")
        return _scaled(column, _PER_SECOND[kind.unit], 0, "UTC" if kind.tz else spec.zone)
    if spec.format in UNIX_NS:
        start = iso_ns(spec.start, spec.zone) if spec.start else 0
        if pa.types.is_integer(kind):
            return _scaled(column, UNIX_NS[spec.format], start, "UTC")
        texts = ["" if x is None else x if isinstance(x, str) else _exact(x) for x in column.to_pylist()]
        return each(texts, UNIX_NS[spec.format], start)
    if not is_text(column):
        raise TypeError(f"{kind} is no {spec.format} time")
    if spec.format != "iso":
        return np.array([pattern_ns(x or "", spec.format, spec.zone) for x in column.to_pylist()], np.int64)
    return _iso(column, spec.zone)


def _exact(value: object) -> str:
    return str(value) if isinstance(value, Decimal) else repr(value)


def _scaled(column: Column, unit_ns: int, start_ns: int, zone: str) -> I64:
    """Whole numbers of a unit since `start_ns`; what does not fit is NO_TIME."""
    known = compute.is_valid(column).to_numpy(zero_copy_only=False)
    whole = compute.cast(compute.fill_null(compute.cast(column, pa.int64()), 0), pa.int64()).to_numpy(
        zero_copy_only=False
    )
    fits = known & (np.abs(whole) < MAX_TIME_NS // unit_ns)
    local = np.where(fits, whole, 0) * unit_ns
    nanos = np.asarray(from_zone(local, zone) + start_ns, np.int64)
    good = fits & (nanos > 0) & (nanos < MAX_TIME_NS)
    return np.where(good, nanos, NO_TIME)


def _iso(column: Column, zone: str) -> I64:
    """All at once where the cells are of one form; any other cell as `iso_ns` reads it."""
    trimmed = compute.fill_null(compute.utf8_trim_whitespace(column), "")
    plain = compute.match_substring_regex(trimmed, r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?$")
    try:
        if compute.all(plain).as_py():
            stamps = compute.cast(compute.replace_substring(trimmed, "T", " "), pa.timestamp("ns"))
            return _scaled(stamps, 1, 0, zone)
    except pa.ArrowInvalid:
        pass
    return np.array([iso_ns(text, zone) for text in trimmed.to_pylist()], np.int64)
