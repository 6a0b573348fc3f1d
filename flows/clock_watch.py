"""A clock of the machine that goes back: Bytewax wakes its sources by that clock, so they would sleep until it has
caught up. The process ends instead and says so; whoever started it starts the next, which goes on from the last
snapshot."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

EVERY_SECS = 0.5
MOST_SECS = 1.0
"""A clock that goes back by less only makes the sources wait so long."""

log = logging.getLogger("twinflow.clock")


class ClockWatch:
    """Compares the clock of the machine with the one that only goes forward.

    Args:
        wall, steady: the two clocks, s.

    >>> wall, steady = iter([100.0, 101.0, 41.5, 42.0]), iter([5.0, 6.0, 6.5, 7.0])
    >>> watch = ClockWatch(wall.__next__, steady.__next__)
    >>> [watch.went_back_secs() for _ in range(3)]
    [0.0, 60.0, 0.0]
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._ahead = self._now()

    def _now(self) -> float:
        return self._wall() - self._steady()

    def went_back_secs(self) -> float:
        """By how much since the last look; 0 where it went forward, however far."""
        before, self._ahead = self._ahead, self._now()
        return max(0.0, before - self._ahead)


def end_when_the_clock_goes_back() -> None:
    """Watch from now on, beside the flow: nothing is kept in memory that must not be lost."""
    threading.Thread(target=_watch, args=(ClockWatch(),), name="clock", daemon=True).start()


def _watch(clock: ClockWatch) -> None:
    while True:
        time.sleep(EVERY_SECS)
        back = clock.went_back_secs()
        if back > MOST_SECS:
            log.error(
                "stopped: the clock of the machine went back by %.1f s, the flow would stand still until it has caught "
                "up; nothing is lost: it restarts from its last snapshot",
                back,
            )
            os._exit(1)
