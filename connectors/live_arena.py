"""The last minutes of every signal for live charts, in one arena of fixed size."""

from __future__ import annotations

import numpy as np

from operators.types import F64, I64

SLOT_NS = 40_000_000
"""At most one point per signal is kept in each 40 ms, so 25 in a second."""


DEEPEST = 1 << 14
"""Most points of one signal: 10 minutes at 25 per second."""


class Arena:
    """Rings of points by series, all in one arena: with more series each ring is shorter, down to `least` points.

    Memory is `points` x 16 bytes, touched only as far as it is used, until there are more than points / least series.

    >>> arena = Arena(points=1024, least=64)
    >>> arena.hold(2)
    >>> arena.add(np.array([0, 0, 1]), np.array([10**9, 2 * 10**9, 10**9]), np.array([1.0, 2.0, 5.0]))
    >>> t, v = arena.read(0)
    >>> v
    array([1., 2.])
    """

    def __init__(self, *, points: int = 1 << 23, least: int = 64) -> None:
        self._points, self._least = points, least
        self.series = 0
        self._depth = max(min(points // 16, DEEPEST), least)
        self._rooms = max(points // self._depth, 1)
        self._make()

    def _make(self) -> None:
        self._t: I64 = np.zeros((self._rooms, self._depth), np.int64)
        self._v: F64 = np.zeros((self._rooms, self._depth), np.float64)
        self._n: I64 = np.zeros(self._rooms, np.int64)
        self._slot: I64 = np.full(self._rooms, -1, np.int64)

    def hold(self, series: int) -> None:
        """Make room for this many series; where rings must become shorter, they keep their newest points."""
        self.series = max(self.series, series)
        if self.series <= self._rooms:
            return
        n, slot, rooms = self._n, self._slot, self._rooms
        kept = [self._ring(s) for s in range(rooms)]
        while self._rooms < self.series:
            self._rooms *= 2
            self._depth = max(self._depth // 2, self._least)
        self._make()
        self._slot[:rooms] = slot
        for s in np.flatnonzero(n).tolist():
            t, v = kept[s]
            size = min(t.size, self._depth)
            self._t[s, :size], self._v[s, :size], self._n[s] = t[-size:], v[-size:], size

    def add(self, series: I64, ts: I64, value: F64) -> None:
        """Points in any order; of those in one slot of time the earliest stays."""
        order = np.lexsort((ts, series))
        s, slot = series[order], ts[order] // SLOT_NS
        first = np.append(True, s[1:] != s[:-1]) if s.size else np.zeros(0, np.bool_)
        before = np.where(first, self._slot[s], np.append(-1, slot[:-1]) if s.size else slot)
        last = np.append(s[1:] != s[:-1], True) if s.size else first
        self._slot[s[last]] = slot[last]
        keep = slot != before
        rows, s = order[keep], s[keep]
        if not s.size:
            return
        starts = np.flatnonzero(np.append(True, s[1:] != s[:-1]))
        counts = np.diff(np.append(starts, s.size))
        rank = np.arange(s.size) - np.repeat(starts, counts)
        at = (self._n[s] + rank) % self._depth
        self._t[s, at], self._v[s, at] = ts[rows], value[rows]
        self._n[s[starts]] += counts

    def _ring(self, series: int) -> tuple[I64, F64]:
        """Points in the order in which they came."""
        n = int(self._n[series])
        if n <= self._depth:
            return self._t[series, :n], self._v[series, :n]
        at = n % self._depth
        return np.roll(self._t[series], -at), np.roll(self._v[series], -at)

    def wrapped(self, series: int) -> bool:
        """Older points of this series had to go."""
        return int(self._n[series]) >= self._depth

    def read(self, series: int) -> tuple[I64, F64]:
        """Points by ascending time; of equal times the one that came last."""
        t, v = self._ring(series)
        order = np.argsort(t, kind="stable")
        t, v = t[order], v[order]
        keep = np.append(t[1:] != t[:-1], True) if t.size else np.zeros(0, np.bool_)
        return t[keep], v[keep]
