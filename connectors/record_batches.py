"""Kafka record batches (message format v2) walked in compiled loops: headers, CRC32C, record frames.

One call per fetched buffer of a partition, whatever the number of messages per batch: devices leave batches of 1-10
messages, where a Python step per batch would cost more than all else. Layout: Kafka protocol guide, "Record Batch".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.types import I64, U8, Mask

U32 = NDArray[np.uint32]

HEADER_BYTES = 61
COMPRESSION, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 7, 8, 16, 32


def _crc32c_tables() -> U32:
    """Slicing-by-8 tables of CRC-32C (Castagnoli, reflected 0x82F63B78; RFC 3720 appendix B.4)."""
    table = np.zeros((8, 256), np.uint32)
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
        table[0, i] = c
    for i in range(256):
        for k in range(1, 8):
            table[k, i] = (int(table[k - 1, i]) >> 8) ^ int(table[0, int(table[k - 1, i]) & 255])
    return table


CRC_TABLES = _crc32c_tables()


@njit(cache=True, inline="always")
def _big_endian(buffer: U8, at: int, size: int) -> int:
    value = np.int64(0)
    for i in range(size):
        value = (value << 8) | np.int64(buffer[at + i])
    return int(value)


@njit(cache=True)
def crc32c(buffer: U8, start: int, end: int, tables: U32) -> int:
    """CRC-32C of buffer[start:end].

    >>> crc32c(np.frombuffer(b"123456789", np.uint8), 0, 9, CRC_TABLES) == 0xE3069283
    True
    """
    c = np.uint32(0xFFFFFFFF)
    low = np.uint32(255)
    p = start
    while p + 8 <= end:
        word = np.uint32(buffer[p]) | np.uint32(buffer[p + 1]) << np.uint32(8)
        word |= np.uint32(buffer[p + 2]) << np.uint32(16) | np.uint32(buffer[p + 3]) << np.uint32(24)
        a = c ^ word
        c = tables[7, a & low] ^ tables[6, (a >> np.uint32(8)) & low]
        c ^= tables[5, (a >> np.uint32(16)) & low] ^ tables[4, a >> np.uint32(24)]
        c ^= tables[3, buffer[p + 4]] ^ tables[2, buffer[p + 5]] ^ tables[1, buffer[p + 6]] ^ tables[0, buffer[p + 7]]
        p += 8
    while p < end:
        c = (c >> np.uint32(8)) ^ tables[0, (c ^ np.uint32(buffer[p])) & low]
        p += 1
    return int(c ^ np.uint32(0xFFFFFFFF))


@dataclass(slots=True)
class BatchHeaders:
    """m whole batches of a fetched buffer; `start` and `end` bound the records after the 61-byte header."""

    start: I64
    end: I64
    base_offset: I64
    last_offset: I64
    count: I64
    attributes: I64
    producer_id: I64
    first_ms: I64
    max_ms: I64
    sound: Mask


@njit(cache=True)
def _walk_headers(buffer: U8, tables: U32, out: I64, sound: Mask) -> int:
    p, i = 0, 0
    while p + HEADER_BYTES <= buffer.size and i < sound.size:
        end = p + 12 + _big_endian(buffer, p + 8, 4)
        if end > buffer.size or end < p + HEADER_BYTES:
            break
        base = _big_endian(buffer, p, 8)
        out[0, i], out[1, i], out[2, i] = p + HEADER_BYTES, end, base
        out[3, i] = base + _big_endian(buffer, p + 23, 4)
        out[4, i] = _big_endian(buffer, p + 57, 4)
        out[5, i] = _big_endian(buffer, p + 21, 2)
        out[6, i] = _big_endian(buffer, p + 43, 8)
        out[7, i] = _big_endian(buffer, p + 27, 8)
        out[8, i] = _big_endian(buffer, p + 35, 8)
        stated = _big_endian(buffer, p + 17, 4)
        sound[i] = buffer[p + 16] == 2 and crc32c(buffer, p + 21, end, tables) == stated
        p = end
        i += 1
    return i


def batch_headers(buffer: U8) -> BatchHeaders:
    """Headers of all whole batches in a fetched buffer; a cut-off last batch is left for the next fetch.

    `sound` is False where the checksum does not match or the format is not v2.
    """
    room = buffer.size // HEADER_BYTES + 1
    out, sound = np.empty((9, room), np.int64), np.zeros(room, np.bool_)
    m = _walk_headers(buffer, CRC_TABLES, out, sound)
    start, end, base, last, count, attributes, producer, first_ms, max_ms = out[:, :m]
    return BatchHeaders(start, end, base, last, count, attributes, producer, first_ms, max_ms, sound[:m])


@njit(cache=True, inline="always")
def _varint(buffer: U8, p: int) -> tuple[int, int]:
    shift, value = 0, np.int64(0)
    while True:
        byte = np.int64(buffer[p])
        p += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return int((value >> 1) ^ -(value & 1)), p


@njit(cache=True)
def walk_records(
    buffer: U8, start: I64, base_offset: I64, count: I64, append_ms: I64, first_ms: I64, take: Mask, out: I64
) -> int:
    """Bounds of every record of the batches marked in `take`; the number of records.

    Args:
        append_ms: int64[m], arrival of the whole batch in ms, or -1: then each record's own create time counts.
        out: int64[7, n], written: value start (-1 = tombstone), value end, key start (-1 = none), key end, offset,
            arrival ns, position of the record's headers (0 = it has none).
    """
    k = 0
    for i in range(start.size):
        if not take[i]:
            continue
        p = start[i]
        for _ in range(count[i]):
            size, p = _varint(buffer, p)
            stop = p + size
            delta_ms, p = _varint(buffer, p + 1)
            delta, p = _varint(buffer, p)
            size, p = _varint(buffer, p)
            out[2, k], out[3, k] = (p if size >= 0 else -1), p + max(size, 0)
            size, p = _varint(buffer, p + max(size, 0))
            out[0, k], out[1, k] = (p if size >= 0 else -1), p + max(size, 0)
            p += max(size, 0)
            headers, _after = _varint(buffer, p)
            out[6, k] = p if headers > 0 else 0
            out[4, k] = base_offset[i] + delta
            out[5, k] = (append_ms[i] if append_ms[i] >= 0 else first_ms[i] + delta_ms) * 1_000_000
            k += 1
            p = stop
    return k


def read_headers(buffer: U8, at: int) -> dict[str, bytes]:
    """Headers of one record from their position; a repeated key keeps its last value, a null value is empty."""
    headers: dict[str, bytes] = {}
    count, p = _varint(buffer, at)
    for _ in range(count):
        size, p = _varint(buffer, p)
        key = buffer[p : p + size].tobytes().decode("utf-8", "replace")
        size, p = _varint(buffer, p + size)
        headers[key] = buffer[p : p + max(size, 0)].tobytes()
        p += max(size, 0)
    return headers
