"""`twinflow chaos clock`: the clock of the machine, of broker and telemetry alike, jumps ahead and back by up to an
hour while device clocks jump by 90 s; now and then telemetry gets SIGKILL. What it says depends on the log alone."""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.crew import Crew
from tests.chaos.machine_clock import MachineClock, jumping
from tests.chaos.scenario import Figures, parser, tell
from tests.flows.live_world import World

FARTHEST_SECS = 3300.0
"""Under an hour: records of the live path are kept so long."""
RECORDS = (20, 120)
KILLED = 0.3
"""Share of the jumps at which telemetry is killed too."""
REAL_SECS = 1.0
MOST_STARTS = 3


def run(world: World, clock: MachineClock, *, jumps: int, seed: int) -> Figures:
    """So many jumps under two processes, each has to go on; compare with an uninterrupted run over the same log."""
    dice, waited, done, starts = random.Random(seed), 0.0, list[float](), 0
    with world.feed(11_000 * seed), Crew(world, 2) as crew:
        for _ in range(jumps):
            crew.await_progress(dice.randrange(2), dice.randint(*RECORDS))
            before, clock.ahead_secs = clock.ahead_secs, _next(dice, clock.ahead_secs)
            done.append(clock.ahead_secs)
            since = time.monotonic()
            if clock.ahead_secs < before:
                starts += _again(world)
            if dice.random() < KILLED:
                crew.kill(dice.randrange(2))
            for number in range(2):
                crew.await_progress(number, 1)
            waited = max(waited, time.monotonic() - since)
        clock.ahead_secs = 0.0
        starts += _again(world)
        crew.await_progress(0, RECORDS[1])
    world.settle()
    told: Figures = {"rounds": jumps, "ahead_secs": done, "kills": crew.kills, "broker_starts": starts}
    told |= {"slowest_progress_secs": round(waited, 1)}
    return told | check(world).figures() | crew.figures()


def _again(world: World) -> int:
    """Kafka itself stands still where its clock goes back, until a supervisor starts it again; now and then what comes
    up does not tell committed offsets either. How many starts it took."""
    for starts in range(1, MOST_STARTS + 1):
        world.server.stop(signal.SIGKILL)
        world.server.start()
        with suppress(AssertionError):
            world.done()
            return starts
    raise AssertionError(f"the broker does not answer after {MOST_STARTS} starts")


def _next(dice: random.Random, ahead_secs: float) -> float:
    """Back to the real time, or somewhere else, at least a second away."""
    choices = [0.0, dice.uniform(-FARTHEST_SECS, FARTHEST_SECS), ahead_secs - dice.uniform(1, 60)]
    there = [c for c in choices if abs(c - ahead_secs) >= REAL_SECS and abs(c) <= FARTHEST_SECS]
    return round(dice.choice(there), 3)


def alone(jumps: int, seed: int) -> Figures:
    """In a world of its own, whose broker reads the clock too."""
    with tempfile.TemporaryDirectory(prefix="twinflow-chaos-") as folder, jumping(Path(folder)) as clock:
        world = World(Path(folder) / "world")
        try:
            return run(world, clock, jumps=jumps, seed=seed)
        finally:
            world.close()


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("clock", __doc__, jumps=6).parse_args(argv)
    return tell(options, lambda: alone(options.jumps, options.seed))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
