"""`twinflow chaos determinism`: one recording through the flow at several speeds, with stalls, numbers of processes,
sizes of batches and epochs; windows, rows and anomalies have one hash, that of a bounded run."""

from __future__ import annotations

import hashlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer

from connectors.kafka_commit import PRODUCER
from connectors.shards import SHARDS
from flows.backtest import hash_tables
from flows.collect import collect
from infra.kafka.topics import Topic, ensure_topics, load_topics
from tests.bench.generated import RATES_HZ, generate
from tests.bench.live import FLEET_YAML, TYPE, Message, bounded, messages
from tests.chaos.crew import Crew
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.connectors.brokers import until
from tests.flows.live_world import World

DEVICES = 20
END_SECS = 120.0


@dataclass(frozen=True)
class Way:
    """How the recording goes through the flow.

    Attributes:
        processes: of the flow. epoch_secs: between two commits.
        paced: at the speed it was recorded with, else as fast as it goes.
        stalled: the sender pauses after a third; while the last third is sent the flow stands still (SIGSTOP).
        killed: the flow is killed (SIGKILL) after two thirds were sent and it has begun.
        batch: messages per record batch at most.
    """

    name: str
    processes: int = 1
    epoch_secs: float = 0.2
    paced: bool = False
    stalled: bool = False
    killed: bool = False
    batch: int = 10_000


WAYS = (
    Way("max"),
    Way("max, 3 workers", processes=3),
    Way("1x", paced=True),
    Way("1x, 3 workers, 6 s stalls", paced=True, processes=3, stalled=True),
    Way("max, 6 s stalls", stalled=True),
    Way("max, batches of 1", batch=1),
    Way("max, batches of 10, 3 workers", batch=10, processes=3),
    Way("max, epochs of 1 s, killed", epoch_secs=1.0, killed=True),
    Way("1x, batches of 1, killed", paced=True, batch=1, killed=True),
)
SHORT = ("max", "max, 6 s stalls", "max, batches of 10, 3 workers")
"""Those that fit an ordinary test."""


def run(world: World, *, seconds: float, seed: int, ways: Sequence[Way] = WAYS, stall_secs: float = 6.0) -> Figures:
    """Send a recording of so many seconds once for each way; its own arrivals are in it, so that they are the same."""
    samples = int(seconds * DEVICES * sum(RATES_HZ) / 1.04)
    given = list(messages(generate(samples, devices=DEVICES, seed=seed)))
    hashes = [_one(world, way, given, seconds, stall_secs, number) for number, way in enumerate(ways)]
    truth = _hash(hash_tables(bounded(given).tables))
    equal = set(hashes) == {truth}
    named = dict(zip((way.name for way in ways), hashes, strict=True))
    return {"inputs": len(given), "runs": len(ways), "hashes": hashes, "ways": named, "bounded": truth, "equal": equal}


def _one(world: World, way: Way, given: list[Message], seconds: float, stall_secs: float, number: int) -> str:
    """The hash of one run, over a topic and a state of its own."""
    world.topic, world.data = f"samples-{number}", world.folder / f"data-{number}"
    ensure_topics(world.bootstrap, [Topic(world.topic, "device", len(SHARDS), load_topics()["samples"].config)])
    since_ns = time.time_ns()
    stalls = stall_secs if way.stalled else 0.0
    stalls, secs = (stall_secs if way.stalled else 0.0), (seconds if way.paced else 0.0)
    first, second, third = (given[i * len(given) // 3 : (i + 1) * len(given) // 3] for i in range(3))
    with Crew(world, way.processes, TWINFLOW_EPOCH_SECS=str(way.epoch_secs)) as crew:
        sender = _Sender(world, way.batch)
        sender.send(first, secs / 3)
        time.sleep(stalls)
        sender.send(second, secs / 3)
        until(lambda: world.done() > 0, "a first commit", END_SECS)
        for worker in range(way.processes) if way.killed else ():
            crew.kill(worker)
        if stalls:
            crew.signal(signal.SIGSTOP)
        sender.send(third, secs / 3)
        time.sleep(stalls)
        crew.signal(signal.SIGCONT)
        ends = world.ends()
        until(lambda: world.committed() == ends, f"the end of {world.topic}", END_SECS)
        for worker in range(way.processes):
            crew.drain(worker)
    return _hash(hash_tables(collect(world.bootstrap, "probe", since_ns=since_ns)))


class _Sender:
    """Produces keyed by device, ticks into every partition."""

    def __init__(self, world: World, batch: int) -> None:
        settings = {**PRODUCER, "bootstrap.servers": world.bootstrap, "batch.num.messages": batch}
        self._producer = Producer({**settings, "queue.buffering.max.messages": 2_000_000})
        self._topic = world.topic

    def send(self, given: list[Message], seconds: float) -> None:
        """Send over so many seconds, and wait until the broker has all."""
        started = time.monotonic()
        for number, (line, device) in enumerate(given):
            if number % 100 == 0:
                self._producer.poll(0)
                time.sleep(max(0.0, started + seconds * number / len(given) - time.monotonic()))
            for partition in [-1] if device else range(len(SHARDS)):
                self._producer.produce(self._topic, line, device, partition)
        assert self._producer.flush(END_SECS) == 0


def _hash(tables: dict[str, str]) -> str:
    """One hash of windows, rows and anomalies."""
    assert set(tables) == {"windows", "rows", "anomalies"}
    return hashlib.sha256("\n".join(f"{name} {text}" for name, text in sorted(tables.items())).encode()).hexdigest()


def new_world(folder: Path) -> World:
    """One whose devices are those of the recording."""
    return World(folder, FLEET_YAML, probe=TYPE)


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("determinism", __doc__, length=30.0).parse_args(argv)
    return tell(options, lambda: alone(lambda w: run(w, seconds=options.length, seed=options.seed), new_world))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
