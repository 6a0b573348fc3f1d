"""`twinflow bench latency`: from produce to the alert, at a fixed rate, by us and by naive Bytewax in turns.

One producer sends JSON samples of 250 robots at `--rate`; every 101st is a spike, its event time the clock at produce.
Ours: a rule of the twin type raises an alert, which the flow sends at once. Naive Bytewax: an EWMA z anomaly, as its
docs teach. A consumer waits for both in the same way: clock at reading minus clock at produce. The settled path beside
it: from the arrival of the record that moved the watermark past the end of a window until that window can be read,
committed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from connectors.shards import SHARDS
from connectors.topic_tail import TopicTail
from flows.encode import from_bytes
from operators.frames import Frames
from operators.types import F64
from tests.bench import flow_run, venvs
from tests.bench.core import warm_up
from tests.bench.jobs import BASELINES, Absent, environment
from tests.bench.stage import Stage
from tests.bench.usage import load, machine
from tests.connectors.brokers import until

TYPES = flow_run.HERE / "reference" / "latency"
DEVICES, SPIKE_EVERY, SPIKE = 250, 101, 30.0
WARM_SECS = 6.0
EPOCH_MS, ALLOWED_MS = 1000.0, 200.0
Arrived = list[tuple[int, int]]
"""(clock at produce, clock at reading) of each spike that came back, ns."""


class Listener:
    """Reads new records of a topic in a thread of its own and notes the spikes among them.

    Args:
        bootstrap, topic: what is read, from its end on.
        produced_ns: clock at produce that a value carries, None where it is not about a spike.
    """

    def __init__(self, bootstrap: str, topic: str, produced_ns: Callable[[bytes], int | None]) -> None:
        settings = {"bootstrap.servers": bootstrap, "group.id": "bench-listener", "enable.auto.commit": False}
        self._consumer = Consumer({**settings, "fetch.wait.max.ms": 500})
        from_end(self._consumer, topic)
        self._produced_ns = produced_ns
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.arrived: Arrived = []

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.002):
                now, value = time.time_ns(), message.value()
                produced = self._produced_ns(value) if value else None
                if produced is not None:
                    self.arrived.append((produced, now))


def from_end(consumer: Consumer, topic: str) -> None:
    """Have it read a topic from its end on; a topic just made has no leaders for a moment."""
    places = [TopicPartition(topic, p) for p in range(len(SHARDS))]

    def found() -> bool:
        try:
            for place in places:
                place.offset = consumer.get_watermark_offsets(place, timeout=20)[1]
        except KafkaException:
            return False
        return True

    until(found, f"the ends of {topic}", 30)
    consumer.assign(places)


def alert_ns(value: bytes) -> int | None:
    """Of an alert of ours.

    >>> [alert_ns(b'{"rule":"jump","state":"%b","ts_ns":7}' % state) for state in (b"raised", b"returned")]
    [7, None]
    """
    told = msgspec.json.decode(value)
    return int(told["ts_ns"]) if told["rule"].startswith("jump") and told["state"] == "raised" else None


def anomaly_ns(value: bytes) -> int | None:
    """Of an anomaly of naive Bytewax."""
    return int(msgspec.json.decode(value)["ts"]) if b'"anom"' in value else None


def send(bootstrap: str, topic: str, rate: int, secs: float) -> tuple[float, set[int]]:
    """Send at this rate, gathering for 5 ms as the device SDK does; the rate that was reached, and when each spike
    after the warm-up was produced."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
    noise = np.round(np.random.default_rng(1).normal(0, 0.3, 65_536), 4).tolist()
    names = [f"robot-{k:04d}" for k in range(DEVICES)]
    spikes: set[int] = set()
    total, sent, started = int(rate * (secs + WARM_SECS)), 0, time.perf_counter()
    while sent < total:
        due = min(int((time.perf_counter() - started) * rate), total)
        for i in range(sent, due):
            x, now = noise[i & 65_535], time.time_ns()
            if i >= WARM_SECS * rate and i % SPIKE_EVERY == 0:
                x += SPIKE
                spikes.add(now)
            values = [x, 0.1234, -0.4321, 0.9876, 0.1111, 0.2222]
            sensor = "imu" if i % 3 else "odom"
            message = {"device": names[i % DEVICES], "sensor": sensor, "ts": now, "v": values if i % 3 else values[:4]}
            producer.produce(topic, msgspec.json.encode(message), names[i % DEVICES])
        sent = max(sent, due)
        producer.poll(0)
        time.sleep(0.001)
    took = time.perf_counter() - started
    assert producer.flush(60) == 0
    return total / took, spikes


def _sent_by_another(bootstrap: str, topic: str, rate: int, secs: float) -> tuple[float, set[int]]:
    """As `send`, in a process of its own, so that what listens here is never in its way."""
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        return other.submit(send, bootstrap, topic, rate, secs).result()


def figures(arrived: Arrived, spikes: set[int], rate: float) -> dict[str, Any]:
    """Percentiles of the spikes after the warm-up; how many never came back."""
    first: dict[int, int] = {}
    for produced, read in arrived:
        if produced in spikes:
            first.setdefault(produced, read)
    ms = np.array([(read - produced) / 1e6 for produced, read in first.items()])
    return {
        "rate": round(rate),
        "spikes": len(spikes),
        "lost": len(spikes) - ms.size,
        **_percentiles(ms),
        "load": load(),
    }


def _percentiles(ms: F64) -> dict[str, float]:
    if not ms.size:
        return {}
    names = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "max_ms": 100}
    return {name: round(float(np.percentile(ms, q)), 2) for name, q in names.items()}


def settled(stage: Stage, topic: str, seen: list[tuple[int, int, bytes]]) -> dict[str, Any]:
    """Delays of the windows: (partition, clock at reading, block), against the arrivals of what released them."""
    arrivals: dict[int, list[Frames]] = {}
    tail = TopicTail(stage.bootstrap, topic)
    for frames in tail.read():
        arrivals.setdefault(frames.partition, []).append(frames)
    tail.close()
    late = []
    for partition, read_ns, block in seen:
        offsets = np.concatenate([f.offset for f in arrivals[partition]])
        times = np.concatenate([f.arrival for f in arrivals[partition]])
        at = np.searchsorted(offsets, from_bytes(block)["offset"].to_numpy())
        late.append((read_ns - times[at]) / 1e6)
    ms = np.concatenate(late) if late else np.zeros(0)
    over = int((ms > EPOCH_MS + ALLOWED_MS).sum())
    return {"windows": int(ms.size), **_percentiles(ms), "limit_ms": EPOCH_MS + ALLOWED_MS, "over_limit": over}


@contextmanager
def _windows(bootstrap: str) -> Iterator[list[tuple[int, int, bytes]]]:
    """New blocks of windows, as soon as they can be read committed."""
    seen: list[tuple[int, int, bytes]] = []
    settings = {"bootstrap.servers": bootstrap, "group.id": "bench-windows", "enable.auto.commit": False}
    consumer = Consumer({**settings, "fetch.wait.max.ms": 500, "isolation.level": "read_committed"})
    from_end(consumer, "windows")
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for message in consumer.consume(100, 0.01):
                partition, value = message.partition(), message.value()
                if value is not None and partition is not None:
                    seen.append((partition, time.time_ns(), value))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
        consumer.close()


def ours(stage: Stage, rate: int, secs: float) -> dict[str, Any]:
    """One run of the flow; alerts and windows."""
    topic = stage.output("latency", stamped=True)
    stage.forget_group(flow_run.GROUP)
    with (
        tempfile.TemporaryDirectory(dir=stage.folder) as folder,
        flow_run.flow(stage, topic, Path(folder), types=TYPES) as flow,
        _windows(stage.bootstrap) as seen,
        Listener(stage.bootstrap, "alerts", alert_ns) as listener,
    ):
        until(lambda: flow.told(flow_run.READY), "a flow that is ready to read", flow_run.START_SECS)
        reached, spikes = _sent_by_another(stage.bootstrap, topic, rate, secs)
        time.sleep(EPOCH_MS / 1000 * 2)  # the last windows are committed an epoch later
        flow.drain()
    found = {**figures(listener.arrived, spikes, reached), "settled": settled(stage, topic, seen)}
    stage.delete(topic)
    return found


def naive(stage: Stage, rate: int, secs: float) -> dict[str, Any]:
    """One run of naive Bytewax at the same load."""
    topic, out = stage.output("latency", stamped=True), stage.output("naive")
    given = environment(stage, topic, out, int(rate * (secs + WARM_SECS))) | {"TAIL": "1"}
    command = [venvs.python("bytewax"), str(BASELINES / "jobs" / "bytewax_naive.py")]
    with (stage.folder / "naive.log").open("w") as log, Listener(stage.bootstrap, out, anomaly_ns) as listener:
        process = subprocess.Popen(command, env=os.environ | given, stdout=log, stderr=log)
        try:
            time.sleep(8)  # it reads from the end and says nothing when it is there; the warm-up shows whether it was
            reached, spikes = _sent_by_another(stage.bootstrap, topic, rate, secs)
            time.sleep(2)
        finally:
            process.kill()
            process.wait()
    stage.delete(topic)
    stage.delete(out)
    return figures(listener.arrived, spikes, reached)


def main(argv: list[str]) -> int:
    """Run in turns, print; exit 1 when an alert of ours was lost."""
    parser = argparse.ArgumentParser(prog="twinflow bench latency", description=__doc__)
    parser.add_argument("--rate", type=int, default=10_000, help="samples a second")
    parser.add_argument("--secs", type=float, default=15.0, help="of each run, after a warm-up")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--no-naive", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        warm_up(stage)
        for _ in range(options.rounds):
            one: dict[str, Any] = {"twinflow": ours(stage, options.rate, options.secs)}
            if not options.no_naive:
                try:
                    one["naive_bytewax"] = naive(stage, options.rate, options.secs)
                except Absent as why:
                    one["absent"] = str(why)
            rounds.append(one)
            sys.stderr.write(f"bench latency: {json.dumps(one)}\n")
            sys.stderr.flush()
    report = {**_report(rounds), "rounds": rounds, "machine": machine()}
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 1 if report["lost"] else 0


def _report(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [one["twinflow"] for one in rounds]
    pairs = [(one["naive_bytewax"], one["twinflow"]) for one in rounds if "p50_ms" in one.get("naive_bytewax", {})]
    found: dict[str, Any] = {"lost": sum(one["lost"] for one in mine)}
    for name in ("p50_ms", "p99_ms"):
        found[name] = (
            round(statistics.median(one[name] for one in mine), 2) if all(name in one for one in mine) else None
        )
        both = [theirs[name] / own[name] for theirs, own in pairs if name in own]
        found[f"naive_over_ours_{name.removesuffix('_ms')}"] = round(statistics.median(both), 2) if both else None
    found["settled_p99_ms"] = max((one["settled"].get("p99_ms", 0.0) for one in mine), default=None)
    found["settled_over_limit"] = sum(one["settled"]["over_limit"] for one in mine)
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
