"""A record on its way to Kafka, and the queue of those that wait in memory."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """What is sent. `topic` "": a note for ourselves that stays here; `seq`: its number in its boot, -1 for none."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    seq: int = -1

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.value) + len(self.key) + 64


class Queue(Protocol):
    """Records in order, numbered without a hole; taken to be sent, and done once the broker has them."""

    @property
    def waiting(self) -> int:
        """Records that are not done."""
        ...

    @property
    def dropped(self) -> int:
        """Records given up because there was no room."""
        ...

    @property
    def damaged(self) -> int:
        """Records that could not be read back."""
        ...

    def append(self, record: Record) -> None: ...

    def take(self, limit: int) -> list[tuple[int, Record]]:
        """The next records not yet taken, with their numbers."""
        ...

    def done(self, number: int) -> None:
        """The broker has it, or it is given up."""
        ...

    def rewind(self, first: int = 0) -> None:
        """Have everything from this number on that is not done taken again, in order."""
        ...

    def settle(self) -> None:
        """Write down what must outlive a loss of power; cheap when nothing changed."""
        ...

    def close(self) -> None: ...


class MemoryQueue:
    """A queue that ends with the process.

    Args:
        max_bytes: beyond it the oldest that are not taken are dropped; 0: no bound.

    >>> queue = MemoryQueue()
    >>> for text in (b"a", b"b"):
    ...     queue.append(Record("t", b"k", text))
    >>> [(number, record.value) for number, record in queue.take(9)], queue.waiting
    ([(0, b'a'), (1, b'b')], 2)
    >>> queue.done(0); queue.rewind()
    >>> [number for number, _ in queue.take(9)], queue.waiting
    ([1], 1)
    """

    def __init__(self, *, max_bytes: int = 0) -> None:
        self.max_bytes, self.dropped, self.damaged = max_bytes, 0, 0
        self._lock = threading.Lock()
        self._untaken: deque[tuple[int, Record]] = deque()
        self._taken: dict[int, Record] = {}
        self._next, self._bytes = 0, 0

    @property
    def waiting(self) -> int:
        with self._lock:
            return len(self._untaken) + len(self._taken)

    def append(self, record: Record) -> None:
        if not record.topic:
            return
        with self._lock:
            self._untaken.append((self._next, record))
            self._next += 1
            self._bytes += record.size
            while self.max_bytes and self._bytes > self.max_bytes and len(self._untaken) > 1:
                self._bytes -= self._untaken.popleft()[1].size
                self.dropped += 1

    def take(self, limit: int) -> list[tuple[int, Record]]:
        with self._lock:
            found = [self._untaken.popleft() for _ in range(min(limit, len(self._untaken)))]
            self._taken.update(found)
        return found

    def done(self, number: int) -> None:
        with self._lock:
            record = self._taken.pop(number, None)
            if record is not None:
                self._bytes -= record.size

    def rewind(self, first: int = 0) -> None:
        with self._lock:
            for at in sorted((at for at in self._taken if at >= first), reverse=True):
                self._untaken.appendleft((at, self._taken.pop(at)))

    def settle(self) -> None:
        """Nothing outlives the process."""

    def close(self) -> None:
        """Nothing to close."""
