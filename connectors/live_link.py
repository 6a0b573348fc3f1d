"""Does Kafka, or the history, answer? Told by whoever asks it, read by whoever shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec


class LinkState(msgspec.Struct, frozen=True):
    """`up` is None before the first answer; `since_ns`: when that changed; `cause` says why it is down."""

    up: bool | None
    since_ns: int
    answered_ns: int | None
    cause: str


class Link:
    """The state of the connection to the broker, or to another part named `what`.

    Attributes:
        losses: how often it was lost.
        doubted: set by whoever noticed something, so that the probe asks at once instead of at its next turn. What
            they noticed may be old, so it decides nothing by itself.

    >>> link = Link("127.0.0.1:9092", clock=lambda: 7)
    >>> link.answered(); link.lost("connection refused")
    >>> link.state.up, link.state.cause
    (False, 'Kafka at 127.0.0.1:9092 does not answer: connection refused')
    """

    def __init__(self, address: str, *, what: str = "Kafka", clock: Callable[[], int] = time.time_ns) -> None:
        self.address, self._what, self._clock, self._lock = address, what, clock, threading.Lock()
        self.state = LinkState(None, clock(), None, "")
        self.losses = 0
        self.doubted = threading.Event()

    def answered(self) -> None:
        """It answered."""
        with self._lock:
            now, before = self._clock(), self.state
            self.state = LinkState(True, before.since_ns if before.up else now, now, "")

    def lost(self, why: str) -> None:
        """It did not answer."""
        with self._lock:
            before = self.state
            since = before.since_ns if before.up is False else self._clock()
            self.losses += before.up is True
            said = f"{self._what} at {self.address} does not answer: {why}"
            self.state = LinkState(False, since, before.answered_ns, said)
