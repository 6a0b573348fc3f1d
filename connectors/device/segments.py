"""The files of a spool: frames of records, each with its checksum, one after another. See docs/devices.md, *Spool*."""

from __future__ import annotations

import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .records import Record

MAGIC = b"twspool1"
_FRAME = struct.Struct("<II")  # CRC-32 of all that follows, bytes of the body
_BODY = struct.Struct("<qBHH")  # seq, bytes of topic, key and headers; the value is the rest
CHUNK = 256 << 10

log = logging.getLogger("twinflow.device")


def encode(record: Record) -> bytes:
    """One frame.

    >>> record = Record("samples", b"pump-7", b"{}", (("kind", b"report"),), 3)
    >>> frame = encode(record)
    >>> decode(frame, 0) == (record, len(frame)), decode(frame[:-1], 0), decode(b"x" + frame[1:], 0)
    (True, None, None)
    """
    topic = record.topic.encode()
    heads = json.dumps([[k, v.decode("latin-1")] for k, v in record.headers]).encode() if record.headers else b""
    lengths = _BODY.pack(record.seq, len(topic), len(record.key), len(heads))
    body = b"".join((lengths, topic, record.key, heads, record.value))
    length = struct.pack("<I", len(body))
    return struct.pack("<I", zlib.crc32(body, zlib.crc32(length))) + length + body


def decode(buffer: bytes, at: int) -> tuple[Record, int] | None:
    """The record of the frame at `at`, and where the next one begins; None: no whole frame with the right sum."""
    if len(buffer) - at < _FRAME.size + _BODY.size:
        return None
    checksum, length = _FRAME.unpack_from(buffer, at)
    start, end = at + _FRAME.size, at + _FRAME.size + length
    if end > len(buffer) or length < _BODY.size:
        return None
    body = buffer[start:end]
    if zlib.crc32(body, zlib.crc32(buffer[at + 4 : start])) != checksum:
        return None
    seq, topics, keys, heads = _BODY.unpack_from(body)
    key_at = _BODY.size + topics
    heads_at, value_at = key_at + keys, key_at + keys + heads
    headers = tuple((k, v.encode("latin-1")) for k, v in json.loads(body[heads_at:value_at])) if heads else ()
    topic = body[_BODY.size : key_at].decode()
    return Record(topic, body[key_at:heads_at], body[value_at:], headers, seq), end


class Segment(NamedTuple):
    """One file. `first`: number of its first record; its name says it."""

    first: int
    path: Path


def found(folder: Path) -> list[Segment]:
    """The segments of a folder, oldest first."""
    return sorted(Segment(int(path.stem), path) for path in folder.glob("*.seg"))


def create(folder: Path, first: int, opening: bytes, *, sync: bool) -> Segment:
    """A new segment that holds `opening` or does not exist at all; `sync`: also after a loss of power."""
    path = folder / f"{first:020d}.seg"
    made = path.with_suffix(".new")
    with made.open("wb") as file:
        file.write(MAGIC + opening)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    made.replace(path)
    return Segment(first, path)


def for_append(path: Path) -> int:
    """A descriptor that writes behind what is there."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))


def measure(path: Path) -> tuple[int, bool]:
    """How many records are readable, and whether these are all there is."""
    reader, count = Reader(path), 0
    try:
        record = reader.next()
        while record is not None:
            count += bool(record.topic)
            record = reader.next()
    finally:
        reader.close()
    return count, reader.at == path.stat().st_size


def repair(path: Path) -> int:
    """Cut off what was being written when the process ended; how many records are left."""
    count, whole = measure(path)
    if not whole:
        log.warning("%s was not whole when the device ended; what is damaged is cut off", path)
        end = len(MAGIC) + sum(len(encode(record)) for record in records(path))
        with path.open("rb+") as file:
            file.truncate(end)
            file.write(MAGIC)
    return count


class Reader:
    """Reads the frames of one segment, also while it grows. `at`: bytes that were read as whole frames."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._buffer, self._pos = b"", 0
        self.at = len(MAGIC)
        if self._file.read(len(MAGIC)) != MAGIC:
            self._file.seek(0, os.SEEK_END)

    def next(self) -> Record | None:
        """The next record; None: nothing whole is there."""
        found = decode(self._buffer, self._pos)
        while found is None:
            more = self._file.read(CHUNK)
            if not more:
                return None
            self._buffer, self._pos = self._buffer[self._pos :] + more, 0
            found = decode(self._buffer, 0)
        record, end = found
        self.at += end - self._pos
        self._pos = end
        return record

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def records(path: Path) -> Iterator[Record]:
    """The records of a segment up to its end or the first damage."""
    reader = Reader(path)
    try:
        record = reader.next()
        while record is not None:
            yield record
            record = reader.next()
    finally:
        reader.close()
