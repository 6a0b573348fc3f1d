"""The bytes of one fetch as `Frames`: record batches unpacked under a limit, the unreadable as rows that say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from kafka.record.default_records import DefaultRecordBatchBuilder

from connectors.decompress import LIMIT_BYTES, decompress
from connectors.lz4_frames import DONE, GROW, SLACK, unpack
from connectors.record_batches import (
    BAD_COMPRESSION,
    BAD_RECORD,
    COMPRESSION,
    LOG_APPEND_TIME,
    MAX_MS,
    WORD_ENDS,
    WORDS,
    BatchHeaders,
    batch_headers,
    note_headers,
    read_headers,
    walk_records,
)
from operators.frames import FAULT, Frames, Told
from operators.types import I64, U8, Mask

FAULTS: Mapping[int, Mapping[str, bytes]] = {
    BAD_RECORD: {FAULT: b"bad_record"},
    BAD_COMPRESSION: {FAULT: b"bad_compression"},
}
MOST_RECORDS = 1 << 20
"""Most records in one compressed batch that is still read."""
GUESS = 4
"""Bytes that one packed byte becomes, at first; more are found room for."""
MOST_LOST = 1 << 16
"""Most rows in one `Frames` of a batch that could not be unpacked."""


@dataclass(slots=True)
class _Arena:
    """Batches `first` to `past` of a fetch, unpacked: where the records of each start and end."""

    first: int
    past: int
    buffer: U8
    start: I64
    end: I64


def frames_of(
    buffer: U8, batches: BatchHeaders, take: Mask, *, partition: int, first_offset: int, limit: int = LIMIT_BYTES
) -> Iterator[Frames]:
    """The records of the batches marked in `take`, from `first_offset` on.

    Every batch moves `end_offset` on, taken or not. A fetch gives one `Frames`, and several when a batch of it cannot
    be unpacked or its batches together unpack to more than `limit` bytes, so that few of them are in memory at once.

    Args:
        buffer: the fetched bytes.
        batches: their headers, all sound.
        take: bool[m], batches to read.
    """
    append = np.where(batches.attributes & LOG_APPEND_TIME, batches.max_ms, -1)
    for arena in _arenas(buffer, batches, take, limit):
        rows = slice(arena.first, arena.past)
        if arena.buffer.size == 0:
            yield from _lost(partition, batches.take(rows), int(append[arena.first]), first_offset)
        else:
            yield _read(partition, arena, batches.take(rows), take[rows], append[rows], first_offset)


def _arenas(buffer: U8, batches: BatchHeaders, take: Mask, limit: int) -> Iterator[_Arena]:
    codecs = batches.attributes & COMPRESSION
    m = len(batches)
    if not codecs[take].any():
        yield _Arena(0, m, buffer, batches.start, batches.end)
        return
    bounds = np.zeros((2, m), np.int64)
    first = i = fill = 0
    held = _room(min(GUESS * buffer.size, limit))

    def arena(past: int) -> _Arena:
        return _Arena(first, past, held[: max(fill, 1)], bounds[0, first:past].copy(), bounds[1, first:past].copy())

    while first < m:
        i, fill, code = unpack(
            buffer, batches.start, batches.end, batches.attributes, batches.count, take, MOST_RECORDS, i, held, fill,
            bounds,
        )  # fmt: skip
        if code == DONE:
            yield arena(m)
            return
        if code == GROW and held.size < limit + SLACK:
            held = _longer(held, fill, min(2 * held.size, limit))
            continue
        if code == GROW and i > first:
            yield arena(i)
            first, fill, held = i, 0, _room(held.size - SLACK)
            continue
        part = _unpacked(buffer, batches, i, limit)
        if i > first and (part is None or fill + len(part) > limit):
            yield arena(i)
            first, fill, held = i, 0, _room(held.size - SLACK)
        if part is None:
            yield _Arena(i, i + 1, np.zeros(0, np.uint8), batches.start[:0], batches.end[:0])
            first = i = i + 1
            continue
        held = _longer(held, fill, fill + len(part))
        held[fill : fill + len(part)] = np.frombuffer(part, np.uint8)
        bounds[:, i] = fill, fill + len(part)
        i, fill = i + 1, fill + len(part)


def _room(size: int) -> U8:
    return np.empty(size + SLACK, np.uint8)


def _longer(held: U8, fill: int, size: int) -> U8:
    """The same bytes with room for `size`."""
    if size + SLACK <= held.size:
        return held
    longer = _room(size)
    longer[:fill] = held[:fill]
    return longer


def _unpacked(buffer: U8, batches: BatchHeaders, i: int, limit: int) -> bytes | None:
    """Records of one batch; None when they cannot be unpacked or are too much."""
    part = buffer[batches.start[i] : batches.end[i]].tobytes()
    codec = int(batches.attributes[i]) & COMPRESSION
    if codec == 0:
        return part
    if batches.count[i] == 0:  # compaction left the header alone
        return b""
    if batches.count[i] > MOST_RECORDS:
        return None
    try:
        return decompress(codec, part, limit)
    except ValueError:
        return None


def _read(
    partition: int, arena: _Arena, batches: BatchHeaders, take: Mask, append: I64, first_offset: int
) -> Frames:  # fmt: skip
    out = np.empty((8, int(batches.count[take].sum())), np.int64)
    walk_records(
        arena.buffer, arena.start, arena.end, batches.base_offset, batches.last_offset, batches.count, append,
        batches.first_ms, take, out,
    )  # fmt: skip
    out = out[:, int(np.searchsorted(out[4], first_offset)) :]
    return _frames(partition, arena.buffer, out, int(batches.last_offset[-1]) + 1)


def _lost(partition: int, batch: BatchHeaders, append_ms: int, first_offset: int) -> Iterator[Frames]:
    """A row for each record of a batch that could not be unpacked."""
    base, past = int(batch.base_offset[0]), int(batch.last_offset[0]) + 1
    ms = max(append_ms, int(batch.first_ms[0]))
    at, stop = max(base, first_offset), base + int(batch.count[0])
    while True:
        until = min(at + MOST_LOST, stop)
        out = np.full((8, max(until - at, 0)), -1, np.int64)
        out[4], out[6] = np.arange(at, max(until, at)), BAD_COMPRESSION
        out[5] = ms * 1_000_000 if 0 < ms <= MAX_MS else 0
        yield _frames(partition, np.zeros(1, np.uint8), out, past if until == stop else until)
        if until == stop:
            return
        at = until


def _frames(partition: int, buffer: U8, out: I64, end_offset: int) -> Frames:
    notes = np.zeros(out.shape[1], np.uint8)
    told, packed = np.empty((0, 5), np.int64), False
    if out[6].any():
        told = np.empty((out.shape[1], 5), np.int64)
        packed = note_headers(buffer, out[6], out[7], WORDS, WORD_ENDS, notes, told)
    return Frames(
        partition=partition,
        buffer=buffer,
        start=out[0],
        end=out[1],
        key_start=out[2],
        key_end=out[3],
        offset=out[4],
        arrival=out[5],
        headers=_RawHeaders(buffer, out[6], out[7]),
        end_offset=end_offset,
        notes=notes,
        told=Told._make(told.T.copy()) if packed else None,
    )


class _RawHeaders(Mapping[int, Mapping[str, bytes]]):
    """Headers by row, read from the bytes when somebody asks."""

    def __init__(self, buffer: U8, at: I64, end: I64) -> None:
        self._buffer, self._at, self._end = buffer, at, end

    def __getitem__(self, row: int) -> Mapping[str, bytes]:
        at = int(self._at[row]) if 0 <= row < self._at.size else 0
        if at == 0:
            raise KeyError(row)
        if at < 0:
            return FAULTS[at]
        found = read_headers(self._buffer, at, int(self._end[row]))
        found.pop(FAULT, None)  # ours alone to set
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._at).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self._at))


def warm() -> None:
    """Compile, or load from the cache, the kernels that read a fetch.

    >>> warm()
    """
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, 0, 0, 1 << 16)
    builder.append(0, 1_700_000_000_000, b"key", b"value", [("header", b"value")])
    buffer = np.frombuffer(bytes(builder.build()), np.uint8)
    batches = batch_headers(buffer)
    for frames in frames_of(buffer, batches, np.ones(len(batches), np.bool_), partition=0, first_offset=0):
        frames.value(0)
