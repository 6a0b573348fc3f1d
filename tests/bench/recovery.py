"""`twinflow bench recovery`: what a restart costs: of telemetry killed at work, and of the state of many devices.

One producer sends JSON samples of 250 robots at `--rate`. Telemetry is killed (SIGKILL) at a moment that the seed
chooses and started again at once over the same folder, so the wait of a supervisor is not in it: seconds until it asks
for input again, and until all that had come by then is committed. Beside it, from `bench state`: the state of
100,000 devices read back, its memory, and the snapshot of 10,000.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from connectors.shards import SHARDS
from operators.definition_yaml import loads
from tests.bench import flow_run, latency, state
from tests.bench.core import warm_up
from tests.bench.devices import SIGNALS, TYPE
from tests.bench.stage import Stage
from tests.bench.usage import load, machine
from tests.connectors.brokers import until

RESTART_SECS, RSS_MB, SNAPSHOT_MS = 2.0, 4000.0, 20.0
"""At most."""
SECS_PER_KILL = 12.0
"""Room for a start, a kill and a start."""


class Topic:
    """How far the input of the flow is, and how far its commits are."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": stage.bootstrap, "group.id": "bench-ends", "log_level": 0})
        self._name, self._commits = name, flow_run.Commits(stage.bootstrap, name)

    def end(self) -> int:
        """Records that have come."""
        places = [TopicPartition(self._name, p) for p in range(len(SHARDS))]
        return sum(self._consumer.get_watermark_offsets(place, timeout=20)[1] for place in places)

    def committed(self) -> int:
        """Records whose results are committed."""
        return self._commits.total()

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()
        self._commits.close()


@contextmanager
def _running(stage: Stage, topic: str, folder: Path) -> Iterator[flow_run.Flow]:
    with flow_run.flow(stage, topic, folder, types=latency.TYPES) as flow:
        until(lambda: flow.told(flow_run.READY), "a flow that is ready to read", flow_run.START_SECS)
        yield flow


def _caught_up(flow: flow_run.Flow, topic: Topic) -> None:
    end = topic.end()

    def there() -> bool:
        flow.check()
        return topic.committed() >= end

    until(there, f"{end} records committed", flow_run.START_SECS)


def killed(stage: Stage, *, rate: int, kills: int, seed: int) -> dict[str, Any]:
    """Kill it so many times while input comes."""
    name, dice = stage.output("recovery", stamped=True), random.Random(seed)
    stage.forget_group(flow_run.GROUP)
    topic, ready, caught = Topic(stage, name), list[float](), list[float]()
    with (
        tempfile.TemporaryDirectory(dir=stage.folder) as folder,
        ProcessPoolExecutor(1, get_context("spawn")) as other,
    ):
        sent = other.submit(latency.send, stage.bootstrap, name, rate, SECS_PER_KILL * (kills + 1))
        since = 0.0
        for number in range(kills + 1):
            with _running(stage, name, Path(folder)) as flow:
                if number:
                    ready.append(time.monotonic() - since)
                _caught_up(flow, topic)
                if number:
                    caught.append(time.monotonic() - since)
                time.sleep(dice.uniform(0.5, 2.0))
                since = time.monotonic()  # leaving this block kills it
        assert not sent.done(), "the input came to its end before the kills did: fewer kills, or a quieter machine"
        reached, _ = sent.result()
    topic.close()
    stage.delete(name)
    return {
        "killed_to_ready_s": round(statistics.median(ready), 2),
        "killed_to_caught_up_s": round(statistics.median(caught), 2),
        "each": {"ready_s": [round(x, 2) for x in ready], "caught_up_s": [round(x, 2) for x in caught]},
        "kills": kills,
        "rate": round(reached),
    }


def many(devices: int, few: int) -> dict[str, Any]:
    """The figures of `bench state` that belong here."""
    twin = loads(TYPE)
    state.in_folder(lambda folder: state.restart(folder, twin, 120))  # compiles the kernels
    shot = state.in_folder(lambda folder: state.snapshots(folder, twin, few))
    back = state.in_folder(lambda folder: state.restart(folder, twin, devices))
    return {
        "restart_s": back["restart_secs"],
        "rss_mb": back["peak_rss_mb"],
        "snapshot_ms": shot["tenth_changed_ms"],
        "snapshot_all_changed_ms": shot["all_changed_ms"],
        "devices": {"restart": devices, "snapshot": few, "signals": SIGNALS},
    }


def main(argv: list[str]) -> int:
    """Measure, print, say which aims are reached."""
    parser = argparse.ArgumentParser(prog="twinflow bench recovery", description=__doc__)
    parser.add_argument("--rate", type=int, default=2_000, help="messages a second while it is killed")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--devices", type=int, default=100_000, help="whose state is read back")
    parser.add_argument("--few", type=int, default=10_000, help="of the snapshot")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        warm_up(stage)
        found = killed(stage, rate=options.rate, kills=options.kills, seed=options.seed)
    found |= many(options.devices, options.few)
    reached = {
        "restart_2_s": found["restart_s"] <= RESTART_SECS,
        "rss_4_gb": found["rss_mb"] < RSS_MB,
        "snapshot_20_ms": found["snapshot_ms"] <= SNAPSHOT_MS,
    }
    report = {"bench": "recovery", **found, "reached": reached, "machine": machine(), "load": load()}
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
