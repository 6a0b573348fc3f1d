"""Topics, producers and an ordinary confluent consumer as the oracle."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from typing import cast

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.kafka_columns import ColumnConsumer
from infra.kafka.ready import wait_ready
from operators.frames import Frames
from tests.connectors.batches import Message, Sent, messages

DEADLINE_SECS = 60.0


def until(true: Callable[[], object], what: str, deadline_secs: float = DEADLINE_SECS) -> None:
    """Poll a condition; fails by name when the deadline passes first."""
    end = time.monotonic() + deadline_secs
    while not true():
        assert time.monotonic() < end, f"not in {deadline_secs:g} s: {what}"
        time.sleep(0.01)


def new_topic(bootstrap: str, *, partitions: int = 1, **config: str) -> str:
    """A topic of its own for one test; settings with _ for the dots."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    settings = {"message.timestamp.type": "LogAppendTime"} | {k.replace("_", "."): v for k, v in config.items()}
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)], operation_timeout=20)[name].result(20)
    wait_ready(bootstrap, topics=[name], timeout_secs=DEADLINE_SECS)
    return name


def produce(bootstrap: str, topic: str, sent: Iterable[Sent], *, partition: int = 0, **config: int | str) -> None:
    """One after the other by confluent-kafka, all acknowledged."""
    settings: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "linger.ms": 50}
    producer = Producer(settings | {k.replace("_", "."): v for k, v in config.items()})
    failed: list[KafkaError] = []
    for one in sent:
        producer.produce(
            topic,
            one.value,
            one.key,
            partition,
            headers=list(one.headers),
            timestamp=one.ms,
            on_delivery=lambda error, _m: failed.append(error) if error else None,
        )
    assert producer.flush(20) == 0
    assert failed == []


def by_confluent(
    bootstrap: str, topic: str, *, partition: int = 0, first: int = 0, isolation: str = "read_committed"
) -> list[Message]:
    """The oracle: everything an ordinary consumer sees up to the end of the partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "oracle",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 20,
        }
    )
    found: list[Message] = []
    try:
        consumer.assign([TopicPartition(topic, partition, first)])
        end = time.monotonic() + DEADLINE_SECS
        while time.monotonic() < end:
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                return found
            pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
            headers = {key: value or b"" for key, value in pairs}
            kind, ms = message.timestamp()
            found.append(Message(message.offset() or 0, message.key(), message.value(), headers, ms if kind else 0))
    finally:
        consumer.close()
    raise AssertionError(f"no end of {topic}/{partition}")


def by_columns(
    bootstrap: str, topic: str, *, partition: int = 0, first: int = 0, fetch_bytes: int = 4 << 20
) -> list[Frames]:
    """All `Frames` from an offset to the end of the partition."""
    consumer = ColumnConsumer(bootstrap, topic, {partition: first}, fetch_bytes=fetch_bytes)
    try:
        found: list[Frames] = []
        end = consumer.end_offsets()[partition]

        def complete() -> bool:
            found.extend(consumer.poll(100))
            return max([first, *(one.end_offset for one in found)]) >= end

        until(complete, f"{topic}/{partition} up to {end}")
        return found
    finally:
        consumer.close()


def rows(found: Iterable[Frames]) -> list[Message]:
    return [message for one in found for message in messages(one)]
