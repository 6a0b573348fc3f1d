"""Exactly-once output to Kafka: one transactional producer per shard, the source offset inside each transaction.

A transaction holds what one epoch of one shard produced and the offset where the next epoch starts reading. After a
crash the source replays from its last snapshot; what lies below the committed offset was already delivered and is
dropped. Pattern: Kafka KIP-98 (transactions) and KIP-447 (offsets by group metadata).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from operators.errors import TwinflowError

PRODUCER: dict[str, str | int | float | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 5,
    "batch.size": 1 << 20,
    "message.max.bytes": 8 << 20,
    "partitioner": "murmur2_random",
}


class CommitError(TwinflowError):
    """A transaction did not go through for certain; the process must end and start again from its last snapshot."""

    def __init__(self, *, shard: str, doing: str, cause: str) -> None:
        super().__init__(
            f"shard {shard}: {doing} failed: {cause}; nothing is lost: the flow stops, restarts from its last "
            f"snapshot and skips what was committed"
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One record to produce. `headers` are optional; `partition` -1 lets the key decide (murmur2)."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = -1


@dataclass(frozen=True, slots=True)
class Settled:
    """What a shard made of its input up to `end_offset`: to be committed together with that offset."""

    end_offset: int
    records: list[Record] = field(default_factory=list)


class ShardTransactions:
    """The committed output of one shard.

    Building one fences every earlier producer of the same name, so a forgotten copy of the flow can commit no more;
    only then `committed` is read: the offset up to which all output has been delivered, or None on the first run.
    `open` tells whether something waits for `commit`.

    Args:
        bootstrap: host:port of a broker.
        group: consumer group that owns the source offsets, e.g. "telemetry".
        shard: name of the shard; the transactional id is `<group>-<shard>`.
        source: topic and partition the shard reads.
    """

    def __init__(self, bootstrap: str, *, group: str, shard: str, source: tuple[str, int]) -> None:
        self.shard = shard
        self._source = source
        self._producer = Producer(
            {**PRODUCER, "bootstrap.servers": bootstrap, "transactional.id": f"{group}-{shard}"},
            logger=None,
        )
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
        self._failed: KafkaError | None = None
        self.open = False
        self._end_offset = -1
        try:
            self._producer.init_transactions(30)
            self.committed = self._read_committed()
            self._group = self._consumer.consumer_group_metadata()
        except KafkaException as error:
            raise CommitError(shard=shard, doing="starting transactions", cause=str(error.args[0])) from error

    def _read_committed(self) -> int | None:
        [found] = self._consumer.committed([TopicPartition(*self._source)], timeout=30)
        return int(found.offset) if found.offset >= 0 else None

    def write(self, settled: Settled) -> None:
        """Add to the transaction of this epoch; what was committed before a restart is dropped.

        Raises:
            CommitError: the broker refused an earlier record for good.
        """
        if self.committed is not None and settled.end_offset <= self.committed:
            return
        if not self.open:
            self._producer.begin_transaction()
            self.open = True
        self._send(settled.records)
        self._end_offset = settled.end_offset

    def _send(self, records: Iterable[Record]) -> None:
        for record in records:
            while True:
                try:
                    self._producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        partition=record.partition,
                        headers=list(record.headers),
                        on_delivery=self._delivered,
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self._producer.poll(0)
        if self._failed is not None:
            raise CommitError(shard=self.shard, doing="delivering a result", cause=str(self._failed))

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        self._failed = self._failed or error

    def commit(self) -> None:
        """Commit the open transaction with its source offset; nothing open is nothing to do.

        Raises:
            CommitError: the outcome is not certain; the producer must not be used again.
        """
        if not self.open:
            return
        topic, partition = self._source
        try:
            offset = [TopicPartition(topic, partition, self._end_offset)]
            self._producer.send_offsets_to_transaction(offset, self._group, 30)
            self._producer.commit_transaction(30)
        except KafkaException as error:
            raise CommitError(shard=self.shard, doing="committing", cause=str(error.args[0])) from error
        if self._failed is not None:
            raise CommitError(shard=self.shard, doing="delivering a result", cause=str(self._failed))
        self.committed, self.open = self._end_offset, False

    def close(self) -> None:
        """Let go of the connections; an open transaction is left to the next owner, who aborts it by fencing."""
        self._consumer.close()


class CommitPool:
    """Commits the shards of a worker side by side: the first `commit` of an epoch starts all that are open."""

    def __init__(self, threads: int = 12) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="commit")
        self._shards: list[ShardTransactions] = []
        self._running: dict[str, Future[None]] = {}

    def add(self, shard: ShardTransactions) -> None:
        """Let a shard take part."""
        self._shards.append(shard)

    def write(self, shard: ShardTransactions, settled: Settled) -> None:
        """Write for a shard, once its last commit is through."""
        self._await(shard)
        shard.write(settled)

    def commit(self, shard: ShardTransactions) -> None:
        """Commit `shard` and, side by side, every other shard that has something open.

        Raises:
            CommitError: this shard's commit failed.
        """
        for other in self._shards:
            if other.open and other.shard not in self._running:
                self._running[other.shard] = self._pool.submit(other.commit)
        self._await(shard)

    def _await(self, shard: ShardTransactions) -> None:
        running = self._running.pop(shard.shard, None)
        if running is not None:
            running.result()
