"""Kafka record batches (message format v2) walked in compiled loops: headers, CRC32C, record frames.

One call per fetched buffer of a partition, whatever the number of messages per batch: devices leave batches of 1-10
messages, where a Python step per batch would cost more than all else. Layout: Kafka protocol guide, "Record Batch".
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from connectors.crc32c import TABLES, U32, crc32c
from operators.compiled import kernel, part
from operators.frames import DEVICE_CLOCK, HEADERS, PACKED, PLAIN, READ, TRUSTED
from operators.types import I64, U8, Mask

HEADER_BYTES = 61
SMALLEST_RECORD = 7
"""Bytes of a record without key, value and headers."""
_WORDS = (
    *(name.encode() for name in HEADERS), b"trusted", b"device", b"application/json",
    b"application/vnd.apache.arrow.message",
)  # fmt: skip
WORDS = np.frombuffer(b"".join(_WORDS), np.uint8)
WORD_ENDS = np.cumsum([0, *map(len, _WORDS)], dtype=np.int64)
NAMED = len(HEADERS)
_CLOCK, _CONTENT, _SEQ, _SCHEMA, _BOOT = map(HEADERS.index, ("clock", "content-type", "seq", "schema-id", "boot"))
BAD_RECORD, BAD_COMPRESSION = -1, -2
"""In place of the position of a record's headers: the record, or its whole batch, could not be read."""
MAX_OFFSET = 1 << 62
MAX_MS = int(np.iinfo(np.int64).max // 1_000_000)
COMPRESSION, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 7, 8, 16, 32


@part
def _big_endian(buffer: U8, at: int, size: int) -> int:
    """A signed integer of `size` bytes."""
    value = np.int64(buffer[at]) - ((np.int64(buffer[at]) & 128) << 1)
    for i in range(1, size):
        value = (value << 8) | np.int64(buffer[at + i])
    return int(value)


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
    leader_epoch: I64
    sound: Mask

    def __len__(self) -> int:
        return int(self.start.size)

    def take(self, rows: slice) -> BatchHeaders:
        """Some of the batches, in the same order."""
        return BatchHeaders(*(getattr(self, f.name)[rows] for f in fields(self)))


@kernel
def _walk_headers(buffer: U8, tables: U32, out: I64, sound: Mask) -> int:
    p, i, next_offset = 0, 0, 0
    while p + 12 <= buffer.size:
        size = _big_endian(buffer, p + 8, 4)
        end = p + 12 + size
        if end > buffer.size:
            break
        if end < p + HEADER_BYTES:
            out[:, i] = 0
            out[2, i], sound[i] = _big_endian(buffer, p, 8), False
            return i + 1
        base = _big_endian(buffer, p, 8)
        delta, count = _big_endian(buffer, p + 23, 4), _big_endian(buffer, p + 57, 4)
        attributes = _big_endian(buffer, p + 21, 2)
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i] = p + HEADER_BYTES, end, base, base + delta, count
        out[5, i] = attributes
        out[6, i] = _big_endian(buffer, p + 43, 8)
        out[7, i] = _big_endian(buffer, p + 27, 8)
        out[8, i] = _big_endian(buffer, p + 35, 8)
        out[9, i] = _big_endian(buffer, p + 12, 4)
        # what a broker never stores: offsets that go back, more records than offsets or than fit into the bytes
        told = next_offset <= base < MAX_OFFSET and delta >= 0 and 0 <= count <= delta + 1
        if attributes & COMPRESSION == 0:
            told = told and count * SMALLEST_RECORD <= end - p - HEADER_BYTES
        stated = _big_endian(buffer, p + 17, 4) & 0xFFFFFFFF
        sound[i] = told and buffer[p + 16] == 2 and crc32c(buffer, p + 21, end, tables) == stated
        next_offset = base + delta + 1
        p = end
        i += 1
    return i


def batch_headers(buffer: U8) -> BatchHeaders:
    """Headers of all whole batches in a fetched buffer; a cut-off last batch is left for the next fetch.

    `sound` is False where the checksum does not match, the format is not v2, or the header contradicts itself; what
    follows a batch whose length is impossible is not looked at.

    >>> len(batch_headers(np.zeros(11, np.uint8)))
    0
    """
    room = buffer.size // HEADER_BYTES + 1
    out, sound = np.empty((10, room), np.int64), np.zeros(room, np.bool_)
    m = _walk_headers(buffer, TABLES, out, sound)
    start, end, base, last, count, attributes, producer, first_ms, max_ms, epoch = out[:, :m]
    return BatchHeaders(start, end, base, last, count, attributes, producer, first_ms, max_ms, epoch, sound[:m])


@part
def _varint(buffer: U8, p: int, end: int) -> tuple[int, int]:
    """A zigzag number and what follows it; a position beyond `end` once anything did not fit."""
    shift, value = np.uint64(0), np.uint64(0)
    while p < end and shift < 70:
        byte = np.uint64(buffer[p])
        p += 1
        value |= (byte & np.uint64(127)) << shift
        shift += np.uint64(7)
        if byte < 128:
            return int(np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))), p
    return 0, end + 1


@part
def _past(p: int, size: int, end: int) -> int:
    """Position after `size` bytes, -1 standing for none at all; beyond `end` when they do not fit."""
    if size < -1 or p > end or size > end - p:
        return end + 1
    return p + max(size, 0)


@part
def _past_headers(buffer: U8, p: int, count: int, end: int) -> int:
    if count < 0:
        return end + 1
    for _ in range(count):
        size, p = _varint(buffer, p, end)
        p = end + 1 if size < 0 else _past(p, size, end)
        size, p = _varint(buffer, p, end)
        p = _past(p, size, end)
        if p > end:
            break
    return p


@kernel
def walk_records(
    buffer: U8, start: I64, end: I64, base_offset: I64, last_offset: I64, count: I64, append_ms: I64, first_ms: I64,
    take: Mask, out: I64,
) -> int:  # fmt: skip
    """Bounds of every record of the batches marked in `take`; the number of records.

    Nothing outside start..end of a batch is read, whatever the lengths in it claim. A record that contradicts itself
    becomes a row without key and value, and so do all behind it when its length cannot be trusted. Offsets ascend.

    Args:
        append_ms: int64[m], arrival of the whole batch in ms, or -1: then each record's own create time counts.
        out: int64[8, n], written: value start (-1 = tombstone), value end, key start (-1 = none), key end, offset,
            arrival ns (0 = not known), position of the record's headers (0 = it has none, BAD_RECORD), record end.
    """
    k = 0
    for i in range(start.size):
        if not take[i]:
            continue
        p, lost = start[i], False
        next_delta, last_delta = 0, last_offset[i] - base_offset[i]
        for left in range(count[i] - 1, -1, -1):
            size, p = _varint(buffer, p, end[i])
            stop = _past(p, size, end[i])
            lost = lost or size < 0 or stop > end[i]
            if lost:
                p = stop = end[i]
            delta_ms, q = _varint(buffer, p + 1, stop)
            delta, q = _varint(buffer, q, stop)
            key_size, key = _varint(buffer, q, stop)
            value_size, value = _varint(buffer, _past(key, key_size, stop), stop)
            headers, q = _varint(buffer, _past(value, value_size, stop), stop)
            at = q
            if headers != 0:
                at, q = q, _past_headers(buffer, q, headers, stop)
            good = not lost and q == stop and next_delta <= delta <= last_delta - left
            out[0, k], out[1, k] = (value, value + value_size) if good and value_size >= 0 else (-1, -1)
            out[2, k], out[3, k] = (key, key + key_size) if good and key_size >= 0 else (-1, -1)
            out[6, k] = BAD_RECORD if not good else at if headers > 0 else 0
            ms = append_ms[i] if append_ms[i] >= 0 or not good else first_ms[i] + delta_ms
            delta = delta if good else next_delta
            out[4, k], next_delta = base_offset[i] + delta, delta + 1
            out[5, k] = ms * 1_000_000 if 0 < ms <= MAX_MS else 0
            out[7, k] = stop
            k += 1
            p = stop
    return k


@part
def _is(buffer: U8, start: int, end: int, word: U8) -> bool:
    if end - start != word.size:
        return False
    k = 0
    while k < word.size and buffer[start + k] == word[k]:
        k += 1
    return k == word.size


@part
def _decimal(buffer: U8, start: int, end: int) -> int:
    """A number of 1 to 18 digits, -1 where it is none."""
    value = np.int64(0)
    if not 1 <= end - start <= 18:
        return -1
    for p in range(start, end):
        if buffer[p] < 48 or buffer[p] > 57:
            return -1
        value = 10 * value + np.int64(buffer[p] - 48)
    return int(value)


@part
def _note(buffer: U8, at: int, end: int, words: U8, ends: I64, told: I64) -> int:
    """The note on one record's headers, from the position of the first to the record's end; fills `told`."""
    clock, packed, seen = PLAIN, False, 0
    while at < end:
        size, key = _varint(buffer, at, end)
        value_size, value = _varint(buffer, key + size, end)
        at = value + max(value_size, 0)
        for w in range(NAMED):
            if not _is(buffer, key, key + size, words[ends[w] : ends[w + 1]]):
                continue
            if seen & (1 << w):
                return READ
            seen |= 1 << w
            if w == _CLOCK:
                trusted = _is(buffer, value, at, words[ends[NAMED] : ends[NAMED + 1]])
                device = _is(buffer, value, at, words[ends[NAMED + 1] : ends[NAMED + 2]])
                if not trusted and not device and at > value:
                    return READ
                clock = TRUSTED if trusted else DEVICE_CLOCK if device else PLAIN
            elif w == _CONTENT:
                packed = _is(buffer, value, at, words[ends[NAMED + 3] : ends[NAMED + 4]])
                if not packed and not _is(buffer, value, at, words[ends[NAMED + 2] : ends[NAMED + 3]]):
                    return READ
            elif w == _SEQ:
                told[0] = _decimal(buffer, value, at)
                if told[0] < 0:
                    return READ
            elif w in (_SCHEMA, _BOOT):
                told[1 if w == _SCHEMA else 3], told[2 if w == _SCHEMA else 4] = value, at
            else:
                return READ
    if packed:
        return PACKED + clock if told[1] < told[2] else READ
    return READ if seen & ~((1 << _CLOCK) | (1 << _CONTENT)) else clock


@kernel
def note_headers(buffer: U8, at: I64, end: I64, words: U8, ends: I64, notes: U8, told: I64) -> bool:
    """Notes on the headers of records that `walk_records` found (`at`, `end`: its rows 6 and 7); whether any is PACKED.

    Args:
        told: int64[n, 5], written: the columns of operators.frames.Told.
    """
    packed = False
    for row in range(at.size):
        told[row, 0], told[row, 1:] = -1, 0
        notes[row] = PLAIN
        if at[row] != 0:
            notes[row] = READ if at[row] < 0 else _note(buffer, at[row], end[row], words, ends, told[row])
            packed |= notes[row] >= PACKED
    return packed


def read_headers(buffer: U8, at: int, end: int) -> dict[str, bytes]:
    """Headers of one record that `walk_records` found whole, from the position of the first to the record's end.

    A repeated key keeps its last value, a null value is empty.

    >>> read_headers(np.frombuffer(b"\\x08kind\\x08tick\\x02x\\x01", np.uint8), 0, 14)
    {'kind': b'tick', 'x': b''}
    """
    raw = buffer[at:end].tobytes()
    headers: dict[str, bytes] = {}
    p = 0
    while p < len(raw):
        size, p = _short(raw, p)
        key = raw[p : p + size].decode("utf-8", "replace")
        size, p = _short(raw, p + size)
        size = max(size, 0)
        headers[key] = raw[p : p + size]
        p += size
    return headers


def _short(raw: bytes, p: int) -> tuple[int, int]:
    value = shift = 0
    while raw[p] > 127:
        value |= (raw[p] & 127) << shift
        shift += 7
        p += 1
    value |= raw[p] << shift
    return (value >> 1) ^ -(value & 1), p + 1
