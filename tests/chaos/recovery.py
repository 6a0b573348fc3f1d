"""`twinflow chaos recovery`: state logs are removed, damaged in every way, put back from an older copy, written by
another version; each start says what it found and goes on with the right state, or stops and says why."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Sequence

from connectors.shards import SHARDS
from infra.errors import ExitCode
from tests.chaos.checker import check, output_hash
from tests.chaos.harm import HARMS, LAST, Expected, Harm, keep_copy, put_back
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.connectors.brokers import until
from tests.flows.live_world import World
from tests.support_flow import drain, start_flow

RECORDS = 60
"""Records that are committed between two mishaps."""
AWAIT_SECS = 90.0


class Keeper:
    """One process of telemetry at a time, in a world, and what its starts said."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Over a log file of its own."""
        self.process = start_flow("flows.telemetry", self._world.variables(), self._world.log, append=False)
        return self.process

    def errors(self) -> list[str]:
        """What it said as an error since its start."""
        return [line for line in self._world.log.read_text().splitlines() if " ERROR " in line]

    def work(self, records: int = RECORDS) -> None:
        """Run until every shard has committed something, and so many records were in all."""
        process, before = self.start(), self._world.committed()
        goal = sum(before.values()) + records

        def there() -> bool:
            assert process.poll() is None, self._world.log.read_text()
            now = self._world.committed()
            return sum(now.values()) >= goal and all(now[p] > before[p] for p in now)

        until(there, f"{records} more records", AWAIT_SECS)

    def end(self) -> None:
        """Drain it."""
        assert self.process is not None
        drain(self.process, self._world.log)

    def kill(self) -> None:
        """If it still runs."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def unsaid(expected: Expected, errors: Sequence[str]) -> list[str]:
    """Shards of which no error says what it must.

    >>> unsaid(Expected("is damaged", ("00bg", "01ae")), ["ERROR 00bg.1.log: the entry at byte 8 is damaged"])
    ['01ae']
    """

    def names(shard: str) -> tuple[str, ...]:
        return shard, f"samples/{SHARDS.index(shard)}:"

    return [
        shard
        for shard in expected.shards
        if not any(expected.words in line and any(name in line for name in names(shard)) for line in errors)
    ]


def run(world: World, *, harms: Sequence[str], seed: int, last: Sequence[str] = tuple(LAST)) -> Figures:
    """Each of these mishaps in seeded order, those that stop the flow with the folder put back afterwards; compare;
    then those after which the input is not whole, which must stop it and may change nothing."""
    dice, keeper, faults, done = random.Random(seed), Keeper(world), list[str](), dict[str, int]()
    try:
        with world.feed(7000 * seed):
            keeper.work()
            keeper.end()
            for name in dice.sample(harms, len(harms)):
                keep_copy(world)
                keeper.work()
                keeper.end()
                done[name] = _one(world, keeper, HARMS[name], dice, faults)
        world.settle()
        verdict = check(world)
        before = output_hash(world.settled())
        keep_copy(world)
        for name in dice.sample(last, len(last)):
            with world.feed(7000 * seed + 20 + len(done)):
                keeper.work()
                keeper.end()
            before = output_hash(world.settled())
            done[name] = _one(world, keeper, LAST[name], dice, faults)
        equal = output_hash(world.settled()) == before
    finally:
        keeper.kill()
    return {"rounds": len(done), "told_by_shards": done, **verdict.figures(), "equal": equal, "failures": faults}


def _one(world: World, keeper: Keeper, harm: Harm, dice: random.Random, faults: list[str]) -> int:
    """One mishap: how many shards must tell of it; what was not as it must be goes to `faults`.

    Where it stops the flow, the folder is put back afterwards.
    """
    with put_back(world) as put:
        expected = harm(world, dice)
        if expected.stops:
            code = keeper.start().wait(AWAIT_SECS)
            errors = keeper.errors()[-1:]
            if code != ExitCode.FAILED:
                faults.append(f"{harm.__name__}: exit code {code}")
        else:
            put.pop_all()
            keeper.work()
            errors = keeper.errors()
            keeper.end()
    if missing := unsaid(expected, errors):
        faults.append(f"{harm.__name__}: nothing said of {', '.join(missing)}, but {errors[-2:]}")
    return len(expected.shards)


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("recovery", __doc__).parse_args(argv)
    return tell(options, lambda: alone(lambda world: run(world, harms=sorted(HARMS), seed=options.seed)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
