"""The embedded broker, run for real: empty folder, both clients, kill, restart, clean stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaTopicPartition
from kafka.errors import KafkaTimeoutError
from pytest import TempPathFactory, raises

from infra.kafka.broker import Broker
from infra.kafka.errors import BrokerError
from infra.kafka.ready import wait_ready, why_not_ready
from infra.kafka.topics import Topic, ensure_topics
from tests.support_kafka import BrokerProcess, free_ports

TOPIC = Topic("t", "device", 1, {"message.timestamp.type": "LogAppendTime"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: TempPathFactory) -> Iterator[BrokerProcess]:
    """A folder whose name tests what a home folder may be called: a space and letters outside ASCII."""
    server = BrokerProcess(tmp_path_factory.mktemp("kafka") / "größe 1")
    server.start()
    try:
        ensure_topics(server.broker.bootstrap, [TOPIC])
        yield server
    finally:
        server.stop()


def broker(data_dir: Path, *jars: Path, controller_port: int | None = None) -> Broker:
    port, other = free_ports(2)
    return Broker(data_dir, port, controller_port or other, jars)


def produce(bootstrap: str, topic: str, values: list[bytes]) -> list[KafkaError | None]:
    failed: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "log_level": 0, "message.timeout.ms": 15_000})
    for value in values:
        producer.produce(topic, value, b"key", on_delivery=lambda error, _: failed.append(error))
    assert producer.flush(30) == 0
    return failed


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first `count` values of partition 0, in order."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False, "log_level": 0}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        values: list[bytes] = []
        while len(values) < count:
            messages = consumer.consume(count - len(values), timeout=20)
            assert messages, f"only {len(values)} of {count} came"
            assert [m.error() for m in messages if m.error()] == []
            values += [m.value() or b"" for m in messages]
        return values
    finally:
        consumer.close()


def test_what_confluent_kafka_sends_kafka_python_reads_and_the_arrival_is_the_brokers(server: BrokerProcess) -> None:
    bootstrap = server.broker.bootstrap
    ensure_topics(bootstrap, [topic := Topic("to-python", "device", 1, TOPIC.config)])
    assert produce(bootstrap, topic.name, [b"1", b"2"]) == [None, None]
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        partition = KafkaTopicPartition(topic.name, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        records: list[Any] = []
        while len(records) < 2:
            polled = consumer.poll(timeout_ms=20_000)
            assert polled
            records += polled[partition]
        assert [record.value for record in records] == [b"1", b"2"]
        assert {record.timestamp_type for record in records} == {1}  # 1: LogAppendTime
    finally:
        consumer.close()


def test_what_kafka_python_sends_confluent_kafka_reads(server: BrokerProcess) -> None:
    bootstrap = server.broker.bootstrap
    ensure_topics(bootstrap, [topic := Topic("from-python", "device", 1, TOPIC.config)])
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    try:
        for value in (b"1", b"2"):
            producer.send(topic.name, key=b"key", value=value).get(timeout=20)
    finally:
        producer.close()
    assert consume(bootstrap, topic.name, 2) == [b"1", b"2"]


def test_an_unknown_topic_is_not_made_by_asking_or_sending(server: BrokerProcess) -> None:
    bootstrap = server.broker.bootstrap
    producer = KafkaProducer(bootstrap_servers=bootstrap, max_block_ms=1500)
    try:
        with raises(KafkaTimeoutError):
            producer.send("nobody-made-me", value=b"x")
    finally:
        producer.close()
    assert why_not_ready(bootstrap, ["nobody-made-me"]) == "has no topic nobody-made-me"


def test_a_killed_broker_comes_back_with_everything_it_acknowledged(server: BrokerProcess) -> None:
    bootstrap = server.broker.bootstrap
    ensure_topics(bootstrap, [topic := Topic("kept", "device", 1, TOPIC.config)])
    before = [b"%d" % i for i in range(500)]
    assert set(produce(bootstrap, topic.name, before)) == {None}
    server.stop(signal.SIGKILL)
    assert why_not_ready(bootstrap) == "Connection refused"
    assert server.start() == bootstrap
    wait_ready(bootstrap, topics=[topic.name], timeout_secs=30)
    assert produce(bootstrap, topic.name, [b"after"]) == [None]
    assert consume(bootstrap, topic.name, 501) == [*before, b"after"]


def test_transactions_are_served_and_an_aborted_one_is_not_read(server: BrokerProcess) -> None:
    bootstrap = server.broker.bootstrap
    ensure_topics(bootstrap, [topic := Topic("transactions", "device", 1, TOPIC.config)])
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "flow-0", "log_level": 0})
    producer.init_transactions(30)
    for value, keep in ((b"1", True), (b"2", False), (b"3", True)):
        producer.begin_transaction()
        producer.produce(topic.name, value)
        if keep:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    assert consume(bootstrap, topic.name, 2) == [b"1", b"3"]


def test_sigterm_ends_the_broker_cleanly_and_the_next_start_formats_nothing(server: BrokerProcess) -> None:
    identity = (server.broker.log_dir / "meta.properties").read_text()
    assert server.stop() == 128 + signal.SIGTERM
    assert (server.broker.log_dir / ".kafka_cleanshutdown").exists()
    server.start()
    assert (server.broker.log_dir / "meta.properties").read_text() == identity


def test_it_listens_on_loopback_alone(server: BrokerProcess) -> None:
    import psutil

    assert server.process is not None
    connections = psutil.Process(server.process.pid).net_connections(kind="tcp")
    listening = {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    ports = (server.broker.port, server.broker.controller_port, server.broker.back_port)
    assert {(ip.removeprefix("::ffff:"), port) for ip, port in listening} == {("127.0.0.1", port) for port in ports}


def test_a_taken_port_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        taken = broker(tmp_path / "kafka", controller_port=port)
        with raises(BrokerError, match=rf"^port {port} for kafka: held by .*; stop that process or set another port$"):
            taken.prepare()
    assert not (tmp_path / "kafka").exists()


def test_a_folder_that_kafka_would_take_for_two_is_refused(tmp_path: Path) -> None:
    with raises(BrokerError, match="without commas"):
        broker(tmp_path / "a,b").prepare()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with raises(BrokerError, match=r"^kafka folder .*: Not a directory; free space or choose another$"):
        broker(tmp_path / "file" / "kafka").prepare()


def test_a_format_that_fails_says_what_java_said(tmp_path: Path) -> None:
    with raises(BrokerError, match=r"formatting failed with exit code 1 \(.*StorageTool.*\); remove the folder"):
        broker(tmp_path / "kafka", tmp_path / "no.jar").prepare()


def test_waiting_ends_at_once_when_the_process_has_ended() -> None:
    with raises(BrokerError, match="its process ended while starting"):
        wait_ready(f"127.0.0.1:{free_ports(1)[0]}", timeout_secs=60, running=lambda: False)


def test_waiting_gives_up_and_says_what_was_missing() -> None:
    with raises(BrokerError, match=r"not ready in 0.2 s \(Connection refused\)"):
        wait_ready(f"127.0.0.1:{free_ports(1)[0]}", timeout_secs=0.2)


def test_a_port_that_listens_but_is_no_broker_is_not_ready() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        assert why_not_ready(address, timeout_secs=0.3) == "listens, but answered no metadata"
