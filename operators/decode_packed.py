"""One packed block, Arrow IPC: 1 to 5,000 rows of one device, judged as a whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from operators.arrow_guard import ArrowRefused, claim
from operators.envelope import MESSAGE, STREAM, Envelope, Head, Judged, resolve
from operators.errors import ContractError
from operators.packed_columns import Column, Frame, fault, long_columns, times, wide_columns
from operators.roster import Roster
from operators.signal_plan import NORM_TOLERANCE, Plan
from operators.types import F64, I64, U8, Mask, Quality, State
from operators.units import UnitError, conversion

MOST_SCHEMAS = 1_000
LARGEST_SCHEMA = 65_536


class Schemas:
    """Arrow schemas that came in-band, by id; an id keeps its first schema, so no device can change another's.

    >>> schemas = Schemas()
    >>> raw = pa.schema([("ts", pa.int64()), ("a", pa.float64())]).serialize().to_pybytes()
    >>> schemas.add(raw, Head(kind="schema", schema_id="s1", content_type=MESSAGE), "3@7")
    >>> schemas.get("s1", "3@8").names
    ['ts', 'a']
    """

    def __init__(self) -> None:
        self._raw: dict[str, bytes] = {}
        self._read: dict[str, pa.Schema] = {}

    def add(self, raw: bytes, head: Head, where: str) -> None:
        """Take in a schema message.

        Raises:
            ContractError: bad_header, too_large, bad_block.
        """
        name = head.schema_id
        if not name or head.content_type != MESSAGE:
            raise ContractError(reason="bad_header", where=where, detail=f"a schema needs schema-id and {MESSAGE}")
        full = name not in self._raw and len(self._raw) >= MOST_SCHEMAS
        if full or len(raw) > LARGEST_SCHEMA:
            detail = f"{len(raw)} bytes, {len(self._raw)} schemas held"
            raise ContractError(reason="too_large", where=where, detail=detail)
        schema = _read_schema(raw, where)
        if self._raw.get(name, raw) != raw:
            raise ContractError(reason="bad_block", where=where, detail=f"schema-id {name[:80]!r} means another schema")
        self._raw[name], self._read[name] = raw, schema

    def get(self, name: str, where: str) -> pa.Schema:
        """The schema of an id.

        Raises:
            ContractError: `unknown_schema`.
        """
        if name not in self._read:
            raise ContractError(reason="unknown_schema", where=where, detail=f"schema-id {name[:80]!r} was never sent")
        return self._read[name]

    def snapshot(self) -> State:
        """Ids and schema bytes, joined, and where each ends."""
        names = [name.encode() for name in self._raw]
        return {
            "names": np.frombuffer(b"".join(names), np.uint8).copy(),
            "name_ends": np.cumsum([len(n) for n in names], dtype=np.int64),
            "raw": np.frombuffer(b"".join(self._raw.values()), np.uint8).copy(),
            "raw_ends": np.cumsum([len(r) for r in self._raw.values()], dtype=np.int64),
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot."""
        names, raws = _cut(state["names"], state["name_ends"]), _cut(state["raw"], state["raw_ends"])
        self._raw = {name.decode(): raw for name, raw in zip(names, raws, strict=True)}
        self._read = {name: _read_schema(raw, "snapshot") for name, raw in self._raw.items()}


def _cut(joined: U8, ends: I64) -> list[bytes]:
    raw, bounds = joined.tobytes(), [0, *ends.tolist()]
    return [raw[a:b] for a, b in pairwise(bounds)]


def _read_schema(raw: bytes, where: str) -> pa.Schema:
    try:
        claim(raw)
        schema = pa.ipc.read_schema(pa.py_buffer(raw))
        _spell(schema)
        return schema
    except (ArrowRefused, pa.ArrowException, OSError, ValueError) as error:
        raise ContractError(reason="bad_block", where=where, detail=str(error)[:200]) from None


def _spell(schema: pa.Schema) -> list[str]:
    """Every name, that of what a list holds too: pyarrow takes any bytes for one, and fails when it is asked for.

    Raises:
        ValueError: a name is no UTF-8.
    """
    lists = [f.type for f in schema if pa.types.is_list(f.type) or pa.types.is_fixed_size_list(f.type)]
    return [*schema.names, *(kind.value_field.name for kind in lists)]


def _read(raw: bytes, head: Head, schemas: Schemas, where: str) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    try:
        rows = claim(raw).rows
    except ArrowRefused as error:
        reason = "too_large" if error.too_large else "bad_block"
        raise ContractError(reason=reason, where=where, detail=str(error)[:200]) from None
    if rows == 0:
        raise ContractError(reason="empty", where=where, detail="no rows")
    known = schemas.get(head.schema_id, where) if head.content_type != STREAM else None
    try:
        if known is None:
            reader = pa.ipc.open_stream(pa.py_buffer(raw))
            schema, batches = reader.schema, list(reader)
            _spell(schema)
        else:
            schema, batches = known, [pa.ipc.read_record_batch(pa.py_buffer(raw), known)]
        for batch in batches:
            batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise ContractError(reason="bad_block", where=where, detail=str(error)[:200]) from None
    return schema, batches


def judge_block(
    raw: bytes, head: Head, schemas: Schemas, roster: Roster, *, key: bytes | None, arrival: int, where: str
) -> Judged:
    """A block as samples, nothing applied yet: row by row, within a row in column order.

    Raises:
        ContractError: any of dead_letter.REASONS.
    """
    schema, batches = _read(raw, head, schemas, where)
    told = {k.decode(errors="replace"): v.decode(errors="replace") for k, v in (schema.metadata or {}).items()}
    envelope = resolve(
        roster, head, device=_device(told, head, key), key=key, boot=told.get("boot", ""), seq="", own_arrival=0,
        arrival=arrival, where=where,
    )  # fmt: skip
    if schema.get_field_index("ts") < 0:
        some = "several columns are" if schema.names.count("ts") > 1 else "no column is"
        reason = "duplicate_key" if schema.names.count("ts") > 1 else "no_time"
        raise ContractError(reason=reason, where=where, detail=f"{some} called ts")
    table = pa.Table.from_batches(batches, schema)
    ts = times(table.column("ts"), where)
    is_long = {"signal", "value"} <= set(schema.names) and _is_text(schema.field("signal").type)
    frame = long_columns(table, ts, told, where) if is_long else wide_columns(table, ts, envelope.plan, where)
    return _samples(envelope, frame, where)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _device(told: dict[str, str], head: Head, key: bytes | None) -> str:
    if "device" in told or head.device or key is None:
        return told.get("device", "")
    return key.decode(errors="replace")


def _samples(envelope: Envelope, frame: Frame, where: str) -> Judged:
    """Units, ranges and norms of the columns, then known ones row by row."""
    plan = envelope.plan
    known: list[tuple[int, F64, U8, Mask]] = []
    aside: list[tuple[int, str, float]] = []
    for column in frame.columns:
        signal = plan.type.index.get(column.name, -1)
        if not np.isfinite(column.values[column.valid]).all():
            raise fault("bad_value", where, f"{column.name} holds a value that is no finite number")
        if signal < 0:
            rows = np.flatnonzero(column.valid)
            aside += [(int(row), column.name, float(column.values[row])) for row in rows]
            continue
        if any(signal == other for other, *_ in known):
            raise fault("duplicate_key", where, f"signal {column.name} comes twice")
        known.append((signal, *_reading(plan, signal, column, where), column.valid))
    _check_norms(plan, known, frame, where)
    aside.sort(key=lambda item: item[0])
    n, width = frame.ts.size, len(known)
    valid = np.array([v for *_, v in known], np.bool_).reshape(width, n).T.ravel()
    values = np.array([v for _, v, _, _ in known], np.float64).reshape(width, n).T.ravel()
    flags = np.array([f for _, _, f, _ in known], np.uint8).reshape(width, n).T.ravel()
    signals = np.tile(np.array([s for s, *_ in known], np.int64), n)
    ts = np.repeat(frame.ts, width)
    return Judged(
        envelope,
        ts[valid],
        0,
        signals[valid],
        values[valid],
        flags[valid],
        [(name, int(frame.ts[row]), value) for row, name, value in aside],
    )


def _reading(plan: Plan, signal: int, column: Column, where: str) -> tuple[F64, U8]:
    """Values in the signal's unit and their flags; a sentinel keeps its value whatever the unit."""
    spec = plan.type.signals[signal]
    factor, offset = 1.0, 0.0
    if column.unit and column.unit != spec.unit:
        try:
            factor, offset = conversion(column.unit, spec.unit)
        except UnitError as error:
            raise fault("wrong_unit", where, f"{column.name}: {error}") from None
    sentinel = np.zeros(column.values.size, np.bool_)
    for stand_in in spec.sentinels:
        sentinel |= column.valid & (column.values == stand_in)
    values = column.values
    if (factor, offset) != (1.0, 0.0):
        values = np.where(sentinel, values, values * factor + offset)
    outside = column.valid & ~sentinel & ~((values >= spec.low) & (values <= spec.high))
    if outside.any():
        raise fault("out_of_range", where, plan.fault(signal, float(values[np.argmax(outside)])))
    return values, np.where(sentinel, np.uint8(Quality.SENTINEL), np.uint8(0))


def _check_norms(plan: Plan, known: list[tuple[int, F64, U8, Mask]], frame: Frame, where: str) -> None:
    """Lengths of the quaternions whose elements are all there: in one row, in the long form at one time."""
    by_signal = {signal: (values, flags, valid) for signal, values, flags, valid in known}
    for elements in plan.norms:
        parts = [by_signal[e] for e in elements if e in by_signal]
        if len(parts) < len(elements):
            continue
        places = [np.flatnonzero(valid & (flags == 0)) for _, flags, valid in parts]
        times = [frame.ts[p] if frame.long else p for p in places]
        common = times[0]
        for other in times[1:]:
            common = np.intersect1d(common, other)
        total = np.zeros(common.size)
        for (values, _, _), place, time in zip(parts, places, times, strict=True):
            with np.errstate(over="ignore"):  # then it is infinite, and no quaternion
                total += values[place[np.searchsorted(time, common)]] ** 2
        if not (np.abs(np.sqrt(total) - 1.0) <= NORM_TOLERANCE).all():
            names = plan.type.signals[elements[0]].name.rpartition(".")[0]
            raise fault("bad_quaternion", where, f"{names} is not of length 1")
