"""Fetched records as rows of the history: Arrow blocks by column, JSON by record; what cannot be read is set aside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.history_records import RECORDS, Record
from flows.tables import TEXT
from operators.frames import FAULT, Frames

MOST_RAW = 1 << 16
"""Bytes of a refused record that are kept."""
PLACE = ("known_ns", "kp", "ko", "kr")
_UNREADABLE = (ValueError, KeyError, TypeError, msgspec.MsgspecError, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class Refused:
    """Offsets that made no row: a record that cannot be read, or `records` that were gone before they were read."""

    kp: int
    ko: int
    known_ns: int
    reason: str
    detail: str
    records: int = 1
    raw: bytes = b""


@dataclass(slots=True)
class Decoded:
    """Rows of some records of one topic, in log order per partition, and what was refused."""

    rows: list[pa.Table] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Rows and refusals."""
        return sum(int(t.num_rows) for t in self.rows) + len(self.refused)

    def table(self) -> pa.Table | None:
        """All rows as one table; None where there are none."""
        return pa.concat_tables(self.rows).unify_dictionaries() if self.rows else None


Decode: TypeAlias = Callable[[Frames], Decoded]


def constant(text: str, count: int) -> pa.Array:
    """A text column that says the same in every row."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


def placed(table: pa.Table, frames: Frames, row: int) -> pa.Table:
    """The rows of one record with the columns that say where they stand; known_ns only where it is not there yet."""
    count = table.num_rows
    if "known_ns" not in table.column_names:
        table = table.append_column("known_ns", pa.array(np.full(count, frames.arrival[row])))
    place = (
        ("kp", np.full(count, frames.partition, np.uint8)),
        ("ko", np.full(count, frames.offset[row], np.uint64)),
        ("kr", np.arange(count, dtype=np.uint32)),
    )
    for name, column in place:
        table = table.append_column(name, pa.array(column))
    return table


def blocks(shape: Callable[[pa.Table, Mapping[str, bytes]], pa.Table]) -> Decode:
    """Decoder of a topic whose records are Arrow streams; `shape` makes columns of the history of one of them."""

    def decode(frames: Frames) -> Decoded:
        out = Decoded()
        for row in range(len(frames)):
            value, headers = frames.value(row), frames.headers.get(row, {})
            try:
                if value is None or FAULT in headers:
                    raise ValueError(headers.get(FAULT, b"the record has no value").decode())
                with pa.ipc.open_stream(pa.BufferReader(value)) as stream:
                    table = stream.read_all()
                table.validate(full=True)
                if table.num_rows:
                    out.rows.append(placed(shape(table, headers), frames, row))
            except _UNREADABLE as error:
                out.refused.append(_refusal(frames, row, error))
        return out

    return decode


def records(kind: type[Record]) -> Decode:
    """Decoder of a topic whose records are JSON documents of that kind."""

    def decode(frames: Frames) -> Decoded:
        out, cells, kept = Decoded(), [], []
        for row in range(len(frames)):
            try:
                if FAULT in (headers := frames.headers.get(row, {})):
                    raise ValueError(headers[FAULT].decode())
                cells.append(kind.read((frames.key(row) or b"").decode(), frames.value(row)))
                kept.append(row)
            except _UNREADABLE as error:
                out.refused.append(_refusal(frames, row, error))
        if kept:
            columns = {
                name: pa.array([c[i] for c in cells], type_) for i, (name, type_) in enumerate(kind.schema.items())
            }
            columns["known_ns"] = pa.array(frames.arrival[kept])
            columns["kp"] = pa.array(np.full(len(kept), frames.partition, np.uint8))
            columns["ko"] = pa.array(frames.offset[kept].astype(np.uint64))
            columns["kr"] = pa.array(np.zeros(len(kept), np.uint32))
            out.rows.append(pa.table(columns))
        return out

    return decode


def _refusal(frames: Frames, row: int, error: Exception) -> Refused:
    raw = (frames.value(row) or b"")[:MOST_RAW]
    detail = " ".join(str(error).split()) or type(error).__name__
    at = frames.partition, int(frames.offset[row]), int(frames.arrival[row])
    return Refused(*at, "unreadable", detail, raw=raw)


def _picked(table: pa.Table, columns: Sequence[tuple[str, str, pa.DataType]]) -> dict[str, pa.ChunkedArray]:
    """Columns by their new name, cast; NaN stays, null is refused in all but floats.

    Raises:
        ValueError: one is missing, of another type, or has nulls.
    """
    out = {}
    for new, old, kind in columns:
        column = table.column(old).combine_chunks().cast(kind) if old in table.column_names else None
        if column is None:
            raise ValueError(f"column {old} is missing")
        if column.null_count:
            if not pa.types.is_floating(kind):
                raise ValueError(f"column {old} has nulls")
            column = pc.fill_null(column, float("nan"))
        out[new] = column
    return out


def _twin_type(headers: Mapping[str, bytes], count: int) -> dict[str, pa.Array]:
    return {"twin_type": constant(headers.get("twin-type", b"").decode(), count)}


_I, _F = pa.int64(), pa.float64()
_OFFSET = ("source_offset", "offset", _I)
_SAMPLES = (
    *(("device", "device", TEXT), ("signal", "signal", TEXT), ("ts_ns", "ts_ns", _I), ("known_ns", "arrival_ns", _I)),
    *(("value", "value", _F), ("quality", "quality", pa.uint8()), ("seq", "seq", _I), _OFFSET),
)
_WINDOWS = (
    *(("device", "device", TEXT), ("signal", "signal", TEXT)),
    *((n, n, _I) for n in ("window_start_ns", "window_end_ns", "count")),
    *((n, n, _F) for n in ("mean", "sd", "min", "max", "slope", "rms")),
    *(("revision", "revision", _I), ("is_final", "is_final", pa.bool_()), _OFFSET),
)
_NAMED = (("window", "window", TEXT), *_WINDOWS, ("statistics", "statistics", pa.map_(pa.string(), _F)))
_ROWS = (
    *(("device", "device", TEXT), ("ts_ns", "ts_ns", _I), ("skew_ns", "skew_ns", _I)),
    *(("degraded", "degraded", pa.bool_()), _OFFSET),
)
_ANOMALIES = (
    *(("device", "device", TEXT), ("signal", "signal", TEXT), ("detector", "detector", TEXT), ("ts_ns", "ts_ns", _I)),
    *((n, n, _F) for n in ("score", "threshold", "severity")),
    *(("level", "level", TEXT), ("cause", "cause", pa.string()), ("ranked", "ranked", pa.string()), _OFFSET),
)
_NOT_SIGNALS = frozenset(old for _, old, _ in _ROWS)


def _plainly(columns: Sequence[tuple[str, str, pa.DataType]]) -> Decode:
    return blocks(lambda table, headers: pa.table(_twin_type(headers, table.num_rows) | _picked(table, columns)))


def _aligned_rows(table: pa.Table, headers: Mapping[str, bytes]) -> pa.Table:
    """Signal columns become one map per row, without those that are not valid."""
    names = [name for name in table.column_names if name not in _NOT_SIGNALS]
    columns = [table.column(name).combine_chunks().cast(_F) for name in names]
    valid = np.stack([c.is_valid().to_numpy(zero_copy_only=False) for c in columns], axis=1)
    value = np.stack([pc.fill_null(c, 0.0).to_numpy(zero_copy_only=False) for c in columns], axis=1)
    signal = np.broadcast_to(np.arange(len(names), dtype=np.int32), valid.shape)[valid]
    offsets = np.concatenate(([0], np.cumsum(valid.sum(axis=1)))).astype(np.int32)
    keys = pa.array(names, pa.string()).take(pa.array(signal))
    values = pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(value[valid]))
    picked = _picked(table, _ROWS)
    return pa.table(_twin_type(headers, table.num_rows) | picked | {"values": values})


DECODERS: Mapping[str, Decode] = {
    "readings": _plainly(_SAMPLES),
    "windows": _plainly(_WINDOWS),
    "named-windows": _plainly(_NAMED),
    "rows": blocks(_aligned_rows),
    "anomalies": _plainly(_ANOMALIES),
    "late": _plainly(_SAMPLES),
} | {topic: records(kind) for topic, kind in RECORDS.items()}
"""How each topic is read."""
