"""Record batches made by kafka-python's own builder, and what its own reader finds in them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c

from operators.frames import Frames
from operators.types import U8

NOW_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Message:
    """One message as any client sees it; a repeated header keeps its last value, a null value is empty."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    arrival_ms: int


@dataclass(frozen=True)
class Sent:
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    ms: int = NOW_MS
    skip: int = 0  # offsets left out before it, as compaction does


BYTES = st.none() | st.binary(max_size=8) | st.binary(min_size=60, max_size=200)
SENT = st.builds(
    Sent,
    key=BYTES,
    value=BYTES,
    headers=st.lists(st.tuples(st.text(max_size=3), BYTES), max_size=3).map(tuple),
    ms=st.integers(NOW_MS - 10**6, NOW_MS + 10**6),
    skip=st.integers(0, 2),
)


def batch(sent: Sequence[Sent], *, base: int = 0, codec: int = 0, attributes: int = 0, producer: int = -1) -> bytes:
    """One batch as it comes from a broker that stored its first message at `base` (+ its skip)."""
    builder = DefaultRecordBatchBuilder(2, codec, producer >= 0, producer, 0, 0, 1 << 30)
    at = 0
    for one in sent:
        at += one.skip
        builder.append(at, one.ms, one.key, one.value, list(one.headers))
        at += 1
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    raw[22] |= attributes
    return sealed(raw)


def sealed(raw: bytes | bytearray) -> bytes:
    """The batch with a checksum that fits its bytes, whatever they are."""
    raw = bytearray(raw)
    struct.pack_into(">I", raw, 17, calc_crc32c(memoryview(raw)[21:]))
    return bytes(raw)


def next_base(raw: bytes) -> int:
    base, delta = struct.unpack_from(">q", raw)[0], struct.unpack_from(">i", raw, 23)[0]
    return int(base + delta + 1)


def as_array(raw: bytes) -> U8:
    return np.frombuffer(raw, np.uint8)


def by_kafka_python(raw: bytes) -> list[Message]:
    """The oracle: kafka-python's own reader."""
    return [
        Message(
            record.offset,
            None if record.key is None else bytes(record.key),
            None if record.value is None else bytes(record.value),
            {key: bytes(value or b"") for key, value in record.headers},
            record.timestamp,
        )
        for one in MemoryRecords(raw)
        for record in one
    ]


def messages(frames: Frames) -> list[Message]:
    return [
        Message(
            int(frames.offset[row]),
            frames.key(row),
            frames.value(row),
            dict(frames.headers.get(row, {})),
            int(frames.arrival[row]) // 1_000_000,
        )
        for row in range(len(frames))
    ]
