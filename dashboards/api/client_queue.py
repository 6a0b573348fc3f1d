"""What waits for one live socket: bounded, so that a slow reader costs memory of nobody and is told what it missed."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

import msgspec

ROOM = 64
"""Pushes of live rows that wait at most: two seconds of one twin."""


class Push(NamedTuple):
    """One message of live rows, and how many rows it holds."""

    message: bytes
    rows: int


class ClientQueue:
    """Live rows in order, the oldest dropped when there is no room; of each snapshot only the newest.

    >>> queue = ClientQueue(room=1)
    >>> for i in range(3):
    ...     _ = queue.push(Push(b"%d" % i, 10))
    >>> [queue.pop(7), queue.pop(7), queue.pop(7)]
    [b'{"topic":"dropped","t_ns":7,"pushes":2,"rows":20}', b'2', None]
    """

    def __init__(self, room: int = ROOM) -> None:
        self.room = room
        self.topics: frozenset[str] = frozenset()
        self.dropped_rows = 0
        self._live: deque[Push] = deque()
        self._latest: dict[str, bytes] = {}
        self._missed = [0, 0]
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._live) + len(self._latest)

    def push(self, push: Push) -> int:
        """Live rows; returns how many older rows had to go."""
        gone = 0
        while len(self._live) >= self.room:
            dropped = self._live.popleft()
            gone += dropped.rows
            self._missed[0] += 1
        self._missed[1] += gone
        self.dropped_rows += gone
        self._live.append(push)
        self._some.set()
        return gone

    def put(self, topic: str, message: bytes) -> None:
        """The newest snapshot of a topic, in place of one that still waits."""
        self._latest[topic] = message
        self._some.set()

    def pop(self, now_ns: int) -> bytes | None:
        """The next message: what was missed, then snapshots, then live rows."""
        if any(self._missed):
            pushes, rows = self._missed
            self._missed = [0, 0]
            return msgspec.json.encode({"topic": "dropped", "t_ns": now_ns, "pushes": pushes, "rows": rows})
        if self._latest:
            return self._latest.pop(next(iter(self._latest)))
        return self._live.popleft().message if self._live else None

    async def wait(self) -> None:
        """Until there is something."""
        while not self and not any(self._missed):
            self._some.clear()
            await self._some.wait()
