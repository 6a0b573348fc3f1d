"""Byte strings to dense numbers, for compiled loops: a hash table whose every hit is verified byte by byte."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from operators.bytes_of_words import hash_bytes, same
from operators.compiled import kernel, part
from operators.types import I32, I64, U8, State

U64: TypeAlias = NDArray[np.uint64]
T = TypeVar("T", bound=np.generic)


class Table(NamedTuple):
    """The arrays of a ByteIndex as kernels take them; `slots` is a power of two long, -1 where empty."""

    slots: I32
    hashes: U64
    owners: I64
    starts: I64
    ends: I64
    text: U8


@part
def _mixed(owner: int, h: np.uint64) -> np.uint64:
    mixed = (np.uint64(h) ^ (np.uint64(owner) * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ (mixed >> np.uint64(32))


@part
def find(table: Table, owner: int, text: U8, start: int, end: int, h: np.uint64) -> int:
    """Number of text[start:end] (whose hash is h) under its owner, -1 where it is not in the table."""
    mixed = _mixed(owner, h)
    last = np.uint64(table.slots.size - 1)
    at = mixed & last
    while True:
        entry = table.slots[at]
        if entry < 0:
            return -1
        if table.hashes[entry] == mixed and table.owners[entry] == owner:
            first = table.starts[entry]
            if table.ends[entry] - first == end - start and same(table.text, first, text, start, end - start):
                return int(entry)
        at = (at + np.uint64(1)) & last


@kernel
def _number(table: Table, owner: int, text: U8, size: int) -> int:
    return find(table, owner, text, 0, size, hash_bytes(text, 0, size))


@kernel
def _link(table: Table, first: int, count: int, rehash: bool) -> None:
    last = np.uint64(table.slots.size - 1)
    for entry in range(first, count):
        if rehash:
            h = hash_bytes(table.text, table.starts[entry], table.ends[entry])
            table.hashes[entry] = _mixed(table.owners[entry], h)
        at = table.hashes[entry] & last
        while table.slots[at] >= 0:
            at = (at + np.uint64(1)) & last
        table.slots[at] = entry


class ByteIndex:
    """Numbers (owner, bytes) pairs in order of addition; grows by doubling.

    >>> index = ByteIndex()
    >>> index.add(b"pump-1"), index.add(b"pump-2"), index.number(b"pump-1"), index.number(b"pump-3")
    (0, 1, 0, -1)
    """

    def __init__(self) -> None:
        self.count = 0
        self.table = Table(
            slots=np.full(16, -1, np.int32),
            hashes=np.zeros(8, np.uint64),
            owners=np.zeros(8, np.int64),
            starts=np.zeros(8, np.int64),
            ends=np.zeros(8, np.int64),
            text=np.zeros(64, np.uint8),
        )

    def number(self, text: bytes, owner: int = 0) -> int:
        """Number of a text, -1 where it was never added."""
        raw = np.frombuffer(text or b"\0", np.uint8)
        return int(_number(self.table, owner, raw, len(text)))

    def text(self, number: int) -> bytes:
        """The text that has a number."""
        return self.table.text[self.table.starts[number] : self.table.ends[number]].tobytes()

    def add(self, text: bytes, owner: int = 0) -> int:
        """Number of a text that is not in the table yet (the caller has looked)."""
        entry = self.count
        at = int(self.table.ends[entry - 1]) if entry else 0
        self._reserve(entry + 1, at + len(text))
        self.table.text[at : at + len(text)] = np.frombuffer(text, np.uint8)
        self.table.starts[entry], self.table.ends[entry], self.table.owners[entry] = at, at + len(text), owner
        self.count += 1
        _link(self.table, entry, self.count, True)
        return entry

    def _reserve(self, entries: int, text: int) -> None:
        table = self.table
        if text > table.text.size:
            table = table._replace(text=_grown(table.text, text))
        if entries > table.starts.size:
            table = table._replace(
                hashes=_grown(table.hashes, entries),
                owners=_grown(table.owners, entries),
                starts=_grown(table.starts, entries),
                ends=_grown(table.ends, entries),
                slots=np.full(4 * table.starts.size, -1, np.int32),
            )
            _link(table, 0, self.count, False)
        self.table = table

    def snapshot(self) -> State:
        """All texts and owners, in order of their numbers."""
        n, table = self.count, self.table
        return {
            "text": table.text[: int(table.ends[n - 1]) if n else 0].copy(),
            "ends": table.ends[:n].copy(),
            "owners": table.owners[:n].copy(),
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot; what was held before is forgotten."""
        ends = state["ends"].astype(np.int64)
        n = int(ends.size)
        room = max(8, 1 << max(n - 1, 0).bit_length())
        starts = np.concatenate([np.zeros(1, np.int64), ends])[:n]
        self.count = n
        self.table = Table(
            slots=np.full(2 * room, -1, np.int32),
            hashes=np.zeros(room, np.uint64),
            owners=_padded(state["owners"].astype(np.int64), room),
            starts=_padded(starts, room),
            ends=_padded(ends, room),
            text=_padded(state["text"].astype(np.uint8), max(64, int(state["text"].size))),
        )
        _link(self.table, 0, n, True)


def _padded(column: NDArray[T], size: int) -> NDArray[T]:
    return np.concatenate([column, np.zeros(size - column.size, column.dtype)])


def _grown(column: NDArray[T], at_least: int) -> NDArray[T]:
    return _padded(column, max(2 * column.size, at_least))
