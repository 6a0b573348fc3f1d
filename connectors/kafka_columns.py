"""A consumer that hands over whole fetches as `Frames`: bounds into the fetched bytes, no object per message.

kafka-python fetches, keeps positions, leaders and fetch sessions; only its unpacking of a fetch into records is
replaced, by giving its fetcher another `PartitionRecords` class. tests/connectors/test_kafka_columns.py holds the
parts of it that are leaned on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import kafka.errors as kafka_errors
import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher, IsolationLevel
from kafka.net.transport import KafkaTCPTransport

from connectors.fetched import frames_of
from connectors.record_batches import CONTROL, TRANSACTIONAL, BatchHeaders, batch_headers
from operators.errors import TwinflowError
from operators.frames import Frames
from operators.types import Mask

__all__ = ["ColumnConsumer", "OffsetAheadError", "OffsetExpiredError"]

FRAMES_PER_POLL = 16
FETCH_BYTES = 1 << 20
"""Most bytes of one partition in one fetch: 12 of them fit into memory that is used again, not asked for anew."""
RECEIVE_BYTES = 1 << 20


class OffsetExpiredError(TwinflowError):
    """The next offset to read is gone from the broker: data were deleted before they were read."""

    def __init__(self, *, topic: str, partition: int, wanted: int, first: int) -> None:
        self.topic, self.partition, self.wanted, self.first = topic, partition, wanted, first
        super().__init__(
            f"{topic}/{partition}: next offset {wanted} is no longer on the broker, which starts at {first}; "
            f"{first - wanted} records were deleted unread: raise the retention of {topic}, then accept the loss "
            f"with `twinflow flow skip {topic}/{partition} {first}`"
        )


class OffsetAheadError(TwinflowError):
    """The next offset to read was never written: the broker lost data, or the topic was made anew."""

    def __init__(self, *, topic: str, partition: int, wanted: int, end: int) -> None:
        self.topic, self.partition, self.wanted, self.end = topic, partition, wanted, end
        super().__init__(
            f"{topic}/{partition}: next offset {wanted} lies behind the end {end} of the partition: the topic was "
            f"made anew or the broker lost data; start afresh with `twinflow flow reset telemetry --redeliver --yes`"
        )


class _ColumnarRecords(Fetcher.PartitionRecords):
    """One partition's part of a fetch, unpacked into `Frames` instead of records."""

    def _unpack_records(self, tp: Any, records: Any, _key: Any, _value: Any) -> Iterator[Any]:
        buffer = np.frombuffer(memoryview(records._buffer).toreadonly(), np.uint8)
        batches = batch_headers(buffer)
        m = len(batches) if batches.sound.all() else int(np.argmin(batches.sound))
        sound = batches.take(slice(m))
        if m:
            self.leader_epoch = int(sound.leader_epoch[-1])
            taken = self._readable(sound)
            for frames in frames_of(buffer, sound, taken, partition=tp.partition, first_offset=self.fetch_offset):
                self.records_read += len(frames)
                self.next_fetch_offset = max(self.next_fetch_offset, frames.end_offset)
                yield _Fetched(frames)
        self.bytes_read = int(buffer.size)
        self.drain()
        if m < len(batches):
            raise kafka_errors.CorruptRecordError(
                f"{tp.topic}/{tp.partition}: the record batch at offset {batches.base_offset[m]} fails its checksum "
                f"or contradicts itself; nothing behind it is read: see the disk of the broker"
            )

    def _readable(self, batches: BatchHeaders) -> Mask:
        """Batches with data that are not part of an aborted transaction."""
        take: Mask = (batches.attributes & CONTROL) == 0
        if self.isolation_level != IsolationLevel.READ_COMMITTED or not self.aborted_transactions:
            return take
        for i in np.flatnonzero(batches.attributes & TRANSACTIONAL):
            self._consume_aborted_transactions_up_to(batches.last_offset[i])
            if batches.attributes[i] & CONTROL:
                self.aborted_producer_ids.discard(int(batches.producer_id[i]))
            elif int(batches.producer_id[i]) in self.aborted_producer_ids:
                take[i] = False
        return take


def _receive(self: KafkaTCPTransport) -> tuple[bytes, Exception | None]:
    """As the client's own, which asks for 4 KiB at a time: each time it waits for its turn among the threads."""
    received: list[bytes] = []
    fault: Exception | None = None
    while True:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            break
        except OSError as error:
            fault = kafka_errors.KafkaConnectionError(error)
            break
        if not data:
            fault = kafka_errors.KafkaConnectionError("socket disconnected")
            break
        received.append(data)
    return b"".join(received), fault


KafkaTCPTransport._sock_recv = _receive


class _Fetched:
    """What the fetcher sees of a `Frames`: one "record", never older than the offset that was asked for."""

    __slots__ = ("frames", "offset")

    def __init__(self, frames: Frames) -> None:
        self.frames, self.offset = frames, frames.end_offset


class ColumnConsumer:
    """Reads given partitions of a topic from given offsets, read_committed, as `Frames`.

    Args:
        bootstrap: host:port of a broker.
        topic: the topic.
        offsets: where each partition starts; its keys are the partitions read.
        fetch_bytes: most bytes of one partition in one fetch.

    Raises:
        OffsetExpiredError: an offset to start from is older than the broker keeps.
        KafkaError: no broker answers.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        offsets: Mapping[int, int],
        *,
        fetch_bytes: int = FETCH_BYTES,
        client: str = "",
    ) -> None:
        self.topic = topic
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap,
            client_id=client or "twinflow-columns",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=fetch_bytes,
            fetch_max_bytes=12 * fetch_bytes,
            max_poll_records=FRAMES_PER_POLL,
            receive_buffer_bytes=4 << 20,
            reconnect_backoff_max_ms=1000,
        )
        self._consumer._fetcher.PartitionRecords = _ColumnarRecords
        partitions = [TopicPartition(topic, p) for p in offsets]
        self._consumer.assign(partitions)
        try:
            self._expired(dict(offsets))
        except BaseException:
            self.close()
            raise
        for tp in partitions:
            self._consumer.seek(tp, offsets[tp.partition])

    def poll(self, timeout_ms: int) -> list[Frames]:
        """What has been fetched meanwhile: `Frames` per partition, in offset order; [] after the timeout.

        While the broker is away there is nothing, and reading goes on where it was when it is back.

        Raises:
            OffsetExpiredError: data were deleted before they were read.
            OffsetAheadError: the topic ends before the offset to read.
            CorruptRecordError: a record batch is damaged; what lay before it was returned by earlier polls.
        """
        try:
            polled = self._consumer.poll(timeout_ms=timeout_ms)
        except kafka_errors.OffsetOutOfRangeError as error:
            wanted = {tp.partition: int(offset) for tp, offset in error.args[0].items()}
            self._expired(wanted)
            self._ahead(wanted)
            return []
        return [item.frames for items in polled.values() for item in items]

    def _expired(self, wanted: Mapping[int, int]) -> None:
        first = self.first_offsets()
        for partition, offset in wanted.items():
            if offset < first[partition]:
                raise OffsetExpiredError(topic=self.topic, partition=partition, wanted=offset, first=first[partition])

    def _ahead(self, wanted: Mapping[int, int]) -> None:
        end = self.end_offsets()
        for partition, offset in wanted.items():
            if offset > end[partition]:
                raise OffsetAheadError(topic=self.topic, partition=partition, wanted=offset, end=end[partition])

    def end_offsets(self) -> dict[int, int]:
        """Offset after the last readable record of each partition, asked from the broker now."""
        ends = self._consumer.end_offsets(list(self._consumer.assignment()))
        return {tp.partition: offset for tp, offset in ends.items()}

    def first_offsets(self) -> dict[int, int]:
        """Oldest offset of each partition that the broker still keeps."""
        starts = self._consumer.beginning_offsets(list(self._consumer.assignment()))
        return {tp.partition: offset for tp, offset in starts.items()}

    def end_of(self, partition: int) -> int | None:
        """Offset after the newest record of a partition as the last fetch of it told, None before; asks nobody."""
        try:
            end = self._consumer.highwater(TopicPartition(self.topic, partition))
        except kafka_errors.IllegalStateError:  # closed meanwhile
            return None
        return None if end is None else int(end)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
