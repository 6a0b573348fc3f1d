"""Arrow columns of a packed block to plain ones: name, float64 values, validity, unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.errors import ContractError
from operators.names import name_fault
from operators.signal_plan import Plan
from operators.times import MAX_TIME_NS, nanos_of_integers
from operators.types import F64, I64, Mask

_TICKS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True, slots=True)
class Column:
    """One scalar signal over all rows: float64[rows] and bool[rows]; `unit` is "" where the producer names none."""

    name: str
    values: F64
    valid: Mask
    unit: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A block: int64[rows] event times and its columns; `long`: every row holds one value."""

    ts: I64
    columns: list[Column]
    long: bool = False


def fault(reason: str, where: str, detail: str) -> ContractError:
    """The error of a bad block."""
    return ContractError(reason=reason, where=where, detail=detail)


def times(column: pa.ChunkedArray, where: str) -> I64:
    """Event times, int64[rows] ns UTC; a timestamp without a zone is UTC, integers go by their size.

    Raises:
        ContractError: `bad_time`.
    """
    kind = column.type
    if column.null_count:
        raise fault("bad_time", where, "ts holds a null")
    if pa.types.is_timestamp(kind):
        raw = column.cast(pa.int64()).to_numpy()
        ticks = _TICKS[kind.unit]
        if ((raw <= 0) | (raw >= MAX_TIME_NS // ticks)).any():
            raise fault("bad_time", where, "ts holds no time up to 2261")
        return np.asarray(raw * ticks, np.int64)
    if not pa.types.is_integer(kind):
        raise fault("bad_time", where, f"ts is {kind}, neither timestamp nor integer")
    raw = column.to_numpy()
    if raw.dtype == np.uint64 and (raw > np.iinfo(np.int64).max).any():
        raise fault("bad_time", where, "ts holds no time up to 2261")
    out, bad = nanos_of_integers(raw.astype(np.int64))
    if bad >= 0:
        raise fault("bad_time", where, f"ts {raw[bad]} of row {bad} is no time up to 2261")
    return out


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _numbers(array: pa.Array, name: str, where: str) -> tuple[F64, Mask]:
    kind = array.type
    if not _is_number(kind):
        raise fault("bad_value", where, f"{name} is {kind}, not a number")
    valid = np.ones(len(array), np.bool_)
    if array.null_count:
        valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
        array = pc.fill_null(array, pa.scalar(0, kind)) if not pa.types.is_float16(kind) else array
    return np.asarray(array.to_numpy(zero_copy_only=False), np.float64), valid


def wide_columns(table: pa.Table, ts: I64, plan: Plan, where: str) -> Frame:
    """Columns of a block with one column per signal or vector; null: no sample in that row.

    Raises:
        ContractError: bad_name, bad_value, duplicate_key, wrong_length.
    """
    if len(set(table.column_names)) < len(table.column_names):
        raise fault("duplicate_key", where, "two columns have one name")
    columns: list[Column] = []
    for field in table.schema:
        if field.name == "ts":
            continue
        wrong = name_fault(field.name)
        if wrong:
            raise fault("bad_name", where, f"signal {field.name[:80]!r} {wrong}")
        unit = (field.metadata or {}).get(b"unit", b"").decode(errors="replace")
        array = table.column(field.name).combine_chunks()
        known = plan.names.get(field.name)
        if pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type):
            if not _is_number(field.type.value_type):
                raise fault("bad_value", where, f"{field.name} is {field.type}, not a list of numbers")
            if known is not None and known.scalar >= 0 and not known.elements:
                raise fault("wrong_length", where, f"{field.name} is a number, not a list")
            length = len(known.elements) if known is not None and known.declared else 0
            columns += _vector(array, field.name, length, unit, where)
            continue
        if known is not None and known.scalar < 0 and known.declared:
            raise fault("wrong_length", where, f"{field.name} is a vector of {len(known.elements)}, not a number")
        columns.append(Column(field.name, *_numbers(array, field.name, where), unit))
    if not any(column.valid.any() for column in columns):
        raise fault("empty", where, "no column holds a value")
    return Frame(ts, columns)


def _vector(array: pa.Array, name: str, length: int, unit: str, where: str) -> list[Column]:
    valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    whole = array.filter(array.is_valid())
    lengths = np.asarray(pc.list_value_length(whole).to_numpy(zero_copy_only=False), np.int64)
    width = int(lengths[0]) if lengths.size else length
    if (lengths != width).any() or (lengths.size and width == 0) or (length and width != length):
        raise fault("wrong_length", where, f"{name} has lists of {sorted(set(lengths.tolist()))} values")
    values, present = _numbers(whole.flatten(), name, where)
    if not present.all():
        raise fault("bad_value", where, f"{name} holds a list with a null")
    rows = np.zeros((valid.size, width), np.float64)
    rows[valid] = values.reshape(-1, width) if width else 0.0
    return [Column(f"{name}.{i}", np.ascontiguousarray(rows[:, i]), valid, unit) for i in range(width)]


def long_columns(table: pa.Table, ts: I64, told: dict[str, str], where: str) -> Frame:
    """Columns of a block of (ts, signal, value) rows, put in order of time (equal times keep theirs).

    A row becomes a frame row of its own, so a signal may come twice at one time. `unit.<signal>` in the schema's
    metadata is its unit.

    Raises:
        ContractError: bad_name, bad_shape, bad_value.
    """
    if sorted(table.column_names) != ["signal", "ts", "value"]:
        raise fault("bad_shape", where, f"columns {table.column_names[:8]}, expected ts, signal, value")
    order = np.argsort(ts, kind="stable")
    values, valid = _numbers(table.column("value").combine_chunks(), "value", where)
    if not valid.all():
        raise fault("bad_value", where, "value holds a null")
    names = table.column("signal").to_pylist()
    codes: dict[str, int] = {}
    code = np.array([codes.setdefault(names[i] or "", len(codes)) for i in order], np.int64)
    ordered = values[order]
    columns: list[Column] = []
    for name, number in codes.items():
        wrong = name_fault(name)
        if wrong:
            raise fault("bad_name", where, f"signal {name[:80]!r} {wrong}")
        columns.append(Column(name, ordered, code == number, told.get(f"unit.{name}", "")))
    return Frame(ts[order], columns, long=True)
