"""`twinflow chaos zombie`: telemetry hangs (SIGSTOP), a duplicate on a folder of its own takes over, and what hung
goes on (SIGCONT): it must be fenced, say so, and change nothing."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from infra.errors import ExitCode
from tests.chaos.checker import check
from tests.chaos.crew import AWAIT_SECS, STARTUP_SECS
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.connectors.brokers import until
from tests.flows.live_world import World
from tests.support_flow import start_flow

EARLY = 0.3
"""Share of the rounds in which the old one goes on while the duplicate still starts."""
TAKES = ("newest", "newest", "older", "nothing")
"""What the duplicate finds of the state: a copy of it as it is, one of the round before, or no state."""
RECORDS = (1, 100)
UNTOLD = "EndTxn commit failed: Unknown broker error"


class Life:
    """One process of telemetry with a data folder of its own."""

    def __init__(self, world: World, folder: Path) -> None:
        self.data, self.log = world.folder / folder.name, folder.with_suffix(".log")
        variables = world.variables() | {"TWINFLOW_DATA": str(self.data)}
        self.process: subprocess.Popen[bytes] = start_flow("flows.telemetry", variables, self.log)

    def last_words(self) -> str:
        """The last line it wrote."""
        return "".join(self.log.read_text().splitlines()[-1:])

    def end(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.wait()


def verdict(code: int, last_words: str) -> str:
    """How a process ended that another took over from: "fenced" and says so; "refused", where the broker refused its
    commit for a reason it does not tell (EndTxn of an older epoch, while the newer one begins); else what it said.

    >>> said = "12:00 ERROR shard 00bg: committing failed: "
    >>> verdict(1, said + "This instance has been fenced by a newer instance"), verdict(1, said + UNTOLD)
    ('fenced', 'refused')
    >>> verdict(0, "drained"), verdict(1, "ERROR out of memory"), verdict(-9, "")
    ('exit code 0: drained', 'exit code 1: ERROR out of memory', 'exit code -9: ')
    """
    if code == ExitCode.FAILED and " ERROR " in last_words:
        if "fenced" in last_words:
            return "fenced"
        if UNTOLD in last_words:
            return "refused"
    return f"exit code {code}: {last_words}"


def run(world: World, *, rounds: int, seed: int) -> Figures:
    """So many times a duplicate takes over; work all off with the last folder, compare with an uninterrupted run."""
    dice, ends, fenced_secs = random.Random(seed), Counter[str](), list[float]()
    with world.feed(6000 * seed), ExitStack() as stack:

        def live(number: int) -> Life:
            made = Life(world, world.folder / f"life-{seed}-{number}")
            stack.callback(made.end)
            return made

        now = live(0)
        before = world.folder / f"life-{seed}-before"
        for number in range(1, rounds + 1):
            _await_progress(world, now, dice.randint(*RECORDS))
            now.process.send_signal(signal.SIGSTOP)
            _hand_over(now.data, before, world.folder / f"life-{seed}-{number}", dice.choice(TAKES))
            old, now = now, live(number)
            if dice.random() < EARLY:
                time.sleep(dice.uniform(0, STARTUP_SECS))
            else:
                _await_progress(world, now, dice.randint(*RECORDS))
            old.process.send_signal(signal.SIGCONT)
            since = time.monotonic()
            code = old.process.wait(AWAIT_SECS)
            fenced_secs.append(time.monotonic() - since)
            ends[verdict(code, old.last_words())] += 1
        _await_progress(world, now, RECORDS[1])
        world.data = now.data
    world.settle()
    told = {"fenced": ends.pop("fenced", 0), "refused": ends.pop("refused", 0)}
    silent = {"silent_ends": ends.total(), "last_words": list(ends)}
    return {
        "rounds": rounds,
        **told,
        "slowest_end_secs": round(max(fenced_secs), 2),
        **check(world).figures(),
        **silent,
    }


def _hand_over(old: Path, before: Path, new: Path, what: str) -> None:
    """Give the duplicate what it finds; then keep the state of now for the round after."""
    if what != "nothing" and (source := before if what == "older" and before.exists() else old).exists():
        shutil.copytree(source, new)
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(old, before)


def _await_progress(world: World, life: Life, records: int) -> None:
    """Until somebody has committed so many more records, while this one lives."""
    goal = world.done() + records

    def there() -> bool:
        assert life.process.poll() is None, life.log.read_text()
        return world.done() >= goal

    until(there, f"{records} more records", AWAIT_SECS)


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("zombie", __doc__, rounds=10).parse_args(argv)
    return tell(options, lambda: alone(lambda world: run(world, rounds=options.rounds, seed=options.seed)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
