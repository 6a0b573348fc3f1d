"""A whole topic, read_committed, as columns: first what is kept, then, asked again, what came since."""

from __future__ import annotations

import time
from collections.abc import Iterator

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from connectors.kafka_columns import ColumnConsumer
from operators.errors import TwinflowError
from operators.frames import Frames

STILL_SECS = 10.0


class TopicError(TwinflowError):
    """A topic is missing, or the broker does not answer."""


class TopicTail:
    """Reads every partition of a topic up to its end as it is at each call of `read`.

    Args:
        bootstrap: host:port of a broker.
        topic: the topic.
        since_ns: start at the first record that arrived at this time or later, ns UTC; 0 for all that is kept.

    Attributes:
        first: oldest offset that is kept, by partition. start: offset of the first read.

    Raises:
        TopicError: there is no such topic, or no answer.
    """

    def __init__(self, bootstrap: str, topic: str, *, since_ns: int = 0) -> None:
        self.topic = topic
        try:
            self.first, self.start = _bounds(bootstrap, topic, since_ns)
            self._consumer = ColumnConsumer(bootstrap, topic, self.start)
        except KafkaError as error:
            raise TopicError(
                f"topic {topic} at {bootstrap} cannot be read: {error}; twinflow doctor says more"
            ) from error
        self._at = dict(self.start)

    def ends(self) -> dict[int, int]:
        """Offset after the last readable record of each partition, asked now."""
        return self._consumer.end_offsets()

    def read(self) -> Iterator[Frames]:
        """What came since the last call, up to `ends`.

        Raises:
            TopicError: the broker stopped answering.
        """
        ends = self.ends()
        patience = time.monotonic() + STILL_SECS
        while any(at < ends[p] for p, at in self._at.items()):
            for frames in self._consumer.poll(timeout_ms=100):
                self._at[frames.partition] = frames.end_offset
                patience = time.monotonic() + STILL_SECS
                yield frames
            if time.monotonic() > patience:
                raise TopicError(f"topic {self.topic}: no answer for {STILL_SECS:g} s; ask again when Kafka is well")

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def _bounds(bootstrap: str, topic: str, since_ns: int) -> tuple[dict[int, int], dict[int, int]]:
    """Oldest offset of each partition, and where to start."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    try:
        partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            raise TopicError(f"topic {topic} is not there; twinflow up makes every topic")
        first = {tp.partition: int(o) for tp, o in consumer.beginning_offsets(partitions).items()}
        if not since_ns:
            return first, first
        found = consumer.offsets_for_times(dict.fromkeys(partitions, since_ns // 1_000_000))
        ends = consumer.end_offsets(partitions)
    finally:
        consumer.close()
    at = {tp.partition: int(found[tp].offset if found.get(tp) else ends[tp]) for tp in partitions}
    return first, {p: max(offset, first[p]) for p, offset in at.items()}
