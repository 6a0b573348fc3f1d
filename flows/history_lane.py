"""One topic on its way into the history: read whole fetches, decode, store, go on; nothing it meets ends it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from connectors.backlog import Backlog
from connectors.kafka_columns import ColumnConsumer
from flows.history_decode import DECODERS, Decoded, Refused
from flows.history_rollups import mended, rolled_up
from flows.history_snapshots import Snapshots
from flows.history_store import LONGEST_PAUSE_SECS, PARTITIONS, Stopped, Store, Table
from operators.errors import TwinflowError
from operators.frames import Frames
from operators.meter import Durations, Meter
from operators.types import I64

MIN_ROWS = 1_000
LINGER_SECS = 0.2
MOST_ROWS = 200_000
"""Rows go out as soon as there are MIN_ROWS of them or the first has waited LINGER_SECS, and the rows before them are
stored; until then they grow, up to MOST_ROWS."""
FETCH_BYTES = 512 << 10
POLL_MS = 250

log = logging.getLogger("twinflow.history")


class HistoryAhead(TwinflowError):
    """The history holds offsets that the broker never gave out: it belongs to another Kafka."""

    def __init__(self, *, topic: str, partition: int, held: int, end: int) -> None:
        super().__init__(
            f"{topic}/{partition}: the history goes on at offset {held}, the broker ends at {end}: it was filled from "
            f"another Kafka; give this one an empty history"
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything of a partition below `ko` is stored; `known_ns`: arrival of its newest record."""

    ko: int
    known_ns: int


@dataclass(slots=True)
class Batch:
    """What was read and not stored yet. `since`: monotonic time of its first part."""

    decoded: Decoded = field(default_factory=Decoded)
    frames: list[Frames] = field(default_factory=list)
    rows: int = 0
    since: float = 0.0

    def add(self, frames: Frames, decoded: Decoded) -> None:
        self.since = self.since if self.frames else time.monotonic()
        self.frames.append(frames)
        self.decoded.rows += decoded.rows
        self.decoded.refused += decoded.refused
        self.rows += decoded.count

    @property
    def due_secs(self) -> float:
        """How long it may still wait to be stored."""
        if not self.frames:
            return POLL_MS / 1000
        return 0.0 if self.rows >= MIN_ROWS else max(0.0, self.since + LINGER_SECS - time.monotonic())


def _same(rows: pa.Table) -> pa.Table:
    return rows


TABLES: Mapping[str, Mapping[str, Callable[[pa.Table], pa.Table]]] = {
    topic: {topic.replace("-", "_"): _same} for topic in DECODERS if topic != "readings"
} | {
    "readings": {
        "samples": _same,
        "samples_recent": lambda rows: rows.drop_columns(["source_offset"]),
        "rollups": rolled_up,
    }
}
"""Tables of each topic, and the rows each of them gets."""


class Lane:
    """Moves one topic into its tables until told to stop.

    Positions come from the tables, so nothing is stored twice or left out, whoever was killed. A batch is stored, into
    all its tables at once, while the next one is read. While the history is away the lane holds these two and waits;
    the broker keeps the rest.

    Args:
        topic: a key of `TABLES`.
        bootstrap: of Kafka. url: of ClickHouse.
        stop: set to end; what has been read is stored first.

    Attributes:
        progress: how far each partition came since the start, as it is noted.
        reached: next offset of each partition; all below it is stored.
        decode, store: meters of its two threads: records to rows, rows into the tables. stores: how long that took.
    """

    def __init__(self, topic: str, bootstrap: str, url: str, stop: threading.Event) -> None:
        self.topic = topic
        self.progress: dict[int, Progress] = {}
        self.reached: dict[int, int] = {}
        self.stored = self.refused = 0
        self.decode, self.store, self.stores = Meter(), Meter(), Durations()
        self._backlogs: dict[int, Backlog] = {}
        self._consumer: ColumnConsumer | None = None
        self._bootstrap, self._stop = bootstrap, stop
        self._store = Store(url, stop)
        self._stores = {name: Store(url, stop) for name in TABLES[topic]}
        self._inserts = ThreadPoolExecutor(len(self._stores), thread_name_prefix=topic)
        self._tables: list[Table] = []
        self._snapshots = Snapshots() if topic == "readings" else None

    def run(self) -> None:
        """Work until `stop`; every failure is told, waited out and tried again."""
        pause = 0.1
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                self._work()
            except Stopped as error:
                log.warning("%s", error)
            except Exception as error:
                pause = 0.1 if time.monotonic() - begun > 60 else min(2 * pause, LONGEST_PAUSE_SECS)
                expected = isinstance(error, TwinflowError | KafkaError | OSError)
                log.error("%s: %s; again in %.1f s", self.topic, error, pause, exc_info=not expected)
                self._stop.wait(pause)
        self._inserts.shutdown()
        for store in (self._store, *self._stores.values()):
            store.close()

    def _work(self) -> None:
        offsets = self._start()
        if not offsets:
            self._stop.wait(1.0)  # the topic is not there yet
            return
        client = f"twinflow-history-{self.topic}"
        consumer = ColumnConsumer(self._bootstrap, self.topic, offsets, fetch_bytes=FETCH_BYTES, client=client)
        self._backlogs = {p: Backlog() for p in offsets}
        for p, offset in offsets.items():
            self._backlogs[p].note(offset, 0)
        self._consumer = consumer
        try:
            self._read(consumer)
        finally:
            self._consumer = None
            consumer.close()

    def lag(self) -> int:
        """Records that are not stored yet, as far as this lane has heard."""
        return sum(backlog.lag(end) for _, backlog, end in self._standing())

    def ages_secs(self) -> dict[int, float]:
        """Age of the oldest record that is not stored, s, by partition; 0 where none waits."""
        now = time.time_ns()
        return {p: backlog.age_secs(end, now) for p, backlog, end in self._standing()}

    def _standing(self) -> list[tuple[int, Backlog, int | None]]:
        consumer = self._consumer
        return [] if consumer is None else [(p, b, consumer.end_of(p)) for p, b in list(self._backlogs.items())]

    def _read(self, consumer: ColumnConsumer) -> None:
        batch, storing = Batch(), _nothing()
        with ThreadPoolExecutor(1, thread_name_prefix=self.topic) as behind:
            while not self._stop.is_set():
                pause = batch.due_secs if storing.done() or not batch.frames else LINGER_SECS
                for frames in consumer.poll(timeout_ms=round(pause * 1000)):
                    began = time.perf_counter_ns()
                    batch.add(frames, DECODERS[self.topic](frames))
                    self.decode.lap(began, len(frames))
                    if batch.rows >= MOST_ROWS:
                        storing.result()
                        storing, batch = behind.submit(self._flush, batch), Batch()
                if storing.done():
                    storing.result()
                    if batch.frames and not batch.due_secs:
                        storing, batch = behind.submit(self._flush, batch), Batch()
            storing.result()
            if batch.frames:
                self._flush(batch)

    def _start(self) -> dict[int, int]:
        """Where to go on reading, by partition; {} while the topic does not exist."""
        first, end = self._bounds()
        if not first:
            return {}
        floor = self._floor()
        self._tables = [Table(self._stores[n], n, floor, shape) for n, shape in TABLES[self.topic].items()]
        for table in self._tables:
            table.locate()
            if table.name == "rollups":
                self._store.surely("check of roll-ups", partial(mended, held=table.held))
        offsets, lost = {}, []
        for kp in first:
            offsets[kp] = min(int(table.held[kp]) for table in self._tables)
            if offsets[kp] > end[kp]:
                raise HistoryAhead(topic=self.topic, partition=kp, held=offsets[kp], end=end[kp])
            if offsets[kp] < first[kp]:
                if offsets[kp]:
                    lost.append(self._lost(kp, offsets[kp], first[kp]))
                offsets[kp] = first[kp]
        self._refuse(lost)
        self.reached.update(offsets)
        return offsets

    def _bounds(self) -> tuple[dict[int, int], dict[int, int]]:
        """First and end offset of every partition on the broker."""
        consumer = KafkaConsumer(bootstrap_servers=self._bootstrap, group_id=None)
        try:
            partitions = [TopicPartition(self.topic, p) for p in consumer.partitions_for_topic(self.topic) or ()]
            if not partitions:
                return {}, {}
            first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        finally:
            consumer.close()
        return {tp.partition: at for tp, at in first.items()}, {tp.partition: at for tp, at in end.items()}

    def _floor(self) -> I64:
        """Positions noted in `ingested`: they hold for every table of the topic."""
        floor = np.zeros(PARTITIONS, np.int64)
        query = "SELECT kp, max(ko) FROM ingested WHERE topic = {topic:String} GROUP BY kp"
        rows = self._store.surely("positions", lambda client: client.rows(query, {"topic": self.topic}))
        for kp, ko in rows:
            floor[kp] = ko
        return floor

    def _flush(self, batch: Batch) -> None:
        """Store what was read in every table, then say so."""
        began = time.perf_counter_ns()
        spans: dict[int, tuple[int, int]] = {}
        for frames in batch.frames:
            first = int(frames.offset[0]) if len(frames) else frames.end_offset
            spans[frames.partition] = (spans.get(frames.partition, (first, 0))[0], frames.end_offset)
        token = f"{self.topic}:" + ",".join(f"{kp}-{a}-{b - 1}" for kp, (a, b) in sorted(spans.items()))
        rows = batch.decoded.table()
        if rows is not None:
            inserts = [self._inserts.submit(table.append, rows, token) for table in self._tables]
            wait(inserts)
            for insert in inserts:
                insert.result()
            self.stored += rows.num_rows
        self._refuse(batch.decoded.refused)
        for frames in batch.frames:
            known = int(frames.arrival[-1]) if len(frames) else 0
            before = self.progress.get(frames.partition, Progress(0, 0))
            self.progress[frames.partition] = Progress(frames.end_offset, max(known, before.known_ns))
            self.reached[frames.partition] = frames.end_offset
            self._backlogs[frames.partition].note(frames.end_offset, known)
        done = self.store.lap(began, sum(map(len, batch.frames)), 0 if rows is None else rows.num_rows)
        self.stores.add(done - began)
        if self._snapshots is not None and rows is not None:
            self._snapshot(rows)

    def _snapshot(self, rows: pa.Table) -> None:
        assert self._snapshots is not None
        kp, known = rows["kp"].to_numpy(), rows["known_ns"].to_numpy()
        for partition in np.unique(kp).tolist():
            mine = kp == partition
            self._snapshots.count(partition, int(mine.sum()))
            if self._snapshots.due(partition, int(known[mine].max())):
                make = partial(self._snapshots.make, kp=partition, ko=self.progress[partition].ko)
                self._store.surely(f"snapshot of partition {partition}", make)

    def _lost(self, kp: int, held: int, first: int) -> Refused:
        detail = f"offsets {held} to {first - 1} were deleted on the broker before they were read"
        log.error("%s/%d: %s", self.topic, kp, detail)
        return Refused(kp, held, time.time_ns(), "expired", detail, records=first - held)

    def _refuse(self, refused: list[Refused]) -> None:
        """Keep what could not be read in `quarantine`; told again after a restart it falls together with itself."""
        if not refused:
            return
        columns: dict[str, list[object]] = {"topic": [self.topic] * len(refused)}
        for name in ("kp", "ko", "known_ns", "reason", "detail", "records", "raw"):
            columns[name] = [getattr(r, name) for r in refused]
        table = pa.table(columns, schema=_QUARANTINE)
        self._store.surely("insert into quarantine", lambda client: client.insert_arrow("quarantine", table))
        self.refused += len(refused)
        log.error("%s: %d records set aside, the last because: %s", self.topic, len(refused), refused[-1].detail)


def _nothing() -> Future[None]:
    """A batch that is stored already."""
    done: Future[None] = Future()
    done.set_result(None)
    return done


_QUARANTINE = pa.schema(
    {"topic": pa.string(), "kp": pa.uint8(), "ko": pa.uint64(), "known_ns": pa.int64()}
    | {"reason": pa.string(), "detail": pa.string(), "records": pa.uint64(), "raw": pa.binary()}
)
