"""The recorded samples through the same code again, with the definitions of then or with a changed one; nothing live is
touched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from connectors.recorded import Recorded
from connectors.shards import SHARDS
from flows.encode import from_bytes
from flows.lane import LaneOutput
from flows.poison import marked
from flows.publish import ALERTS, REQUESTS, decisions
from flows.reexecute import Input, Starts
from flows.shard import Shard, ShardOutput
from flows.tables import anomalies_table, plain, table_hash, windows_table
from operators.definition import SECOND, Fleet, TwinType
from operators.errors import StateError
from operators.types import I64

TABLES: Mapping[str, tuple[str, ...]] = {
    "windows": ("device", "signal", "window_start_ns", "window_end_ns", "revision", "is_final", "offset"),
    "anomalies": ("device", "detector", "ts_ns", "offset"),
}
"""Topics of columns, and what a row is found by."""
Document = dict[str, Any]


@dataclass(slots=True)
class Decisions:
    """What one shard decided over a range: documents by topic, each once, and rows by topic."""

    documents: dict[str, dict[bytes, Document]] = field(default_factory=lambda: {ALERTS: {}, REQUESTS: {}})
    parts: dict[str, list[pa.Table]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def table(self, topic: str) -> pa.Table | None:
        """All rows of a topic in the order of their keys; None where there are none."""
        parts = [plain(part) for part in self.parts[topic] if part.num_rows]
        if not parts:
            return None
        return pa.concat_tables(parts).sort_by([(key, "ascending") for key in TABLES[topic]]).combine_chunks()

    def digest(self) -> str:
        """SHA-256 of all of it, whatever the cuts."""
        found = hashlib.sha256()
        for topic in sorted(self.documents):
            found.update(topic.encode() + b"\0" + b"\n".join(sorted(self.documents[topic])))
        for topic in sorted(self.parts):
            table = self.table(topic)
            found.update(topic.encode() + b"\0" + (table_hash(table, TABLES[topic]) if table else "").encode())
        return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Span:
    """What is replayed of one partition: results of records in [first, past); records up to `tail` may release them."""

    partition: int
    first: int
    past: int
    tail: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """One shard, replayed. `records`: of the span; `before`: those it took to come there; `notes`: for people."""

    span: Span
    made: Decisions
    records: int
    before: int
    notes: list[str]


def spans(
    recorded: Recorded, from_ns: int, to_ns: int, *, committed: Mapping[int, int | None], fleet: Fleet
) -> list[Span]:
    """The range of arrivals [from_ns, to_ns) of each partition that has one, up to what the flow has committed."""
    wait_ns = max((t.window.wait_ns + t.idle_timeout_ns for t in fleet.types.values()), default=0) + 5 * SECOND
    first, past, tail = (recorded.since(ns) for ns in (from_ns, to_ns, to_ns + wait_ns))
    found = []
    for p in sorted(first):
        end = committed.get(p) or 0
        if first[p] < min(past[p], end):
            found.append(Span(p, first[p], min(past[p], end), min(max(tail[p], past[p]), end)))
    return found


def replay(recorded: Input, starts: Starts, span: Span, changed: TwinType | None = None) -> Replayed:
    """Work off a span from the state it began with.

    Args:
        changed: a definition that holds from the start of the span on, in the place of the type of its name.

    Raises:
        NoStart: there is no state to begin with.
    """
    notes: list[str] = []
    start = starts.before(span.partition, span.first)
    lives = [start, *starts.changes(span.partition, start, span.first, span.tail)]
    shard, at, before = Shard(start.fleet.type_of), start.offset, 0
    if start.state is not None:
        shard.restore(start.state)
    for frames in recorded.read(span.partition, at, span.first):
        shard.push(marked(frames, start.poison))
        before += len(frames)
    if changed is not None:
        fleet = Fleet(start.fleet.patterns, {**start.fleet.types, changed.name: changed}, start.fleet.sites)
        shard = _under(fleet, shard, span, notes)
        if len(lives) > 1:
            notes.append(f"shard {SHARDS[span.partition]}: later changes of definitions are left out")
        lives = lives[:1]
    made, records = Decisions(), 0
    for life, stop in zip(lives, [*(x.offset for x in lives[1:]), span.tail], strict=True):
        if life is not start:
            shard = Shard(life.fleet.type_of)
            shard.restore(life.state or {})
        for frames in recorded.read(span.partition, max(life.offset, span.first), stop):
            _collect(made, shard.push(marked(frames, start.poison)), span)
            records += int(np.count_nonzero(frames.offset < span.past))
    return Replayed(span, made, records, before, notes)


def _under(fleet: Fleet, shard: Shard, span: Span, notes: list[str]) -> Shard:
    """The same shard under other definitions, as a flow that is started again with them."""
    changed = Shard(fleet.type_of)
    try:
        changed.restore(shard.snapshot())
    except StateError as error:
        notes.append(f"shard {SHARDS[span.partition]} begins without state: {error}")
        return Shard(fleet.type_of)
    return changed


def _collect(made: Decisions, out: ShardOutput, span: Span) -> None:
    """What belongs to the span: rows by their own offset; documents by the record after which they were said."""
    for lane in out.lanes:
        for record in decisions(lane, shard=SHARDS[span.partition], partition=span.partition):
            add_document(made, record.topic, record.value or b"", span)
        for topic, table in _tables(lane):
            add_rows(made, topic, table, span)


def _tables(lane: LaneOutput) -> Iterator[tuple[str, pa.Table]]:
    if len(lane.windows):
        yield "windows", windows_table(lane.windows, lane.twin, lane.names)
    for found in lane.found:
        if len(found.anomalies):
            yield "anomalies", anomalies_table(found.anomalies, found.detect, lane.twin, lane.names)


def add_document(made: Decisions, topic: str, value: bytes, span: Span) -> None:
    """Take an alert or a request where it is one of the span, once."""
    said: Document = msgspec.json.decode(value)
    if span.first <= (said.get("lineage") or {}).get("offset", -1) < span.past:
        made.documents[topic][value] = said


def add_rows(made: Decisions, topic: str, table: pa.Table, span: Span) -> None:
    """Take the rows of the span."""
    offset: I64 = table["offset"].to_numpy()
    mine = (offset >= span.first) & (offset < span.past)
    made.parts[topic].append(table if mine.all() else table.filter(pa.array(mine)))


def recorded_decisions(bootstrap: str, span: Span, from_ns: int) -> Decisions:
    """What the flow told then, read from its topics."""
    made = Decisions()
    for topic in (ALERTS, REQUESTS):
        for value in _values(bootstrap, topic, span, from_ns):
            add_document(made, topic, value, span)
    for topic in TABLES:
        for value in _values(bootstrap, topic, span, from_ns):
            table = from_bytes(value)
            if table.num_rows and table["offset"].to_numpy().min() >= span.tail:
                break  # settled results come in the order of their input
            add_rows(made, topic, table, span)
    return made


def _values(bootstrap: str, topic: str, span: Span, from_ns: int) -> Iterator[bytes]:
    """Records of a topic from the first on that can belong to the span: a result comes after its input."""
    with Recorded(bootstrap, topic) as recorded:
        first, end = recorded.since(from_ns)[span.partition], recorded.end[span.partition]
        for frames in recorded.read(span.partition, first, end):
            for row in range(len(frames)):
                yield frames.value(row) or b"{}"
