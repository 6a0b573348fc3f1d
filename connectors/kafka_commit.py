"""Exactly-once output to Kafka: one transactional producer per shard, the source offset inside each transaction.

A transaction holds what one epoch of one shard produced and the offset where the next epoch starts reading. After a
crash the source replays from its last snapshot; what lies below the committed offset was already delivered and is
dropped. Pattern: Kafka KIP-98 (transactions) and KIP-447 (offsets by group metadata).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from operators.errors import TwinflowError
from operators.meter import Durations, Meter

PRODUCER: dict[str, str | int | float | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 5,
    "batch.size": 1 << 20,
    "message.max.bytes": 8 << 20,
    "partitioner": "murmur2_random",
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.propagation.max.ms": 10_000,  # a topic that is missing is said so before a commit gives up
}
TIMEOUT_SECS = 30
MOST_ROWS = 200_000
"""Rows of a shard that wait for the end of their epoch; more are written at once."""
Source: TypeAlias = tuple[str, int]
"""Topic and partition."""
_Result = TypeVar("_Result")


class CommitError(TwinflowError):
    """A transaction did not go through for certain; the process must end and start again from its last snapshot."""

    def __init__(self, *, shard: str, doing: str, cause: str) -> None:
        self.shard, self.cause = shard, cause
        super().__init__(
            f"shard {shard}: {doing} failed: {cause}; nothing is lost: the flow stops, restarts from its last "
            f"snapshot and skips what was committed"
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One record to produce; a value of None is a tombstone. `partition` -1 lets the key decide (murmur2)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = -1


class Part(Protocol):
    """Results that wait for those of the same epoch, to be written together; `rows` tells how many they are."""

    @property
    def rows(self) -> int: ...


Merge: TypeAlias = Callable[[str, int, list[Any]], list[Record]]
"""The records of a shard (name, partition) that several parts, in order, come to."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a shard made of its input up to `end_offset`: to be committed together with that offset."""

    end_offset: int
    records: list[Record] = field(default_factory=list)
    part: Part | None = None


class Outbox:
    """A producer that never loses a record in silence: the first failed delivery is raised by the next call.

    Args:
        settings: of the producer, on top of PRODUCER.
        shard: whose records these are, for the message of an error.

    Attributes:
        blocked_ns: time spent waiting for room in the queue.
    """

    def __init__(self, settings: dict[str, str | int | float | bool], *, shard: str) -> None:
        self.shard, self.blocked_ns = shard, 0
        self.producer = Producer({**PRODUCER, **settings})
        self._failed: KafkaError | None = None

    def send(self, records: Iterable[Record]) -> None:
        """Hand records over; waits while the queue is full.

        Raises:
            CommitError: a record, this or an earlier one, was refused for good.
        """
        for record in records:
            while not self._queued(record):
                since = time.perf_counter_ns()
                self.producer.poll(0.05)
                self.blocked_ns += time.perf_counter_ns() - since
                self.check()
        self.producer.poll(0)
        self.check()

    def _queued(self, record: Record) -> bool:
        try:
            self.producer.produce(
                record.topic,
                record.value,
                record.key,
                partition=record.partition,
                headers=list(record.headers),
                on_delivery=self._report(),
            )
        except BufferError:
            return False
        except KafkaException as error:
            doing = f"handing over {len(record.value or b'')} bytes for {record.topic}"
            raise CommitError(shard=self.shard, doing=doing, cause=self._cause(error)) from error
        return True

    def _cause(self, error: KafkaException) -> str:
        """What happened; a producer that is dead says why only where a transaction is begun: a newer copy fenced it."""
        if error.args[0].code() == KafkaError._FATAL:
            try:
                self.producer.begin_transaction()
            except KafkaException as why:
                if why.args[0].fatal():
                    return str(why.args[0])
        return str(error.args[0])

    def _report(self) -> Callable[[KafkaError | None, Message], None]:
        """What is told of the delivery of the next record."""
        return self._delivered

    def flush(self) -> None:
        """Wait until all that was sent is on the broker.

        Raises:
            CommitError: it is not, for good or within 30 s.
        """
        waiting = self.producer.flush(TIMEOUT_SECS)
        self.check()
        if waiting:
            cause = f"{waiting} records not acknowledged in {TIMEOUT_SECS} s"
            raise CommitError(shard=self.shard, doing="delivering results", cause=cause)

    def check(self) -> None:
        """Raise what delivery reports said.

        Raises:
            CommitError: a record was refused for good.
        """
        refused = self.refused()
        if refused is not None:
            raise refused

    def refused(self) -> CommitError | None:
        """The first delivery that failed."""
        if self._failed is None:
            return None
        return CommitError(shard=self.shard, doing="delivering a result", cause=str(self._failed))

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if self._failed is None:
            self._failed = error


class LiveOutbox(Outbox):
    """An outbox of which one thread sends, and others wait for what was sent up to some moment.

    `flush` would wait for what is sent meanwhile too, so under load for long.
    """

    def __init__(self, settings: dict[str, str | int | float | bool], *, shard: str) -> None:
        super().__init__(settings, shard=shard)
        self._on_the_way: dict[int, None] = {}
        self._sent = 0

    def _report(self) -> Callable[[KafkaError | None, Message], None]:
        number = self._sent
        self._sent += 1
        self._on_the_way[number] = None
        return partial(self._arrived, number)

    def _arrived(self, number: int, error: KafkaError | None, message: Message) -> None:
        self._delivered(error, message)
        self._on_the_way.pop(number, None)

    def mark(self) -> int:
        """This moment: how many records were sent before it."""
        return self._sent

    def await_delivered(self, mark: int) -> None:
        """Wait until all that was sent before the mark is on the broker.

        Raises:
            CommitError: it is not, for good or within 30 s.
        """
        deadline = time.monotonic() + TIMEOUT_SECS
        while (oldest := min(tuple(self._on_the_way), default=mark)) < mark:
            self.producer.poll(0.01)
            self.check()
            if time.monotonic() > deadline:
                cause = f"records not acknowledged in {TIMEOUT_SECS} s, the oldest is number {oldest}"
                raise CommitError(shard=self.shard, doing="delivering results", cause=cause)
        self.check()


class Transactions:
    """One transactional producer, and the source offsets that are committed with what it writes.

    Building one fences every earlier producer of the same name, so a forgotten copy can commit no more; only then
    `offsets` are read: where each source stands, None on the first run. `open` tells whether something waits for
    `commit_at`; `took` how long commits were.

    Args:
        bootstrap: host:port of a broker.
        group: consumer group that owns the source offsets, e.g. "telemetry"; no consumer ever joins it.
        shard: name of this producer; the transactional id is `<group>-<shard>`.
        sources: topics and partitions that are read.
        settings: of the producer, on top of PRODUCER.

    Raises:
        CommitError: the broker does not answer.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        group: str,
        shard: str,
        sources: Sequence[Source],
        settings: Mapping[str, str | int | float | bool] | None = None,
    ) -> None:
        self.shard = shard
        own = {"bootstrap.servers": bootstrap, "transactional.id": f"{group}-{shard}"}
        self._out = Outbox({**(settings or {}), **own}, shard=shard)
        self._dead: CommitError | None = None
        self.open = False
        self.took = Durations()
        self._try("starting transactions", lambda: self._out.producer.init_transactions(TIMEOUT_SECS))
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
        try:
            self.offsets = self._try("reading the committed offset", lambda: _committed(consumer, sources))
            self._group = consumer.consumer_group_metadata()
        finally:
            consumer.close()

    def send(self, records: Iterable[Record]) -> None:
        """Add to the open transaction, which is begun where there is none.

        Raises:
            CommitError: the broker refused an earlier record for good.
        """
        if not self.open:
            self._try("beginning a transaction", self._out.producer.begin_transaction)
            self.open = True
        self._try("writing", lambda: self._out.send(records))

    def commit_at(self, offsets: Mapping[Source, int]) -> None:
        """Commit the open transaction together with where its sources are to be read next.

        Raises:
            CommitError: the outcome is not certain; the producer must not be used again.
        """
        at = [TopicPartition(*source, offset) for source, offset in offsets.items()]
        producer, group, since = self._out.producer, self._group, time.perf_counter_ns()
        if at:
            self._try("committing", lambda: producer.send_offsets_to_transaction(at, group, TIMEOUT_SECS))
        self._try("committing", lambda: producer.commit_transaction(TIMEOUT_SECS))
        self._try("committing", self._out.check)
        self.open = False
        self.offsets |= offsets
        self.took.add(time.perf_counter_ns() - since)

    def _try(self, doing: str, step: Callable[[], _Result]) -> _Result:
        """A step of a transaction; after the first one that failed all others are refused."""
        if self._dead is not None:
            raise self._dead
        try:
            return step()
        except KafkaException as error:
            self._dead = self._out.refused() or CommitError(shard=self.shard, doing=doing, cause=str(error.args[0]))
            raise self._dead from error
        except CommitError as error:
            self._dead = error
            raise

    def close(self) -> None:
        """Nothing is held but the producer; an open transaction is left to the next owner, who aborts it by fencing."""


class ShardTransactions(Transactions):
    """The committed output of one shard, which reads one partition.

    Args:
        bootstrap, group, shard: as for `Transactions`.
        source: topic and partition the shard reads.
        merge: makes records of the parts of an epoch; needed where parts are written.

    Attributes:
        committed: the offset up to which all output has been delivered, None on the first run.
        settle: rows that were merged, records they came to, processor time that took.

    Raises:
        CommitError: the broker does not answer.
    """

    def __init__(self, bootstrap: str, *, group: str, shard: str, source: Source, merge: Merge | None = None) -> None:
        super().__init__(bootstrap, group=group, shard=shard, sources=[source])
        self.settle = Meter()
        self._source, self._merge = source, merge
        self._parts: list[Part] = []
        self._rows = 0
        self._end_offset = -1

    @property
    def committed(self) -> int | None:
        return self.offsets[self._source]

    def write(self, settled: Settled) -> None:
        """Add to the transaction of this epoch; what was committed before a restart is dropped.

        Raises:
            CommitError: the broker refused an earlier record for good.
        """
        if self.committed is not None and settled.end_offset <= self.committed:
            return
        self.send(settled.records)
        self._end_offset = max(self._end_offset, settled.end_offset)
        if settled.part is not None:
            self._parts.append(settled.part)
            self._rows += settled.part.rows
            if self._rows > MOST_ROWS:
                self._write_parts()

    def _write_parts(self) -> None:
        """One encoding for what came in many fetches: blocks as large as an epoch allows."""
        if self._parts:
            assert self._merge is not None, "parts need a merge"
            parts, rows, since = self._parts, self._rows, time.thread_time_ns()
            self._parts, self._rows = [], 0
            records = self._merge(self.shard, self._source[1], parts)
            self.send(records)
            self.settle.busy_ns += time.thread_time_ns() - since
            self.settle.rows_in += rows
            self.settle.rows_out += len(records)

    def commit(self) -> None:
        """Commit the open transaction with its source offset; nothing open is nothing to do.

        Raises:
            CommitError: the outcome is not certain; the producer must not be used again.
        """
        if self.open:
            self._write_parts()
            self.commit_at({self._source: self._end_offset})


def _committed(consumer: Consumer, sources: Sequence[Source]) -> dict[Source, int | None]:
    """The offsets a group has; asks again while a broker that just started looks for its coordinator.

    Raises:
        KafkaException: no answer in 30 s.
    """
    deadline = time.monotonic() + TIMEOUT_SECS
    while True:
        try:
            found = consumer.committed([TopicPartition(*source) for source in sources], timeout=TIMEOUT_SECS)
            for failed in (tp.error for tp in found if tp.error is not None):
                raise KafkaException(failed)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return {(tp.topic, tp.partition): int(tp.offset) if tp.offset >= 0 else None for tp in found}
