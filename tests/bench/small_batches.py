"""A backlog in record batches of 1, 10 and 1,000 messages: from the broker to columns, beside confluent-kafka that only
takes the values. Devices send small ones, and a broker never merges them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import Consumer, TopicPartition

from connectors.kafka_columns import ColumnConsumer
from connectors.shards import SHARDS
from operators.decode import Decoder
from operators.definition_yaml import load_fleet
from operators.roster import Roster
from tests.bench import flow_run
from tests.bench.baselines import common
from tests.bench.stage import Stage

SIZES = (1, 10, 1000)
PASSES = 5
"""Times a topic is read; the first one warms up and does not count."""
START_NS = 1_700_000_000 * 10**9
POLL_MS = 500


def measure(stage: Stage, n: int) -> dict[str, object]:
    """Messages per CPU-second of the reading process, by batch size; ratios to 1,000 and to confluent-kafka."""
    ours: dict[int, float] = {}
    theirs: dict[int, float] = {}
    for size in SIZES:
        topic = f"batches-{size}-{n}"
        settings: dict[str, str | int] = {"batch.num.messages": size, "linger.ms": 1000, "compression.type": "none"}
        stage.fill(topic, n, common.generate(n, START_NS), **settings)
        ours[size] = _per_cpu_second(to_columns(stage, topic), n)
        theirs[size] = _per_cpu_second(untouched(stage, topic), n)
    return {
        "small_batch_ratio": {str(size): round(ours[size] / ours[1000], 3) for size in SIZES if size < 1000},
        "over_confluent": {str(size): round(ours[size] / theirs[size], 2) for size in SIZES},
        "to_columns_per_cpu_s": {str(size): round(rate) for size, rate in ours.items()},
        "confluent_untouched_per_cpu_s": {str(size): round(rate) for size, rate in theirs.items()},
        "messages": n,
    }


def _per_cpu_second(passes: Iterator[int], n: int) -> float:
    rates = []
    for _ in range(PASSES):
        assert next(passes) == 0  # connected, nothing read
        began = time.process_time()
        assert next(passes) == n
        rates.append(n / (time.process_time() - began))
    return statistics.median(rates[1:])


def to_columns(stage: Stage, topic: str) -> Iterator[int]:
    """Our source and our decoder, as each shard of the flow has them; the topic again at every second `next`."""
    fleet = load_fleet(flow_run.FLEET, flow_run.TYPES)
    starts = dict.fromkeys(range(len(SHARDS)), 0)
    decoders = {p: Decoder(Roster(fleet.type_of)) for p in starts}
    while True:
        with closing(ColumnConsumer(stage.bootstrap, topic, starts)) as consumer:
            ends = consumer.end_offsets()
            at, read = dict(starts), 0
            yield read
            while at != ends:
                for frames in consumer.poll(POLL_MS):
                    decoders[frames.partition].push(frames)
                    at[frames.partition] = frames.end_offset
                    read += len(frames)
            yield read


def untouched(stage: Stage, topic: str) -> Iterator[int]:
    """confluent-kafka, tuned for throughput, taking the value of each message; again at every second `next`."""
    settings = {"bootstrap.servers": stage.bootstrap, "group.id": "bench-untouched", "enable.auto.commit": False}
    fast = {"fetch.queue.backoff.ms": 10, "queued.min.messages": 200_000, "fetch.message.max.bytes": 8 << 20}
    n = stage.count(topic)
    with closing(Consumer({**settings, **fast, "isolation.level": "read_committed"})) as consumer:
        while True:
            consumer.assign([TopicPartition(topic, p, 0) for p in range(len(SHARDS))])
            read = 0
            yield read
            while read < n:
                read += len([message.value() for message in consumer.consume(10_000, 0.2)])
            yield read
