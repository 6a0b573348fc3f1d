"""A topic as the broker keeps it, range by range, read_committed; nothing is written, no group is joined."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from connectors.kafka_columns import ColumnConsumer
from connectors.topic_tail import STILL_SECS, TopicError
from operators.frames import Frames


class Recorded:
    """One topic.

    Args:
        bootstrap: host:port of a broker.
        topic: the topic.

    Attributes:
        first, end: by partition, the oldest offset that is kept and the one after the newest, when it was made.

    Raises:
        TopicError: there is no such topic, or no answer.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.bootstrap, self.topic = bootstrap, topic
        try:
            self._asking = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
            places = [TopicPartition(topic, p) for p in sorted(self._asking.partitions_for_topic(topic) or ())]
            first, end = self._asking.beginning_offsets(places), self._asking.end_offsets(places)
        except KafkaError as error:
            raise TopicError(f"topic {topic} at {bootstrap}: {error}; twinflow doctor says more") from error
        if not places:
            raise TopicError(f"topic {topic} is not there; twinflow up makes every topic")
        self.first = {tp.partition: int(first[tp]) for tp in places}
        self.end = {tp.partition: int(end[tp]) for tp in places}

    def since(self, ns: int) -> dict[int, int]:
        """Offset of the first record that arrived at this time (ns UTC) or later, by partition; the end for none."""
        ms = -(-ns // 1_000_000)
        found = self._asking.offsets_for_times({TopicPartition(self.topic, p): ms for p in self.end})
        at = {tp.partition: int(place.offset) for tp, place in found.items() if place is not None}
        return {p: max(self.first[p], at.get(p, end)) for p, end in self.end.items()}

    def read(self, partition: int, start: int, stop: int) -> Iterator[Frames]:
        """The records of [start, stop), in their order; it ends early where the topic does.

        Raises:
            OffsetExpiredError: the start is gone.
            TopicError: the broker stopped answering.
        """
        stop = min(stop, self.end[partition])
        if start >= stop:
            return
        consumer = ColumnConsumer(self.bootstrap, self.topic, {partition: start}, client="twinflow-recorded")
        try:
            at, patience = start, time.monotonic() + STILL_SECS
            while at < stop:
                for frames in consumer.poll(timeout_ms=100):
                    patience = time.monotonic() + STILL_SECS
                    at = frames.end_offset
                    yield frames if at <= stop else frames.split(stop)[0]
                    if at >= stop:
                        return
                if time.monotonic() > patience:
                    raise TopicError(f"{self.topic}/{partition}: no answer for {STILL_SECS:g} s at offset {at}")
        finally:
            consumer.close()

    def record(self, partition: int, offset: int) -> Frames | None:
        """The one record at an offset; None where it is gone, or none is there."""
        if offset < self.first.get(partition, 0):
            return None
        found = [frames for frames in self.read(partition, offset, offset + 1) if len(frames)]
        return found[0] if found else None

    def close(self) -> None:
        """Close the connection."""
        self._asking.close()

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()
