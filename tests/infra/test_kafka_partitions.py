"""Golden table key -> partition: a key must reach the same shard from every client, today and after an upgrade."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Message, Producer
from kafka import KafkaProducer
from pytest import TempPathFactory

from infra.kafka.topics import Topic, ensure_topics, load_topics
from tests.support_kafka import BrokerProcess

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "partitions.json").read_text(encoding="utf-8"))
KEYS: dict[str, int] = GOLDEN["keys"]


def sent_by_confluent(bootstrap: str, topic: str) -> dict[str, int]:
    landed: dict[str, int] = {}

    def note(error: KafkaError | None, message: Message) -> None:
        assert error is None
        landed[(message.key() or b"").decode()] = message.partition() or 0

    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": GOLDEN["partitioner"], "log_level": 0})
    for key in KEYS:
        producer.produce(topic, b"x", key.encode(), on_delivery=note)
    assert producer.flush(30) == 0
    return landed


def sent_by_kafka_python(bootstrap: str, topic: str) -> dict[str, int]:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    try:
        sent = {key: producer.send(topic, key=key.encode(), value=b"x") for key in KEYS}
        return {key: future.get(timeout=20).partition for key, future in sent.items()}
    finally:
        producer.close()


@pytest.fixture(scope="module")
def landed(tmp_path_factory: TempPathFactory) -> dict[str, dict[str, int]]:
    server = BrokerProcess(tmp_path_factory.mktemp("partitions") / "kafka")
    try:
        bootstrap = server.start()
        ensure_topics(bootstrap, [Topic("keys", "device", GOLDEN["partitions"], {})])
        return {"confluent": sent_by_confluent(bootstrap, "keys"), "python": sent_by_kafka_python(bootstrap, "keys")}
    finally:
        server.stop()


@pytest.mark.parametrize("client", ["confluent", "python"])
def test_every_key_lands_in_its_golden_partition(landed: dict[str, dict[str, int]], client: str) -> None:
    assert landed[client] == KEYS


def test_the_table_is_made_for_the_shards_and_touches_all_of_them() -> None:
    assert load_topics()["samples"].partitions == GOLDEN["partitions"]
    assert set(KEYS.values()) == set(range(GOLDEN["partitions"]))
