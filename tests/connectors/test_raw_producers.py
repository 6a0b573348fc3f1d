"""Producers that know only docs/wire.md, by plain kafka-python and plain confluent-kafka: equal bytes and samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from jsonschema import Draft202012Validator
from kafka import KafkaProducer

from connectors.device.link import partition_of
from tests.connectors.brokers import by_confluent, new_topic
from tests.connectors.device.reading import read
from tests.test_schemas import SAMPLES

T0 = 1_700_000_000_000_000_000
DEVICES = ["pump-7", "pump-8", "ärm-1", "line 1"]
Record: TypeAlias = "tuple[bytes | None, bytes, list[tuple[str, bytes]], int | None]"


def by_kafka_python(bootstrap: str, topic: str, records: list[Record]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    for key, value, headers, partition in records:
        producer.send(topic, key=key, value=value, headers=headers, partition=partition)
    producer.flush(30)
    producer.close()


def by_confluent_kafka(bootstrap: str, topic: str, records: list[Record]) -> None:
    settings = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "partitioner": "murmur2_random"}
    producer = Producer(settings)
    for key, value, headers, partition in records:
        producer.produce(topic, value, key, -1 if partition is None else partition, headers=list(headers))
    assert producer.flush(30) == 0


def records() -> list[Record]:
    """One of each form of the page, for every device."""
    made: list[Record] = []
    for n, device in enumerate(DEVICES):
        key, ts = device.encode(), T0 + n
        shapes: list[dict[str, object]] = [
            {"device": device, "ts": ts, "signals": {"flow": 1.5, "pos": [0, 0.25, 9.75]}, "seq": 0, "boot": "b"},
            {"device": device, "ts": 1_700_000_000.5, "sensor": "n", "v": 7, "seq": 1, "boot": "b"},
            {"device": device, "ts": "2023-11-14T22:13:21Z", "report": {"task": "lift"}, "seq": 2, "boot": "b"},
        ]
        for shape in shapes:
            Draft202012Validator(SAMPLES).validate(shape)
            made.append((key, json.dumps(shape).encode(), [("clock", b"trusted")], None))
        rows = pa.record_batch({"ts": [ts + 10**9, ts + 2 * 10**9], "flow": [2.5, None], "n": [1.0, 2.0]})
        schema = rows.schema.serialize().to_pybytes()
        name = hashlib.sha256(schema).hexdigest()[:16].encode()
        arrow = [("content-type", b"application/vnd.apache.arrow.message"), ("schema-id", name)]
        made.append((key, schema, [*arrow, ("kind", b"schema")], None))
        numbered = [*arrow, ("seq", b"3"), ("boot", b"b")]
        made.append((key, rows.serialize().to_pybytes(), numbered, None))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_batch(rows)
        stream = [("content-type", b"application/vnd.apache.arrow.stream"), ("seq", b"4"), ("boot", b"b")]
        made.append((key, sink.getvalue().to_pybytes(), stream, None))
    made += [(None, b'{"tick":1700000009}', [("kind", b"tick")], partition) for partition in range(12)]
    return made


def test_both_clients_put_the_same_bytes_in_the_same_place_and_telemetry_reads_equal_samples(broker: str) -> None:
    senders: list[Callable[[str, str, list[Record]], None]] = [by_kafka_python, by_confluent_kafka]
    topics = []
    for send in senders:
        topics.append(new_topic(broker, partitions=12))
        send(broker, topics[-1], records())
    for partition in range(12):
        one, other = (
            [(m.key, m.value, m.headers) for m in by_confluent(broker, topic, partition=partition)] for topic in topics
        )
        assert one == other
        assert {key for key, _, _ in one if key} == {d.encode() for d in DEVICES if here(d, partition)}
    mine, theirs = (read(broker, topic, partitions=12) for topic in topics)
    assert mine.dead == []
    assert mine == theirs
    assert mine.numbers == {device: [0, 1, 2, 3, 4] for device in DEVICES}
    for n, device in enumerate(DEVICES):
        samples = [(s, ts - T0 - n, v) for d, s, ts, v in mine.samples if d == device]
        block = [("flow", 10**9, 2.5), ("n", 10**9, 1.0), ("n", 2 * 10**9, 2.0)]
        assert samples == [
            ("flow", 0, 1.5), ("pos.0", 0, 0.0), ("pos.1", 0, 0.25), ("pos.2", 0, 9.75), ("n", 500_000_000 - n, 7.0),
            *block, *block,
        ]  # fmt: skip
    assert len(mine.reports) == len(DEVICES)


def here(device: str, partition: int) -> bool:
    return partition_of(device.encode(), 12) == partition


@pytest.mark.parametrize("device", DEVICES)
def test_the_sdk_puts_a_device_where_every_producer_does(broker: str, device: str) -> None:
    producer = KafkaProducer(bootstrap_servers=broker)
    topic = new_topic(broker, partitions=12)
    placed = producer.send(topic, key=device.encode(), value=b"{}").get(30).partition
    producer.close()
    assert placed == partition_of(device.encode(), 12)
