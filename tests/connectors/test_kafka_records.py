"""Whole records from a real broker: reading on, reading back, and what happens to offsets that are gone."""

from __future__ import annotations

import logging
import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka_commit import Record, Transactions
from connectors.kafka_records import FIRST_BACK, Got, RecordReader, ends_of, read_back, starts_of
from tests.connectors.batches import Sent
from tests.connectors.brokers import new_topic, produce, until

HOUR_NS = 3600 * 10**9


def sent(*values: str) -> list[Sent]:
    return [Sent(b"k", value.encode()) for value in values]


def values(found: list[Got]) -> list[str]:
    return [(got.value or b"").decode() for got in found]


def read_all(reader: RecordReader, count: int) -> list[Got]:
    found: list[Got] = []

    def read() -> bool:
        found.extend(reader.poll(0.1))
        return len(found) >= count

    until(read, f"{count} records", 60)
    return found


def test_records_come_in_order_with_their_arrival_and_the_ends_are_noticed(broker: str) -> None:
    topic, before = new_topic(broker, partitions=2), time.time_ns()
    produce(broker, topic, sent("a", "b"), partition=1)
    reader = RecordReader(broker, {(topic, 0): 0, (topic, 1): 1}, name="test")
    assert reader.behind == {(topic, 0), (topic, 1)}
    [got] = read_all(reader, 1)
    assert (got.topic, got.partition, got.offset, got.key, got.value) == (topic, 1, 1, b"k", b"b")
    assert before - 10**9 < got.arrival_ns <= time.time_ns()
    until(lambda: reader.poll(0.1) == [] and not reader.behind, "both ends", 60)
    reader.close()


def test_what_was_not_committed_is_not_read(broker: str) -> None:
    source, topic = new_topic(broker), new_topic(broker)
    for value in ("dropped", "kept", "kept too"):  # each copy fences the one before, whose open transaction ends there
        made = Transactions(broker, group=topic, shard="x", sources=[(source, 0)])
        made.send([Record(topic, b"k", value.encode(), partition=0)])
        if value != "dropped":
            made.commit_at({})
    found, since_ns = read_back(broker, topic, 1, look_back_ns=HOUR_NS)
    assert (values(found), since_ns) == (["kept", "kept too"], 0)


def test_reading_back_goes_as_far_as_it_must(broker: str) -> None:
    topic, count = new_topic(broker, partitions=2), 3 * FIRST_BACK
    assert read_back(broker, topic, 2, look_back_ns=HOUR_NS) == ([], 0)
    produce(broker, topic, sent(*(str(i) for i in range(count))))
    found, since_ns = read_back(broker, topic, 2, look_back_ns=HOUR_NS)
    assert (values(found), since_ns) == ([str(i) for i in range(count)], 0)
    time.sleep(0.01)  # arrivals are whole milliseconds
    produce(broker, topic, sent("last"))
    found, since_ns = read_back(broker, topic, 2, look_back_ns=0)
    assert len(found) == FIRST_BACK
    assert (found[-1].value, since_ns) == (b"last", found[0].arrival_ns)


def test_what_comes_after_the_ends_is_all_that_is_new(broker: str) -> None:
    topic = new_topic(broker, partitions=2)
    produce(broker, topic, sent("old"))
    reader = RecordReader(broker, ends_of(broker, topic, 2), name="test")
    produce(broker, topic, sent("new"))
    assert values(read_all(reader, 1)) == ["new"]
    reader.close()


def test_an_offset_that_is_gone_is_told_and_what_is_kept_is_read(broker: str, caplog: pytest.LogCaptureFixture) -> None:
    topic = new_topic(broker, partitions=3)
    for partition in range(3):
        produce(broker, topic, sent("a", "b", "c"), partition=partition)
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    [deleted] = admin.delete_records([TopicPartition(topic, 0, 2)]).values()
    deleted.result(20)
    with caplog.at_level(logging.ERROR):
        starts = starts_of(broker, {(topic, 0): 0, (topic, 1): 9, (topic, 2): None})
    assert starts == {(topic, 0): 2, (topic, 1): 0, (topic, 2): 0}
    assert [r.getMessage() for r in caplog.records] == [
        f"{topic}/0: 2 records were deleted before they were read",
        f"{topic}/1: read up to offset 9, but it ends at 3: made anew; read from its start",
    ]
