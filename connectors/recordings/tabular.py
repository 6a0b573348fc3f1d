"""CSV and Parquet as pieces: rows to messages, column by column, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from connectors.recordings.binding import SAME, Binder
from connectors.recordings.cells import floats, instants
from connectors.recordings.csv_text import TextRows, read_csv, read_header
from connectors.recordings.faults import Faults, RecordingError, nearest
from connectors.recordings.instants import MAX_TIME_NS, duration_ns, iso_ns
from connectors.recordings.mapping import Csv, Mapping, Source
from connectors.recordings.piece import Piece
from operators.types import F64, I64, NO_TIME, Mask

BYTES_PER_ROW = 128
"""Of Parquet, where a piece is so many rows as a chunk has of these."""


def is_parquet(path: Path) -> bool:
    """Whether the file is Parquet, by its ending."""
    return path.suffix.lower() in (".parquet", ".pq")


def header_of(path: Path, spec: Csv) -> list[str]:
    """Names of the columns.

    Raises:
        RecordingError: the file has no readable header or footer.
    """
    return list(_open(path).schema_arrow.names) if is_parquet(path) else read_header(path, spec)


def read_table(
    path: Path, mapping: Mapping, device: str, binder: Binder, *, chunk_bytes: int, faults: Faults
) -> Iterator[Piece]:
    """All messages of a table.

    Args:
        device: whose it is, where no column says so.
        chunk_bytes: most bytes read at once (longer lines are still whole).

    Raises:
        RecordingError, MappingError: a column is missing, twice there or of no use; see also Binder.of.
    """
    header = header_of(path, mapping.csv)
    optional = [c for s in mapping.signals.values() if s.optional for c in s.names if c in header]
    columns = list(dict.fromkeys([*mapping.columns, *optional]))
    check_columns(path, mapping, header)
    maker = _Maker(path, mapping, device, binder, faults)
    maker.bind()
    if is_parquet(path):
        rows = _read_parquet(path, columns, max(1, chunk_bytes // BYTES_PER_ROW), faults)
    else:
        rows = read_csv(path, columns, mapping.csv, chunk_bytes=chunk_bytes, faults=faults)
    for part in rows:
        piece = maker.piece(part)
        if len(piece):
            yield piece


def check_columns(path: Path, mapping: Mapping, header: list[str]) -> None:
    """Refuse a table that lacks a column.

    Raises:
        RecordingError: it names the column and the nearest one there is.
    """
    missing = [c for c in mapping.columns if c not in header]
    if missing:
        why = f"has no column {missing[0]!r} ({mapping.source} asks for it)"
        raise RecordingError(what=str(path), why=why, fix=nearest(missing[0], header))
    named = [*mapping.columns, *(c for s in mapping.signals.values() for c in s.names)]
    twice = [c for c in named if header.count(c) > 1]
    if twice:
        raise RecordingError(what=str(path), why=f"has the column {twice[0]!r} twice", fix="rename one of them")


class _Maker:
    """Rows of columns to messages."""

    def __init__(self, path: Path, mapping: Mapping, device: str, binder: Binder, faults: Faults) -> None:
        self.path, self.mapping, self.device, self.binder, self.faults = path, mapping, device, binder, faults
        spec = mapping.time
        self.every = duration_ns(spec.every) or 0 if spec.every else 0
        self.start = iso_ns(spec.start, spec.zone) if spec.start else 0
        if (spec.every and not self.every) or self.start == NO_TIME:
            raise mapping.error("time", "start or every cannot be read", "write 2020-01-31T10:00:00Z and 1h")

    def bind(self) -> None:
        """Say what is wrong before the first row is read."""
        if not self.mapping.device_column:
            self.binder.of(self.device)

    def piece(self, rows: TextRows) -> Piece:
        spec = self.mapping.time
        ts = self.start + (rows.row - 2) * self.every if self.every else self._times(rows, spec.column)
        devices = self._devices(rows)
        good = (ts > 0) & (ts < MAX_TIME_NS) & np.array([bool(d) for d in devices], np.bool_)
        for i in np.flatnonzero((ts <= 0) | (ts >= MAX_TIME_NS)).tolist():
            shown = rows.table.column(spec.column)[i].as_py() if spec.column else int(ts[i])
            self.faults.add("bad_time", f"row {rows.row[i]}", f"{spec.column or 'time'} = {str(shown)[:60]!r}")
        members: list[list[str | None]] = []
        samples = np.zeros(len(rows.row), np.int64)
        for name, source in self.mapping.signals.items():
            if all(c in rows.table.column_names for c in source.names):
                values = self._values(rows, name, source, devices)
                there: Mask = np.asarray(~np.isnan(values).any(axis=1), np.bool_)
                samples += there * values.shape[1]
                members.append(_members(name, source, values, there.tolist()))
        body = [",".join(m for m in row if m is not None) for row in zip(*members, strict=True)]
        return Piece(devices, ts, body, samples).take(good & (samples > 0))

    def _times(self, rows: TextRows, column: str) -> I64:
        try:
            return instants(_whole(rows.table, column), self.mapping.time)
        except (TypeError, pa.ArrowInvalid) as error:
            raise self.mapping.error("time.format", f"column {column!r}: {error}", "give the format it has") from None

    def _devices(self, rows: TextRows) -> list[str]:
        column = self.mapping.device_column
        if not column:
            return [self.device] * len(rows.row)
        names = [str(x) if x is not None else "" for x in rows.table.column(column).to_pylist()]
        unfit = {name: self._unfit(name) for name in set(names)}
        for i, name in enumerate(names):
            if unfit[name]:
                self.faults.add("bad_device", f"row {rows.row[i]}", f"{column} {unfit[name]}")
        return ["" if unfit[name] else name for name in names]

    def _unfit(self, device: str) -> str:
        """Why nothing can be sent for a device; "" where it can."""
        try:
            if device:
                self.binder.of(device)
                return ""
        except RecordingError as error:
            return f"names no device of a fitting type: {str(error)[:200]}"
        return "is empty"

    def _values(self, rows: TextRows, name: str, source: Source, devices: list[str]) -> F64:
        """float64[n, elements] in the units of the types, NaN where there is no value."""
        found = np.empty((len(rows.row), len(source.names)), np.float64)
        for e, column in enumerate(source.names):
            cells = _whole(rows.table, column)
            try:
                found[:, e], bad = floats(cells, self.mapping.csv.decimal)
            except TypeError as error:
                fix = "take it out, or name another column"
                raise self.mapping.error(f"signals.{name}", f"column {column!r}: {error}", fix) from None
            for i in np.flatnonzero(bad).tolist():
                detail = f"{column} = {str(cells[i].as_py())[:60]!r} is no finite number"
                self.faults.add("bad_value", f"row {rows.row[i]}", detail)
        kinds = sorted(set(devices) - {""})
        for device in kinds:
            scales = self.binder.of(device).scales[name]
            if any(scale != SAME for scale in scales):
                mine = slice(None) if len(kinds) == 1 else np.array([d == device for d in devices], np.bool_)
                factor, offset = (np.array(x) for x in zip(*scales, strict=True))
                found[mine] = found[mine] * factor + offset
        return found


def _whole(table: pa.Table, column: str) -> pa.Array:
    cells = table.column(column)
    if pa.types.is_dictionary(cells.type):
        cells = compute.cast(cells, cells.type.value_type)
    return cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells


def _members(name: str, source: Source, values: F64, there: Sequence[bool]) -> list[str | None]:
    key = json.dumps(name, ensure_ascii=False)
    if source.vector:
        return [f"{key}:{row}" if ok else None for row, ok in zip(values.tolist(), there, strict=True)]
    return [f"{key}:{value!r}" if ok else None for value, ok in zip(values[:, 0].tolist(), there, strict=True)]


def _open(path: Path) -> parquet.ParquetFile:
    try:
        return parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        why = f"cannot be read as Parquet: {error}"
        raise RecordingError(
            what=str(path), why=why, fix="a Parquet file that was cut off has lost all its rows"
        ) from None


def _read_parquet(path: Path, columns: list[str], rows: int, faults: Faults) -> Iterator[TextRows]:
    with _open(path) as file:
        first = 2
        for group in range(file.num_row_groups):
            size, done = file.metadata.row_group(group).num_rows, 0
            try:
                for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=columns):
                    numbers = np.arange(first + done, first + done + batch.num_rows, dtype=np.int64)
                    done += batch.num_rows
                    yield TextRows(numbers, pa.Table.from_batches([batch]))
            except (pa.ArrowInvalid, OSError) as error:
                faults.add("bad_chunk", f"row {first + done}", f"row group {group}, {size - done} rows lost: {error}")
            first += size
