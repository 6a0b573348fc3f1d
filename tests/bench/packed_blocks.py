"""The samples of the reference job as packed blocks of 100, through flows/telemetry from end to end."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
from confluent_kafka import Producer

from connectors.shards import SHARDS
from flows.collect import collect
from operators.envelope import MESSAGE
from tests.bench import flow_run
from tests.bench.stage import PRODUCER, Stage
from tests.bench.truth import Deviation

ROWS, SIGNALS, DEVICES = 25, ("imu.0", "odom.0", "lidar.0", "temp"), 1000
RATE_HZ, START_NS = 25, 1_700_000_000 * 10**9
SAMPLES = ROWS * len(SIGNALS)
SCHEMA = pa.schema([("ts", pa.timestamp("ns", "UTC")), *((name, pa.float64()) for name in SIGNALS)])
SCHEMA_BYTES = SCHEMA.serialize().to_pybytes()
SCHEMA_ID = hashlib.sha256(SCHEMA_BYTES).hexdigest()[:16].encode()
HEADERS: list[tuple[str, str | bytes | None]] = [("content-type", MESSAGE.encode()), ("schema-id", SCHEMA_ID)]


def blocks(count: int) -> Iterator[tuple[bytes, int, bytes]]:
    """Key, arrival in ms and value: devices in turn, a second of each at a time."""
    rng = np.random.default_rng(7)
    values = [pa.array(np.round(rng.normal(0, 1, ROWS), 4)) for _ in range(256)]
    steps = np.arange(ROWS) * (10**9 // RATE_HZ)
    for number in range(count):
        second, device = divmod(number, DEVICES)
        at_ns = START_NS + second * 10**9
        ts = pa.array(at_ns + steps).cast(SCHEMA.field("ts").type)
        columns = [ts, *(values[(number + 64 * i) % 256] for i in range(len(SIGNALS)))]
        batch = pa.record_batch(columns, schema=SCHEMA)
        yield f"robot-{device:04d}".encode(), at_ns // 10**6 + 1000, batch.serialize().to_pybytes()


def fill(stage: Stage, topic: str, count: int) -> int:
    """Write the schema into every partition, then the blocks; the records of the topic."""
    stage.create(topic)
    producer = Producer({"bootstrap.servers": stage.bootstrap, "queue.buffering.max.kbytes": 1 << 20, **PRODUCER})
    for partition in range(len(SHARDS)):
        schema: list[tuple[str, str | bytes | None]] = [*HEADERS, ("kind", b"schema")]
        producer.produce(topic, SCHEMA_BYTES, None, partition, timestamp=START_NS // 10**6, headers=schema)
    assert producer.flush(60) == 0
    for number, (key, ms, value) in enumerate(blocks(count)):
        while True:
            try:
                producer.produce(topic, value, key, timestamp=ms, headers=HEADERS)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0
    return count + len(SHARDS)


def check(windows: pa.Table | None, count: int) -> None:
    """Every second but the last three of each device, which are still open, is a whole window of each signal.

    Raises:
        Deviation: it is not.
    """
    full, rest = divmod(count, DEVICES)
    closed = len(SIGNALS) * sum(max(full + (device < rest) - 3, 0) for device in range(DEVICES))
    counts = np.zeros(0, np.int64) if windows is None else windows["count"].to_numpy()
    whole = int((counts == ROWS).sum())
    if not counts.size == whole == closed:
        raise Deviation(f"packed blocks: {counts.size} windows, {whole} of them whole, not {closed}")


def measure(stage: Stage, count: int) -> dict[str, object]:
    """Samples a second from the first block read to the last result committed; every window must be there."""
    for number in (count // 20, count):  # the first run compiles what only blocks need
        topic = f"packed-{number}"
        stage.delete(topic)
        records = fill(stage, topic, number)
        with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
            run = flow_run.run(stage, topic, records, Path(folder))
        check(collect(stage.bootstrap, flow_run.TYPE, since_ns=run.began_ns).get("windows"), number)
        stage.delete(topic)
    samples = count * SAMPLES
    return {
        "packed_samples_per_s": round(samples / run.wall_s),
        "samples": samples,
        "samples_per_cpu_s": round(samples / run.cpu_reading_s),
        "run": {name: round(value, 3) for name, value in asdict(run).items()},
    }
