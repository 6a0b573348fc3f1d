"""`twinflow chaos rescale`: telemetry goes on in other numbers of processes, from a savepoint each time; what it says
is what an uninterrupted run says."""

from __future__ import annotations

import random
import shutil
import sys

from flows.state_folder import StateFolder
from infra.cli_savepoint import Savepoints
from tests.chaos.checker import check, output_hash
from tests.chaos.crew import Crew
from tests.chaos.oracle import uninterrupted
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.flows.live_world import World

RECORDS = 100
"""So many records each process commits before the number of processes changes."""


def run(world: World, *, workers: list[int], seed: int) -> Figures:
    """Run with these numbers of processes one after the other; some drained, the others killed."""
    dice, crews = random.Random(seed), list[Crew]()
    points = Savepoints(StateFolder(world.state.parent), world.folder / "savepoints")
    with world.feed(3000 * seed):
        for count in workers:
            with Crew(world, count) as crew:
                crews.append(crew)
                for number in range(count):
                    crew.await_progress(number, RECORDS)
                for number in dice.sample(range(count), -(-count // 2)):
                    crew.drain(number)
            name = f"after-{len(crews)}-{seed}"
            points.make(name)
            shutil.rmtree(world.state)
            points.restore(name)
    world.settle()
    oracle = uninterrupted(world)
    verdict = check(world, oracle)
    found, due = output_hash(world.settled()), output_hash(oracle.settled())
    ended = {"silent_ends": sum(crew.silent for crew in crews)}
    return {"workers": workers, "hash": found, "uninterrupted": due, "equal": found == due} | verdict.figures() | ended


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("rescale", __doc__, workers="1,3,2").parse_args(argv)
    workers = [int(count) for count in options.workers.split(",")]
    return tell(options, lambda: alone(lambda world: run(world, workers=workers, seed=options.seed)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
