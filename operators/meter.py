"""What a step of a flow counts about itself: rows in and out, where its time went, how long single acts took.

Counted once per batch, never per row, so that measuring costs nothing that could be seen. Each object is written by
one thread; any other may read it, and sees each figure as it was a moment ago.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from time import perf_counter_ns

BOUNDS_SECS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of `Durations`."""


class Meter:
    """Rows and time of one step.

    Attributes:
        rows_in, rows_out: since the start.
        busy_ns: time at work; processor time where threads share the interpreter.
        blocked_ns: time spent waiting for what comes after (backpressure).

    >>> meter = Meter()
    >>> since = perf_counter_ns()
    >>> since = meter.lap(since, 3, 2)
    >>> meter.rows_in, meter.rows_out, meter.busy_ns > 0
    (3, 2, True)
    """

    __slots__ = ("blocked_ns", "busy_ns", "rows_in", "rows_out")

    def __init__(self) -> None:
        self.rows_in = self.rows_out = self.busy_ns = self.blocked_ns = 0

    def lap(self, since_ns: int, rows_in: int = 0, rows_out: int = 0) -> int:
        """Work of this step that began at `since_ns` (perf_counter) is done; gives the instant now, where the next
        step begins."""
        now = perf_counter_ns()
        self.busy_ns += now - since_ns
        self.rows_in += rows_in
        self.rows_out += rows_out
        return now

    @staticmethod
    def total(meters: Iterable[Meter]) -> Meter:
        """The sum of several meters of one step."""
        found = Meter()
        for meter in meters:
            for name in Meter.__slots__:
                setattr(found, name, getattr(found, name) + getattr(meter, name))
        return found


class Durations:
    """How long something took, in buckets.

    Attributes:
        counts: int[len(BOUNDS_SECS) + 1], of durations up to each bound; the last counts what took longer.
        sum_secs: all of them together.

    >>> took = Durations()
    >>> took.add(3_000_000); took.add(99_000_000_000)
    >>> took.cumulative()[2], took.cumulative()[-1], took.sum_secs
    (('0.005', 1), ('+Inf', 2), 99.003)
    """

    __slots__ = ("counts", "sum_secs")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_SECS) + 1)
        self.sum_secs = 0.0

    def add(self, nanos: int) -> None:
        """One more."""
        secs = nanos / 1e9
        self.counts[bisect_left(BOUNDS_SECS, secs)] += 1
        self.sum_secs += secs

    def cumulative(self) -> list[tuple[str, int]]:
        """(bound, how many took at most so long), as Prometheus has them."""
        found, upto = [], 0
        for bound, count in zip((*map(str, BOUNDS_SECS), "+Inf"), self.counts, strict=True):
            upto += count
            found.append((bound, upto))
        return found

    @staticmethod
    def total(parts: Iterable[Durations]) -> Durations:
        """Several together."""
        found = Durations()
        for part in parts:
            found.counts = [a + b for a, b in zip(found.counts, part.counts, strict=True)]
            found.sum_secs += part.sum_secs
        return found
