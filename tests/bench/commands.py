"""`twinflow bench commands`: from a request in Kafka to its command in the hands of a device, and how many a second.

The same gate twice: `flow` is flows/commands.py as it runs, `dataflow` a Bytewax dataflow around the same gate with the
committed sink and the epoch of the telemetry flow (docs/decisions/command-gate.md).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from confluent_kafka import Producer

from connectors.kafka_commit import PRODUCER, Settled
from connectors.kafka_flow import CommittedSink, ShardSource, Worker
from flows.commands import COMMANDS, EVENTS, REQUESTS
from flows.documents import document
from operators.command_reading import read_request
from operators.definition_yaml import load_fleet
from operators.frames import Frames
from operators.gate import Gate
from tests.flows.command_world import AWAIT_SECS, Valves, fresh
from tests.support_flow import ROOT
from tests.support_kafka import running_broker

EPOCH = timedelta(seconds=1)
END_SECS = 20.0
FIRST = 3
"""Requests before the first one that counts."""


def latencies(valves: Valves, count: int, rate_hz: float) -> list[float]:
    """Milliseconds from the time of a request to its command being read, one after the other at this rate at most."""
    found: list[float] = []
    for _ in range(count):
        due = time.monotonic() + 1 / rate_hz
        asked_ns = time.time_ns()
        command = valves.ask(f"valve-{fresh()}", "open", ts_ns=asked_ns)
        give_up = time.monotonic() + AWAIT_SECS
        while not valves.dispatched(command):
            valves.read()
            assert time.monotonic() < give_up, valves.log.read_text()
        found.append((time.time_ns() - asked_ns) / 1e6)
        valves.commands.clear()
        valves.events.clear()
        time.sleep(max(0.0, due - time.monotonic()))
    return found


def per_second(valves: Valves, count: int) -> float:
    """Commands a second of a burst, from the first request to the last command read."""
    producer = Producer({**PRODUCER, "bootstrap.servers": valves.broker, "log_level": 0})
    started = time.monotonic()
    for _ in range(count):
        device = f"valve-{fresh()}"
        request = {"id": fresh(), "device": device, "verb": "open", "issuer": "person:ann", "ts_ns": time.time_ns()}
        producer.produce(REQUESTS, msgspec.json.encode(request), device)
    assert producer.flush(60) == 0
    give_up = time.monotonic() + AWAIT_SECS
    while len(valves.commands) < count:
        valves.read()
        assert time.monotonic() < give_up, f"{len(valves.commands)} of {count} commands in {AWAIT_SECS:g} s"
    return count / (time.monotonic() - started)


def dataflow(bootstrap: str, fleet: str, types: str) -> Dataflow:
    """The gate inside Bytewax: no answers, no memory over a restart, all else as telemetry is built."""
    worker = Worker(bootstrap, topic=REQUESTS, group="bench")
    gate = Gate(load_fleet(fleet, types).type_of)

    def judge(frames: Frames) -> Settled:
        settled = Settled(frames.end_offset)
        for row in range(len(frames)):
            told = gate.request(read_request(frames.key(row), frames.value(row), where=""), time.time_ns())
            settled.records.extend(document(EVENTS, e.device, e, partition=-1) for e in told.events)
            settled.records.extend(document(COMMANDS, d.device, d, partition=-1) for d in told.dispatches)
        return settled

    flow = Dataflow("commands")
    requests = op.input("requests", flow, ShardSource(worker))
    op.output("committed", op.map_value("gate", requests, judge), CommittedSink(worker))
    signal.signal(signal.SIGTERM, lambda *_: worker.drain.set())
    return flow


@contextmanager
def running(valves: Valves, kind: str) -> Iterator[None]:
    """One of the two, judging requests."""
    if kind == "flow":
        with valves.flow() as process:
            latencies(valves, FIRST, 20)
            yield
            valves.drain(process)
        return
    command = [sys.executable, "-m", "tests.bench.commands", "--dataflow", valves.broker]
    command += [str(valves.fleet), str(valves.types)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        latencies(valves, FIRST, 20)
        yield
        process.terminate()
        assert process.wait(END_SECS) == 0
    finally:
        process.kill()
        process.wait()


def measure(valves: Valves, kind: str, count: int, burst: int) -> dict[str, float]:
    """Percentiles of the way of a request, and the rate of a burst."""
    with running(valves, kind):
        found = latencies(valves, count, 20)
        rate = per_second(valves, burst)
    p50, p99 = np.percentile(found, [50, 99])
    return {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1), "commands_per_sec": round(rate)}


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="twinflow bench commands", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="requests one by one; the dataflow gets a tenth")
    parser.add_argument("--burst", type=int, default=2000, help="requests at once")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dataflow", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.dataflow:
        run_main(dataflow(*options.dataflow), epoch_interval=EPOCH)
        return 0
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder) / "kafka") as bootstrap:
        valves = Valves(bootstrap, Path(folder) / "valves")
        report = {
            "requests": options.count,
            "flow": measure(valves, "flow", options.count, options.burst),
            "dataflow": measure(valves, "dataflow", max(20, options.count // 10), options.burst),
        }
        valves.close()
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
