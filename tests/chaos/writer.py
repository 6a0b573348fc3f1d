"""`twinflow chaos writer`: the history writer and the history itself get SIGKILL while telemetry fills the topics;
every row of every topic is in its tables once, and the roll-ups are the sums of the samples."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from connectors.clickhouse import ClickHouse
from infra.migrate import migrate
from tests.chaos.checker import check
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.chaos.stored import check_stored, complete
from tests.flows.history_stream import WriterProcess, authorised, count, ensure_result_topics, running_writer, until
from tests.flows.live_world import World
from tests.support_history import HistoryHandle, running_history

VICTIMS = ("writer", "writer", "history", "both")
MOST_PAUSE_SECS = 1.0
STARTUP_SECS = 2.0
STARTING = 0.25
"""Share of the moments at which what was killed last has hardly started."""
STORED_WITHIN_SECS = 120.0


def run(world: World, *, kills: int, seed: int) -> Figures:
    """Kill so many times, store all, compare the history with the topics, telemetry with an uninterrupted run."""
    dice, victims = random.Random(seed), Counter[str]()
    ensure_result_topics(world.bootstrap)
    log = world.folder / f"writer-{seed}.log"
    with running_history(world.folder / f"history-{seed}") as history:
        url = authorised(history)
        with ClickHouse(url) as client:
            migrate(client)
        with running_writer(world.bootstrap, url, log) as writer:
            with world.feed(8000 * seed), world.flow() as flow:
                for _ in range(kills):
                    _await_moment(url, dice)
                    victim = dice.choice(VICTIMS)
                    _kill(victim, writer, history)
                    victims[victim] += 1
                world.drain(flow)
            world.settle()
            verdict = check(world)
            with ClickHouse(url) as client:
                until(lambda: complete(world, client), what="all rows", within_secs=STORED_WITHIN_SECS)
            code = writer.stop()
        with ClickHouse(url) as client:
            rows = check_stored(verdict, world, client)
    failures = {} if code == 0 else {"failures": [f"the writer ended with {code}", *_last_lines(log)]}
    return {"kills": victims.total(), "victims": dict(victims), "rows": rows, **verdict.figures(), **failures}


def _await_moment(url: str, dice: random.Random) -> None:
    """While something starts; or after rows have come, a moment later."""
    if dice.random() < STARTING:
        time.sleep(dice.uniform(0, STARTUP_SECS))
        return
    with ClickHouse(url) as client:
        before = count(client, "samples")
        until(lambda: count(client, "samples") > before, what="new rows")
    time.sleep(dice.uniform(0, MOST_PAUSE_SECS))


def _kill(victim: str, writer: WriterProcess, history: HistoryHandle) -> None:
    if victim in ("history", "both"):
        history.kill()
    if victim in ("writer", "both"):
        writer.stop(signal.SIGKILL)
        writer.start()
    if victim in ("history", "both"):
        history.again()


def _last_lines(log: Path) -> list[str]:
    return log.read_text().splitlines()[-2:]


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("writer", __doc__, kills=20).parse_args(argv)
    return tell(options, lambda: alone(lambda world: run(world, kills=options.kills, seed=options.seed)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
