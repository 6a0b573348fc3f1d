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

from connectors.decompress import TooLargeError, decompress
from connectors.record_batches import (
    COMPRESSION,
    CONTROL,
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    BatchHeaders,
    batch_headers,
    read_headers,
    walk_records,
)
from operators.errors import TwinflowError
from operators.frames import Frames
from operators.types import I64, U8, Mask

FAULT = "twinflow-fault"
"""Header put on the frames of a batch that could not be unpacked; its records become dead letters by this reason."""


class OffsetExpiredError(TwinflowError):
    """The next offset to read is gone from the broker: data were deleted before they were read."""

    def __init__(self, *, topic: str, partition: int, wanted: int, first: int) -> None:
        super().__init__(
            f"{topic}/{partition}: next offset {wanted} is no longer on the broker, which starts at {first}; "
            f"{first - wanted} records were deleted unread: raise the retention of {topic}, then accept the loss "
            f"with `twinflow flow skip {topic}/{partition} {first}`"
        )


class _ColumnarRecords(Fetcher.PartitionRecords):
    """One partition's part of a fetch, unpacked into a single `Frames` instead of records."""

    def _unpack_records(self, tp: Any, records: Any, _key: Any, _value: Any) -> Iterator[Any]:
        buffer = np.frombuffer(records._buffer, np.uint8)
        batches = batch_headers(buffer)
        if not batches.sound.all():
            bad = int(batches.base_offset[np.flatnonzero(~batches.sound)[0]])
            raise kafka_errors.CorruptRecordError(f"record batch of {tp} at offset {bad} fails its checksum")
        if batches.count.size:
            frames = self._frames(tp.partition, buffer, batches)
            self.records_read += len(frames)
            self.bytes_read += int(buffer.size)
            self.next_fetch_offset = frames.end_offset
            yield _Fetched(frames)
        self.drain()

    def _frames(self, partition: int, buffer: U8, batches: BatchHeaders) -> Frames:
        take = self._readable(batches)
        arena, starts, faults = _unpacked(buffer, batches, take)
        count = np.where(take & ~faults, batches.count, 0)
        out = np.empty((7, int(count.sum())), np.int64)
        append = np.where(batches.attributes & LOG_APPEND_TIME, batches.max_ms, -1)
        walk_records(arena, starts, batches.base_offset, count, append, batches.first_ms, take & ~faults, out)
        out, headers = _with_faults(out, arena, batches, faults, append)
        skip = int(np.searchsorted(out[4], self.fetch_offset))
        return Frames(
            partition=partition,
            buffer=arena,
            start=out[0, skip:],
            end=out[1, skip:],
            key_start=out[2, skip:],
            key_end=out[3, skip:],
            offset=out[4, skip:],
            arrival=out[5, skip:],
            headers={row - skip: h for row, h in headers.items() if row >= skip},
            end_offset=int(batches.last_offset[-1]) + 1,
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


class _Fetched:
    """What the fetcher sees of a `Frames`: one "record" whose offset is its first."""

    __slots__ = ("frames", "offset")

    def __init__(self, frames: Frames) -> None:
        self.frames, self.offset = frames, frames.end_offset


def _unpacked(buffer: U8, batches: BatchHeaders, take: Mask) -> tuple[U8, I64, Mask]:
    """Buffer with compressed batches unpacked into one arena, the start of each batch there, and which ones failed."""
    faults: Mask = np.zeros(take.size, np.bool_)
    codecs = batches.attributes & COMPRESSION
    if not (codecs[take] != 0).any():
        return buffer, batches.start, faults
    parts: list[bytes] = []
    starts, at = np.zeros(take.size, np.int64), 0
    for i in np.flatnonzero(take):
        part = buffer[batches.start[i] : batches.end[i]].tobytes()
        if codecs[i]:
            try:
                part = decompress(int(codecs[i]), part)
            except (TooLargeError, ValueError):
                faults[i], part = True, b""
        starts[i] = at
        at += len(part)
        parts.append(part)
    return np.frombuffer(b"".join(parts) or b"\0", np.uint8), starts, faults


def _with_faults(
    out: I64, arena: U8, batches: BatchHeaders, faults: Mask, append: I64
) -> tuple[I64, dict[int, Mapping[str, bytes]]]:
    """Rows for the records of batches that could not be unpacked, and the headers of those that have any."""
    if faults.any():
        rows = []
        for i in np.flatnonzero(faults):
            lost = np.full((7, int(batches.count[i])), -1, np.int64)
            lost[4] = batches.base_offset[i] + np.arange(batches.count[i])
            lost[5] = max(int(append[i]), int(batches.first_ms[i])) * 1_000_000
            rows.append(lost)
        out = np.concatenate([out, *rows], axis=1)
        out = np.ascontiguousarray(out[:, np.argsort(out[4], kind="stable")])
    headers: dict[int, Mapping[str, bytes]] = {}
    for row in np.flatnonzero(out[6]):
        at = int(out[6, row])
        headers[int(row)] = {FAULT: b"bad_compression"} if at < 0 else read_headers(arena, at)
    return out, headers


class ColumnConsumer:
    """Reads given partitions of a topic from given offsets, read_committed, as `Frames`.

    Args:
        bootstrap: host:port of a broker.
        topic: the topic.
        offsets: where each partition starts; its keys are the partitions read.
        fetch_bytes: most bytes of one partition in one fetch.

    Raises:
        OffsetExpiredError: an offset to start from is older than the broker keeps.
    """

    def __init__(
        self, bootstrap: str, topic: str, offsets: Mapping[int, int], *, fetch_bytes: int = 4 << 20, client: str = ""
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
            fetch_max_bytes=16 * fetch_bytes,
            max_poll_records=64,
            receive_buffer_bytes=4 << 20,
        )
        self._consumer._fetcher.PartitionRecords = _ColumnarRecords
        partitions = [TopicPartition(topic, p) for p in offsets]
        self._consumer.assign(partitions)
        first = self._consumer.beginning_offsets(partitions)
        for tp in partitions:
            if offsets[tp.partition] < first[tp]:
                raise OffsetExpiredError(
                    topic=topic, partition=tp.partition, wanted=offsets[tp.partition], first=first[tp]
                )
            self._consumer.seek(tp, offsets[tp.partition])

    def poll(self, timeout_ms: int) -> list[Frames]:
        """What has been fetched meanwhile: `Frames` per partition, in offset order; [] after the timeout."""
        polled = self._consumer.poll(timeout_ms=timeout_ms)
        return [item.frames for items in polled.values() for item in items]

    def end_offsets(self) -> dict[int, int]:
        """Offset after the last readable record of each partition, asked from the broker now."""
        ends = self._consumer.end_offsets(list(self._consumer.assignment()))
        return {tp.partition: offset for tp, offset in ends.items()}

    def first_offsets(self) -> dict[int, int]:
        """Oldest offset of each partition that the broker still keeps."""
        starts = self._consumer.beginning_offsets(list(self._consumer.assignment()))
        return {tp.partition: offset for tp, offset in starts.items()}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
