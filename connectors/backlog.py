"""How much of a partition waits for its reader, and since when: told from what the reader knows, nobody is asked."""

from __future__ import annotations

import time


class Backlog:
    """One partition. The reader notes how far it is; whoever asks brings the end that the last fetch told.

    Attributes:
        position: offset of the next record to take, -1 before the first fetch.

    >>> backlog = Backlog(started_ns=0)
    >>> backlog.note(10, arrival_ns=3_000_000_000)
    >>> backlog.lag(10), backlog.lag(14)
    (0, 4)
    >>> backlog.age_secs(14, now_ns=5_000_000_000)  # nothing older than the last one taken
    2.0
    >>> backlog.age_secs(10, now_ns=6_000_000_000), backlog.age_secs(14, now_ns=6_500_000_000)
    (0.0, 0.5)
    """

    __slots__ = ("_arrival_ns", "_empty_ns", "position")

    def __init__(self, *, started_ns: int | None = None) -> None:
        self.position = -1
        self._arrival_ns = 0
        self._empty_ns = time.time_ns() if started_ns is None else started_ns

    def note(self, position: int, arrival_ns: int) -> None:
        """All below `position` is done; `arrival_ns`: when the newest of it came, 0 where that is not known."""
        self.position = position
        self._arrival_ns = max(self._arrival_ns, arrival_ns)

    def lag(self, end: int | None) -> int:
        """Records that wait, the end of the partition being there; 0 while nothing is known."""
        return 0 if end is None or self.position < 0 else max(0, end - self.position)

    def age_secs(self, end: int | None, now_ns: int) -> float:
        """Age of the oldest record that waits, s, 0 where none does: it came after the newest one that is done, and
        after the last time that somebody asked and none waited."""
        if end is None or end <= self.position:
            self._empty_ns = max(self._empty_ns, now_ns)
            return 0.0
        return max(0, now_ns - max(self._arrival_ns, self._empty_ns)) / 1e9
