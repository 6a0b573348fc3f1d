"""`twinflow chaos eos`: one and two processes of telemetry are killed at seeded moments under a feed in which
everything happens: repeats, gaps, late and malformed records, wrong keys, clocks that jump."""

from __future__ import annotations

import random
import sys

from tests.chaos.checker import check
from tests.chaos.crew import Crew
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.flows.live_world import World

IN_A_ROW = (2, 6)
"""So many kills before the number of processes changes."""
BOTH = 0.4
"""Share of the moments at which both processes are killed."""


def run(world: World, *, kills: int, seed: int) -> Figures:
    """Kill so many times, work all off, compare with an uninterrupted run."""
    dice, done, crews = random.Random(seed), 0, list[Crew]()
    with world.feed(1000 * seed):
        while done < kills:
            count = 1 + len(crews) % 2
            with Crew(world, count) as crew:
                crews.append(crew)
                goal = min(kills - done, dice.randint(*IN_A_ROW))
                while crew.kills < goal:
                    victim = dice.randrange(count)
                    crew.await_moment(victim, dice)
                    crew.kill(victim)
                    if count == 2 and crew.kills < goal and dice.random() < BOTH:
                        crew.kill(1 - victim)
                done += crew.kills
    world.settle()
    ended = {"restarts": sum(len(c.ends) for c in crews), "silent_ends": sum(c.silent for c in crews)}
    return {"kills": done, **check(world).figures(), **ended}


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("eos", __doc__, kills=100).parse_args(argv)
    return tell(options, lambda: alone(lambda world: run(world, kills=options.kills, seed=options.seed)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
