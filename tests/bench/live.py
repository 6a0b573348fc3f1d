"""`twinflow bench live`: a generated recording through Kafka and the telemetry flow; the same tables as a backtest."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil
from confluent_kafka import Producer

from connectors.kafka_commit import PRODUCER
from connectors.shards import SHARDS
from flows.backtest import Result, backtest, hash_tables
from flows.collect import collect
from operators.definition_yaml import loads
from operators.frames import Frames
from tests.bench.generated import PROBE, Recording, generate, lines
from tests.connectors.brokers import until
from tests.flows.live_world import World
from tests.support_kafka import free_ports

TYPE = PROBE + "idle_timeout: 5s\ndetectors: [{id: spikes, method: ewma_z, signals: [a], threshold: 4}]\n"
FLEET_YAML = 'instances: [{device: "probe-*", type: probe}]\n'
SILENT_DEVICE = 3
TICKS = 20
LATE_EVERY, HELD_NS = 997, 4 * 10**9

Message = tuple[bytes, str | None]
"""A line, and the device it is keyed by; None: a tick, which goes into every partition."""


def messages(recording: Recording) -> Iterator[Message]:
    """The recording with arrivals of its own: some lines held back until they are late, one device silent from half-way
    on, ticks in between and one at the end, long after."""
    every, half = max(1, len(recording) // TICKS), len(recording) // 2
    newest, held = 0, deque[tuple[int, Message]]()
    columns = (recording.device.tolist(), recording.ts.tolist(), recording.bad.tolist(), lines(recording))

    def told(line: bytes, device: str | None) -> Message:
        return line.replace(b',"v":', b',"arrival":%d,"v":' % newest), device

    for i, (device, ts, bad, line) in enumerate(zip(*columns, strict=True)):
        newest = max(newest, ts)
        while held and held[0][0] < newest:
            yield told(*held.popleft()[1])
        message = line, f"probe-{device:03}"
        if i % LATE_EVERY == 0:
            held.append((newest + HELD_NS, message))
        elif device != SILENT_DEVICE or i < half:
            yield message if bad else told(*message)
        if i % every == every - 1:
            yield b'{"tick":%d}' % newest, None
    yield b'{"tick":%d}' % (newest + 3600 * 10**9), None


def send(bootstrap: str, given: list[Message]) -> None:
    """Produce to `samples`, keyed by device, ticks into every partition."""
    producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap, "queue.buffering.max.messages": 2_000_000})
    for number, (line, device) in enumerate(given):
        for partition in [-1] if device else range(len(SHARDS)):
            producer.produce("samples", line, device, partition)
        if number % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0


def bounded(given: list[Message], twin: str = TYPE) -> Result:
    """The same messages as a backtest."""
    cuts = range(0, len(given), 50_000)
    parts = (Frames.of([m for m, _ in given[at : at + 50_000]], first_offset=at) for at in cuts)
    return backtest(parts, loads(twin))


def flowing(world: World) -> dict[str, float]:
    """Run the flow over what lies in `samples`; seconds to ready, to the end, and of CPU."""
    port = free_ports(1)[0]

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    started = time.monotonic()
    with world.flow(epoch_secs=1.0, TWINFLOW_HEALTH_PORT=str(port)) as flow:
        until(ready, "a ready flow", 300)
        reading, busy = time.monotonic(), psutil.Process(flow.pid).cpu_times()
        world.await_end(flow, 600)
        ended, then = time.monotonic(), psutil.Process(flow.pid).cpu_times()
        world.drain(flow)
    cpu = then.user + then.system - busy.user - busy.system
    return {"ready": reading - started, "work": ended - reading, "cpu": cpu}


def main(argv: list[str]) -> int:
    """Run, compare, print; exit 1 when the tables differ."""
    parser = argparse.ArgumentParser(prog="twinflow bench live", description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    given = list(messages(generate(options.samples)))
    expected = bounded(given)
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), FLEET_YAML, probe=TYPE)
        try:
            send(world.bootstrap, given)
            seconds = flowing(world)
            tables = collect(world.bootstrap, "probe")
        finally:
            world.close()
    live, wanted = hash_tables(tables), hash_tables(expected.tables)
    report = {
        "samples": expected.ledger.samples_in,
        "ready_secs": round(seconds["ready"], 2),
        "samples_per_sec": round(expected.ledger.samples_in / seconds["work"]),
        "samples_per_cpu_sec": round(expected.ledger.samples_in / max(seconds["cpu"], 0.01)),
        "equal": live == wanted,
        "hashes": live,
        "backtest": wanted,
        "rows": {name: table.num_rows for name, table in tables.items()},
    }
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 0 if live == wanted else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
