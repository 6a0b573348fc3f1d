"""Kafka as Bytewax sees it: a columnar source with one part per shard, and two sinks, one at once, one committed.

Partition = shard. Source and sink parts go to workers by their sorted index, keyed state by the SipHash of its key;
the shard names are chosen so that both agree for 1, 2, 3, 4 and 6 workers, so no batch ever changes process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from kafka import KafkaConsumer, TopicPartition

from connectors.backlog import Backlog
from connectors.commit_pool import CommitPool
from connectors.kafka_columns import ColumnConsumer, OffsetAheadError
from connectors.kafka_commit import LiveOutbox, Merge, Record, Settled, ShardTransactions
from connectors.shards import SHARDS
from operators.errors import TwinflowError
from operators.frames import Frames
from operators.meter import Durations, Meter

IDLE = timedelta(milliseconds=2)
POLL_MS, POLL_PAUSE_SECS = 50, 0.001
"""An idle worker waits in the consumer, which returns as soon as anything comes; a poll costs 1 ms of CPU."""

log = logging.getLogger("twinflow.kafka")


class Worker:
    """What the parts of one process share: the consumer, the transactions, and the order to drain.

    One worker thread per process; scale by processes, each with shards of its own.

    Args:
        bootstrap: host:port of a broker.
        topic: the topic the shards read.
        partitions: whose shards this process works on.
        group: consumer group and prefix of the transactional ids.

    Attributes:
        merge: makes records of the parts of an epoch (`Settled.part`), set before the first transaction.
        fetch, live: meters of the source, and of what goes out at once.
        backlogs: how far each partition is, noted by whoever is done with a fetch.
    """

    def __init__(
        self, bootstrap: str, *, topic: str, group: str, partitions: Sequence[int] = range(len(SHARDS))
    ) -> None:
        self.bootstrap, self.topic, self.group = bootstrap, topic, group
        self.partitions = tuple(partitions)
        self.drain = threading.Event()
        self.outbox: LiveOutbox | None = None
        self.pool = CommitPool(self._live_delivered)
        self.fetch, self.live = Meter(), Meter()
        self.backlogs = {p: Backlog() for p in self.partitions}
        self.transactional = False
        self.merge: Merge | None = None
        self.committed: dict[int, int | None] = {}
        self._transactions: dict[int, ShardTransactions] = {}
        self._resume: dict[int, int | None] = {}
        self._starts: dict[int, int] = {}
        self._read: dict[int, int] = {}
        self._queues: dict[int, deque[Frames]] = {}
        self._consumer: ColumnConsumer | None = None
        self._poll_at = 0.0
        self._thread = 0

    def add(self, partition: int, resume: int | None) -> None:
        """A source part announces itself and the offset its last snapshot holds."""
        self._thread = self._thread or threading.get_ident()
        if self._thread != threading.get_ident():
            raise TwinflowError("two worker threads in one process would share a consumer; start more processes")
        self._resume[partition] = resume
        self._queues[partition] = deque()

    @property
    def shards(self) -> list[str]:
        """Names of the shards of this process, in the order of their partitions."""
        return [SHARDS[p] for p in self.partitions]

    def take(self, partition: int) -> list[Frames]:
        """What has been fetched for a partition; polls the broker only when nothing waits for anyone."""
        if self._consumer is None:
            self._start()
        if not any(self._queues.values()) and time.monotonic() >= self._poll_at:
            self._poll()
            self._poll_at = time.monotonic() + POLL_PAUSE_SECS
        queue = self._queues[partition]
        taken = list(queue)
        queue.clear()
        if taken:  # what is handed out runs through the flow before any part waits again
            self._poll_at = time.monotonic() + POLL_PAUSE_SECS
        return taken

    def _poll(self) -> None:
        assert self._consumer is not None
        self.pool.check()
        since = time.thread_time_ns()  # the rest is waiting for something to come
        found = self._consumer.poll(timeout_ms=POLL_MS)
        for frames in found:
            self._queues[frames.partition].extend(self._cut(frames))
        count = sum(map(len, found))
        self.fetch.busy_ns += time.thread_time_ns() - since
        self.fetch.rows_in += count
        self.fetch.rows_out += count

    def lags(self) -> dict[str, int]:
        """Records that wait, by shard, as far as this process has heard."""
        return {SHARDS[p]: backlog.lag(self._end_of(p)) for p, backlog in self.backlogs.items()}

    def ages_secs(self) -> dict[str, float]:
        """Age of the oldest record that waits, s, by shard; 0 where none does."""
        now = time.time_ns()
        return {SHARDS[p]: backlog.age_secs(self._end_of(p), now) for p, backlog in self.backlogs.items()}

    def _end_of(self, partition: int) -> int | None:
        consumer = self._consumer
        return None if consumer is None else consumer.end_of(partition)

    def steps(self) -> dict[str, Meter]:
        """Meters of the source and of what is delivered."""
        shards = list(self._transactions.values())
        commit, settle = Meter(), Meter.total(shard.settle for shard in shards)
        commit.rows_in = commit.rows_out = settle.rows_out
        commit.blocked_ns = self.pool.blocked_ns
        return {"fetch": self.fetch, "live": self.live, "settle": settle, "commit": commit}

    def transaction_times(self) -> Durations:
        """How long the commits of all shards took."""
        return Durations.total(shard.took for shard in list(self._transactions.values()))

    def _start(self) -> None:
        """Fence older copies of this flow first, so that what is read as committed stays the last word."""
        if self.transactional:
            self.fence(self._resume)
        self._starts = self._start_offsets()
        self._consumer = ColumnConsumer(self.bootstrap, self.topic, self._starts)

    def fence(self, partitions: Collection[int]) -> None:
        """Start the transactions of some shards side by side: one after the other they take half a second each."""
        with ThreadPoolExecutor(len(partitions)) as threads:
            list(threads.map(self.transactions, partitions))

    def transactions(self, partition: int) -> ShardTransactions:
        """The committed output of the shard that reads a partition, made once.

        Raises:
            CommitError: the broker does not answer.
        """
        made = self._transactions.get(partition)
        if made is None:
            shard, source = SHARDS[partition], (self.topic, partition)
            made = ShardTransactions(self.bootstrap, group=self.group, shard=shard, source=source, merge=self.merge)
            self._transactions[partition] = made
            self.committed[partition] = made.committed
        return made

    def at_once(self, records: list[Record]) -> None:
        """Send by the live path, outside of the flow's own steps."""
        if self.outbox is not None:
            self.outbox.send(records)

    def _live_delivered(self) -> Callable[[], None]:
        """To be waited for before a commit: what went out at once until now."""
        outbox = self.outbox
        return partial(outbox.await_delivered, outbox.mark()) if outbox else lambda: None

    def start_of(self, partition: int) -> int | None:
        """Offset a partition was first read from in this process; None before the first read."""
        return self._starts.get(partition, self._resume[partition])

    def _start_offsets(self) -> dict[int, int]:
        starts = {p: r for p, r in self._resume.items() if r is not None}
        unknown = [p for p in self._resume if p not in starts]
        bounds = offset_bounds(self.bootstrap, self.topic, unknown) if unknown else {}
        for partition, (first, end) in bounds.items():
            starts[partition] = first
            committed = self.committed.get(partition)
            if committed:
                self._tell_lost_state(partition, committed, first, end)
        return starts

    def _tell_lost_state(self, partition: int, committed: int, first: int, end: int) -> None:
        place = f"{self.topic}/{partition}"
        if committed > end:
            raise OffsetAheadError(topic=self.topic, partition=partition, wanted=committed, end=end)
        log.error(
            "%s: results are committed up to offset %d but the state is gone; it is rebuilt from offset %d, and what "
            "was delivered is not delivered again",
            *(place, committed, first),
        )
        if committed < first:
            log.error("%s: %d records were deleted by retention before they were read", place, first - committed)
        if first > 0 and not self.may_rebuild(partition):
            raise StateGoneError(topic=self.topic, partition=partition, committed=committed, first=first)

    def may_rebuild(self, _partition: int) -> bool:
        """Whether a shard without state may start from input that is not whole any more."""
        return True

    def _cut(self, frames: Frames) -> Iterable[Frames]:
        """Cut where the committed output ends, so that a replayed batch is either all delivered or all new."""
        committed, before = self.committed.get(frames.partition), self._read.get(frames.partition)
        self._read[frames.partition] = frames.end_offset
        before = self._starts.get(frames.partition, 0) if before is None else before
        if committed is not None and before < committed < frames.end_offset:  # offsets without a record count too
            return frames.split(committed)
        return (frames,)

    def finish(self) -> None:
        """The flow has ended by itself: wait until all that it said is delivered and committed.

        Raises:
            CommitError: it is not.
        """
        for shard in self._transactions.values():
            self.pool.finish(shard)
        if self.outbox is not None:
            self.outbox.flush()

    def leave(self, partition: int) -> None:
        """A source part is done; the last one closes the consumer."""
        self._queues.pop(partition, None)
        if not self._queues and self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def offset_bounds(bootstrap: str, topic: str, partitions: list[int]) -> dict[int, tuple[int, int]]:
    """Oldest offset that the broker still keeps, and the one after the newest, of each partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    places = [TopicPartition(topic, p) for p in partitions]
    try:
        first, end = consumer.beginning_offsets(places), consumer.end_offsets(places)
    finally:
        consumer.close()
    return {tp.partition: (first[tp], end[tp]) for tp in places}


class StateGoneError(TwinflowError):
    """A shard has no state and its input is no longer whole: what it would say now could differ from what it said."""

    def __init__(self, *, topic: str, partition: int, committed: int, first: int) -> None:
        super().__init__(
            f"{topic}/{partition}: results are committed up to offset {committed}, the state of shard "
            f"{SHARDS[partition]} is gone, and the input before offset {first} was deleted: put the state back "
            f"(twinflow savepoint --restore NAME), or give it up: twinflow flow reset telemetry --yes"
        )


class _ShardPart(StatefulSourcePartition[tuple[str, Frames], int | None]):
    def __init__(self, worker: Worker, shard: str, resume: int | None) -> None:
        self._worker, self._shard, self._partition = worker, shard, SHARDS.index(shard)
        self._offset: int | None = None
        self._awake: datetime | None = None
        worker.add(self._partition, resume)

    def next_batch(self) -> list[tuple[str, Frames]]:
        if self._worker.drain.is_set():
            raise StopIteration
        taken = self._worker.take(self._partition)
        self._awake = None if taken else datetime.now(UTC) + IDLE
        if taken:
            self._offset = taken[-1].end_offset
        return [(self._shard, frames) for frames in taken]

    def next_awake(self) -> datetime | None:
        return self._awake

    def snapshot(self) -> int | None:
        return self._worker.start_of(self._partition) if self._offset is None else self._offset

    def close(self) -> None:
        self._worker.leave(self._partition)


class ShardSource(FixedPartitionedSource[tuple[str, Frames], int | None]):
    """The samples topic as `(shard, Frames)`: a part per shard, resumed at the offset of its snapshot."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def list_parts(self) -> list[str]:
        return self._worker.shards

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> _ShardPart:
        return _ShardPart(self._worker, for_part, resume_state)


class _CommittedPart(StatefulSinkPartition[Settled, None]):
    def __init__(self, worker: Worker, shard: str) -> None:
        self._pool = worker.pool
        self._shard = worker.transactions(SHARDS.index(shard))

    def write_batch(self, items: list[Settled]) -> None:
        for settled in items:
            self._pool.write(self._shard, settled)

    def snapshot(self) -> None:
        self._pool.commit(self._shard)

    def close(self) -> None:
        self._shard.close()  # `Worker.finish` waits: an error here, where Bytewax drops its parts, would abort all


class CommittedSink(FixedPartitionedSink[Settled, None]):
    """The settled path: a transaction per shard and epoch, with the source offset inside."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        worker.transactional = True

    def list_parts(self) -> list[str]:
        return self._worker.shards

    def part_fn(self, item_key: str) -> int:
        return self._worker.shards.index(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _CommittedPart:
        return _CommittedPart(self._worker, for_part)


class _LivePart(StatefulSinkPartition[list[Record], None]):
    def __init__(self, out: LiveOutbox, live: Meter) -> None:
        self._out, self._live = out, live

    def write_batch(self, items: list[list[Record]]) -> None:
        since, before = time.perf_counter_ns(), self._out.blocked_ns
        for records in items:
            self._out.send(records)
        blocked = self._out.blocked_ns - before
        self._live.lap(since + blocked)
        self._live.blocked_ns += blocked

    def snapshot(self) -> None:
        """Each commit of the settled path waits for what was sent before it (`Worker.pool`)."""


class LiveSink(FixedPartitionedSink[list[Record], None]):
    """The live path: sent at once by one idempotent producer; ids are deterministic, so receivers drop repeats."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def list_parts(self) -> list[str]:
        return self._worker.shards

    def part_fn(self, item_key: str) -> int:
        return self._worker.shards.index(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _LivePart:
        worker = self._worker
        if worker.outbox is None:
            worker.outbox = LiveOutbox({"bootstrap.servers": worker.bootstrap, "linger.ms": 2}, shard="live")
        return _LivePart(worker.outbox, worker.live)
