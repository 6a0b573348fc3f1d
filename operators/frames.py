"""Messages of one partition as they lie in a fetched buffer: bounds into bytes, no Python object per message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from operators.types import I64, U8

Headers = Mapping[str, bytes]
PLAIN, TRUSTED, DEVICE_CLOCK, READ, PACKED = range(5)
"""Notes on the headers of a message: they change nothing, name its clock and no more, must be read; PACKED (+ TRUSTED
or DEVICE_CLOCK): they announce a packed block of a schema sent before, and `Told` holds the rest they say."""
HEADERS = ("kind", "content-type", "schema-id", "device", "boot", "seq", "clock", "arrival")
"""Those that docs/wire.md names; others say nothing."""
FAULT = "twinflow-fault"
"""Header of a record that cannot be unpacked, or on which our own code fails (flows.poison); its value is the reason of
the dead letter, or `reason: detail`."""


class Told(NamedTuple):
    """What the headers of packed blocks say, int64[n] each: sequence number (-1: none), bounds of the schema id and of
    the boot in the buffer (empty: none)."""

    seq: I64
    schema_start: I64
    schema_end: I64
    boot_start: I64
    boot_end: I64


@dataclass(frozen=True, slots=True)
class Frames:
    """n messages of one partition, in offset order.

    Attributes:
        partition: partition of the topic they came from.
        buffer: uint8[], the bytes all bounds point into.
        start, end: int64[n], bounds of the value; start = -1 for a tombstone (no value at all).
        key_start, key_end: int64[n], bounds of the key; key_start = -1 where there is none.
        offset: int64[n], offset in the partition.
        arrival: int64[n], broker append time, ns UTC; 0 where it is not known.
        headers: headers by row, only for rows that have any; a repeated key keeps its last value.
        end_offset: where the next read starts: one past the last offset seen, control records included.
        notes: uint8[n], what the headers come to (PLAIN, ...), where the source has looked; None where it has not.
        told: what headers of packed blocks say; needed where a note is PACKED.
    """

    partition: int
    buffer: U8
    start: I64
    end: I64
    key_start: I64
    key_end: I64
    offset: I64
    arrival: I64
    headers: Mapping[int, Headers] = field(default_factory=dict)
    end_offset: int = 0
    notes: U8 | None = None
    told: Told | None = None

    def __len__(self) -> int:
        return int(self.start.size)

    def value(self, row: int) -> bytes | None:
        """The value of one message; None for a tombstone."""
        return self.buffer[self.start[row] : self.end[row]].tobytes() if self.start[row] >= 0 else None

    def key(self, row: int) -> bytes | None:
        """The key of one message; None where it has none."""
        return self.buffer[self.key_start[row] : self.key_end[row]].tobytes() if self.key_start[row] >= 0 else None

    def split(self, offset: int) -> tuple[Frames, Frames]:
        """The messages below `offset`, and the rest.

        >>> [len(part) for part in Frames.of([b"1", b"2", b"3"], first_offset=10).split(12)]
        [2, 1]
        """
        at = int(np.searchsorted(self.offset, offset))
        return self._cut(slice(None, at), 0, min(offset, self.end_offset)), self._cut(
            slice(at, None), at, self.end_offset
        )

    def _cut(self, rows: slice, first: int, end_offset: int) -> Frames:
        n = self.offset[rows].size
        return Frames(
            partition=self.partition,
            buffer=self.buffer,
            start=self.start[rows],
            end=self.end[rows],
            key_start=self.key_start[rows],
            key_end=self.key_end[rows],
            offset=self.offset[rows],
            arrival=self.arrival[rows],
            headers={row - first: h for row, h in self.headers.items() if first <= row < first + n},
            end_offset=end_offset,
            notes=None if self.notes is None else self.notes[rows],
            told=None if self.told is None else Told._make(column[rows] for column in self.told),
        )

    @staticmethod
    def of(
        values: Sequence[bytes | None],
        *,
        keys: Sequence[bytes | None] | None = None,
        headers: Mapping[int, Headers] | None = None,
        arrival: int | Sequence[int] | I64 = 0,
        partition: int = 0,
        first_offset: int = 0,
    ) -> Frames:
        """Frames from ordinary byte strings, as tests, files and the fallback consumer have them.

        >>> Frames.of([b"{}", None]).value(0)
        b'{}'
        """
        n = len(values)
        parts: list[bytes] = []
        at = 0

        def bounds(items: Sequence[bytes | None]) -> tuple[I64, I64]:
            nonlocal at
            start, end = np.empty(n, np.int64), np.empty(n, np.int64)
            for i, item in enumerate(items):
                start[i] = -1 if item is None else at
                at += len(item or b"")
                end[i] = at
                parts.append(item or b"")
            return start, end

        start, end = bounds(values)
        key_start, key_end = bounds(keys if keys is not None else [None] * n)
        return Frames(
            partition=partition,
            buffer=np.frombuffer(b"".join(parts) or b"\0", np.uint8),
            start=start,
            end=end,
            key_start=key_start,
            key_end=key_end,
            offset=np.arange(first_offset, first_offset + n, dtype=np.int64),
            arrival=np.array(np.broadcast_to(np.asarray(arrival, np.int64), (n,))),
            headers=headers or {},
            end_offset=first_offset + n,
        )
