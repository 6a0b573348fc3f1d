"""`twinflow chaos broker`: the broker is killed at seeded moments and comes back; telemetry waits, or ends and says
why."""

from __future__ import annotations

import random
import signal
import sys
import time

from tests.chaos.checker import check
from tests.chaos.crew import Crew
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.flows.live_world import EPOCH_SECS, World


def run(world: World, *, kills: int, seed: int) -> Figures:
    """Kill the broker so many times under two processes, work all off, compare with an uninterrupted run."""
    dice = random.Random(seed)
    with world.feed(2000 * seed), Crew(world, 2) as crew:
        for _ in range(kills):
            crew.await_progress(dice.randrange(2), dice.randrange(1, 200))
            time.sleep(dice.uniform(0, 2 * EPOCH_SECS))
            world.server.stop(signal.SIGKILL)
            world.server.start()
        for number in range(2):
            crew.await_progress(number, 100)
    world.settle()
    return {"kills": kills, **check(world).figures(), **crew.figures()}


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("broker", __doc__, kills=10).parse_args(argv)
    return tell(options, lambda: alone(lambda world: run(world, kills=options.kills, seed=options.seed)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
