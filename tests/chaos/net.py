"""`twinflow chaos net`: a proxy between the broker and both devices and telemetry delays, resets, tears and swallows
what passes, for seconds each time, now and then for longer than a transaction may take."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter

from connectors.kafka_commit import TIMEOUT_SECS
from tests.chaos.checker import check
from tests.chaos.crew import Crew
from tests.chaos.proxy import CLEAR, FAULTS, Fault, Proxy
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.flows.live_world import EPOCH_SECS, World

HOLDS_SECS = (0.2, 5.0)
LONG_SECS = TIMEOUT_SECS + 3.0
LONG_EVERY = 12
"""Every so many faults one outlasts the patience of the flow: it must end, say so, and go on."""
PROGRESS = 20
"""Records that each process commits between two faults."""


def run(world: World, *, minutes: float, seed: int, most_secs: float = HOLDS_SECS[1]) -> Figures:
    """Disturb two processes and the feed for so long, all kinds of faults once at least, in seeded order; compare."""
    dice, happened, recovered = random.Random(seed), Counter[str](), list[float]()
    broker = world.server.broker
    with Proxy(broker.proxy_port, broker.back_port, seed) as proxy:
        with world.feed(5000 * seed, proxy.address), Crew(world, 2, TWINFLOW_KAFKA=proxy.address) as crew:
            _await(crew)
            end = time.monotonic() + 60 * minutes
            while time.monotonic() < end:
                for fault in dice.sample(FAULTS, len(FAULTS)):
                    long = happened.total() % LONG_EVERY == LONG_EVERY - 1
                    _hold(proxy, fault, LONG_SECS if long else dice.uniform(HOLDS_SECS[0], most_secs))
                    happened[fault.name] += 1
                    since = time.monotonic()
                    _await(crew)
                    recovered.append(time.monotonic() - since)
                    time.sleep(dice.uniform(0, 2 * EPOCH_SECS))
        passed = {"connections": proxy.connections, "resets": proxy.resets, "swallowed_bytes": proxy.swallowed}
    world.settle()
    figures = {
        "faults": dict(happened),
        "rounds": happened.total(),
        **passed,
        "slowest_recovery_secs": round(max(recovered), 2),
    }
    return figures | check(world).figures() | crew.figures()


def _hold(proxy: Proxy, fault: Fault, seconds: float) -> None:
    proxy.become(fault)
    time.sleep(seconds)
    proxy.become(CLEAR)


def _await(crew: Crew) -> None:
    for number in range(2):
        crew.await_progress(number, PROGRESS)


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("net", __doc__, minutes=3.0).parse_args(argv)
    return tell(options, lambda: alone(lambda world: run(world, minutes=options.minutes, seed=options.seed)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
