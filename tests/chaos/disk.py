"""`twinflow chaos disk`: another program takes the last byte of the disk under the state logs, under the broker, under
both; what cannot go on ends and says why, and goes on once there is room. Then the same under a whole stack, which
rests before it comes to that."""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.supervisor.disk import free_mb
from tests.chaos.checker import check
from tests.chaos.crew import Crew
from tests.chaos.scenario import Figures, parser, tell
from tests.connectors.brokers import until
from tests.flows.live_world import World
from tests.infra.accounting import everything_is_accounted_for_and_stored
from tests.infra.command import Command
from tests.infra.small_disk import everything_that_stores_is_held, fill, small_disk
from tests.infra.supervised import free_port

PLACES = ("state", "broker", "both")
STATE_SIZE, BROKER_SIZE, STACK_SIZE = "64m", "600m", "900m"
FULL_SECS = 10.0
"""A disk stays full until something has ended on it, at most so long."""
TRIES = (0, 2)
"""So often what ended is started again while the disk is full, as a supervisor would."""
STACK_LEFT_MB = (60, 0)
"""What another program leaves on the disk of the stack: less than it needs, and nothing."""


@contextmanager
def on_small_disks(folder: Path) -> Iterator[World]:
    """A world whose state logs and whose broker have a disk of their own each."""
    folder.mkdir(parents=True)
    with small_disk(folder / "data", STATE_SIZE), small_disk(folder / "kafka", BROKER_SIZE):
        world = World(folder)
        try:
            yield world
        finally:
            world.close()


def run(world: World, *, rounds: int, seed: int) -> Figures:
    """Fill so many times, each place in turn, work all off, compare with an uninterrupted run."""
    dice, ended = random.Random(seed), Counter[str]()
    with world.feed(10_000 * seed), Crew(world, 1) as crew:
        for number in range(rounds):
            crew.await_progress(0, dice.randrange(1, 200))
            place = PLACES[number % len(PLACES)]
            disks = [disk for disk in (world.data, world.server.broker.data_dir) if _is_hit(place, disk, world)]
            fillers = [fill(disk, left_mb=0) for disk in disks]
            _endure(world, crew, dice.randint(*TRIES), ended)
            for filler in fillers:
                filler.unlink()
            if place != "state":  # it may be about to end; a stack drains and starts it again anyway
                world.server.stop(signal.SIGKILL)
                world.server.start()
            crew.await_progress(0, 50)
    world.settle()
    return {"rounds": rounds, "ended": dict(ended), **check(world).figures(), **crew.figures()}


def _is_hit(place: str, disk: Path, world: World) -> bool:
    return place == "both" or (place == "state") == (disk == world.data)


def _endure(world: World, crew: Crew, tries: int, ended: Counter[str]) -> None:
    """Wait until something ends for lack of room; start the flow again so often, which ends again."""
    for again in range(tries + 1):
        with suppress(AssertionError):  # what does not need to write goes on
            until(lambda: crew.processes[0].poll() is not None or _broker_is_gone(world), "an end", FULL_SECS)
        ended["broker"] += _broker_is_gone(world)
        ended["telemetry"] += crew.processes[0].poll() is not None
        if _broker_is_gone(world) or crew.processes[0].poll() is None:
            return
        if again < tries:
            crew.revive()


def _broker_is_gone(world: World) -> bool:
    return world.server.process is None or world.server.process.poll() is not None


def run_stack(folder: Path) -> Figures:
    """Fill the disk under a whole stack: all that stores is held, goes on by itself, every record is there once."""
    with small_disk(folder / "disk", STACK_SIZE) as disk:
        command = Command(disk / "data", env={"TWINFLOW_KAFKA_PORT": str(free_port())})
        with command.running() as up:
            command.await_ready()
            for left_mb in STACK_LEFT_MB:
                filler = fill(disk, left_mb)
                until(lambda: everything_that_stores_is_held(command), f"rest with {free_mb(disk)} MB free", 120)
                filler.unlink()
                command.await_ready()
                everything_is_accounted_for_and_stored(command)
            assert command("down").returncode == 0
            code = up.wait(timeout=60)
    failures = [] if code == 0 else [f"the stack ended with {code}"]
    return {"stack_rounds": len(STACK_LEFT_MB), "failures": failures}


def whole(rounds: int, seed: int) -> Figures:
    """Both, each in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="twinflow-chaos-") as folder:
        with on_small_disks(Path(folder) / "world") as world:
            figures = run(world, rounds=rounds, seed=seed)
        started = time.monotonic()
        return figures | run_stack(Path(folder)) | {"stack_secs": round(time.monotonic() - started, 1)}


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("disk", __doc__, rounds=6).parse_args(argv)
    return tell(options, lambda: whole(options.rounds, options.seed))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
