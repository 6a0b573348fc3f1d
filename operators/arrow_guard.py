"""Sizes an Arrow IPC message claims, read from its flatbuffer before anything is unpacked.

A few kilobytes can claim gigabytes (compressed buffers, null columns of any length). Layout: Arrow columnar format,
"Encapsulated message format" and "Compression"; FlatBuffers internals for the tables.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MOST_ROWS = 5_000
MOST_BYTES = 16 * 1_048_576
"""Bytes all buffers of one block may unpack to."""
_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3


class ArrowRefused(ValueError):
    """The bytes are no Arrow IPC messages; `too_large`: they are, yet claim more than is read."""

    def __init__(self, detail: str, *, too_large: bool = False) -> None:
        self.too_large = too_large
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the messages of one block claim: rows, and bytes unpacked."""

    rows: int
    size: int


def claim(raw: bytes) -> Claim:
    """Sum over all encapsulated messages in `raw`.

    Raises:
        ArrowRefused: truncated, not Arrow, over MOST_ROWS or MOST_BYTES.
    """
    rows = size = at = 0
    try:
        while at + 8 <= len(raw):
            mark, length = struct.unpack_from("<Ii", raw, at)
            if mark != _CONTINUATION or length < 0:
                raise ArrowRefused(f"no Arrow message at byte {at}")
            if length == 0:
                break
            body = at + 8 + length
            header = raw[at + 8 : body]
            message = _Table(header, struct.unpack_from("<I", header, 0)[0])
            body_size = message.scalar(3, "<q")
            if body_size < 0 or body + body_size > len(raw):
                raise ArrowRefused(f"the message at byte {at} is cut off")
            kind = message.scalar(1, "<B")
            if kind in (_RECORDS, _DICTIONARY):
                table = message.table(2) if kind == _RECORDS else message.table(2).table(1)
                rows += table.scalar(0, "<q") if kind == _RECORDS else 0
                if kind == _DICTIONARY and not 0 <= table.scalar(0, "<q") <= MOST_ROWS:
                    raise ArrowRefused("a dictionary is too long", too_large=True)
                size += _unpacked(table, raw[body : body + body_size])
            elif kind != _SCHEMA:
                raise ArrowRefused(f"message kind {kind} is not read")
            if not 0 <= rows <= MOST_ROWS or not 0 <= size <= MOST_BYTES:
                detail = f"claims {rows} rows, {size} bytes; at most {MOST_ROWS} and {MOST_BYTES} are read"
                raise ArrowRefused(detail, too_large=True)
            at = body + body_size
    except (struct.error, IndexError) as error:
        raise ArrowRefused(f"no Arrow message at byte {at}: {error}") from None
    if at == 0:
        raise ArrowRefused("no Arrow message at byte 0")
    return Claim(rows, size)


class _Table:
    """A FlatBuffers table at a position of its buffer."""

    def __init__(self, buffer: bytes, at: int) -> None:
        self.buffer, self.at = buffer, at
        self.vtable = at - struct.unpack_from("<i", buffer, at)[0]
        if at < 0 or self.vtable < 0:
            raise IndexError("table out of bounds")
        self.fields = (struct.unpack_from("<H", buffer, self.vtable)[0] - 4) // 2

    def place(self, field: int) -> int:
        """Position of a field, 0 where it is absent."""
        if field >= self.fields:
            return 0
        offset = int(struct.unpack_from("<H", self.buffer, self.vtable + 4 + 2 * field)[0])
        return self.at + offset if offset else 0

    def scalar(self, field: int, layout: str) -> int:
        place = self.place(field)
        return int(struct.unpack_from(layout, self.buffer, place)[0]) if place else 0

    def reference(self, field: int) -> int:
        place = self.place(field)
        if not place:
            raise IndexError(f"field {field} is absent")
        return place + int(struct.unpack_from("<I", self.buffer, place)[0])

    def table(self, field: int) -> _Table:
        return _Table(self.buffer, self.reference(field))


def _unpacked(batch: _Table, body: bytes) -> int:
    """Bytes the buffers of a record batch unpack to."""
    if not batch.place(2):
        return 0
    packed = batch.place(3) > 0
    at = batch.reference(2)
    count = struct.unpack_from("<I", batch.buffer, at)[0]
    if count > 100_000:
        raise ArrowRefused(f"{count} buffers", too_large=True)
    total = 0
    for i in range(count):
        offset, length = struct.unpack_from("<qq", batch.buffer, at + 4 + 16 * i)
        if offset < 0 or length < 0 or offset + length > len(body):
            raise ArrowRefused("a buffer lies outside the message")
        claimed = struct.unpack_from("<q", body, offset)[0] if packed and length else length
        if claimed < -1:
            raise ArrowRefused("a buffer claims a negative size")
        total += length if claimed == -1 else claimed
    return total
