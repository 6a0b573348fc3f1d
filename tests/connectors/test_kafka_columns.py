"""The columnar consumer reads from a real broker what an ordinary consumer reads, and survives what brokers do."""

from __future__ import annotations

import inspect
import signal
import socket
from importlib.metadata import version
from pathlib import Path

import kafka.errors as kafka_errors
import numpy as np
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from kafka import KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.consumer.fetcher import Fetcher, IsolationLevel
from kafka.net.transport import KafkaTCPTransport
from kafka.record.memory_records import MemoryRecords

from connectors.kafka_columns import ColumnConsumer, OffsetAheadError, OffsetExpiredError, _ColumnarRecords, _receive
from connectors.kafka_commit import PRODUCER
from operators.frames import FAULT
from tests.connectors.batches import NOW_MS, Sent, as_array, batch, messages
from tests.connectors.brokers import by_columns, by_confluent, new_topic, produce, rows, until
from tests.support_kafka import BrokerProcess

MIXED = [
    Sent(b"k", b'{"a": 1}'),
    Sent(None, b"no key"),
    Sent(b"k", None),
    Sent(b"", b""),
    Sent(b"k", b"headers", (("kind", b"tick"), ("seq", b"1"), ("seq", b"2"), ("none", None), ("ü", b"\xff"))),
    Sent(b"k", b"x" * 300, ms=NOW_MS + 1),
]


def thousand(count: int) -> list[Sent]:
    return [Sent(f"d{i % 7}".encode(), f'{{"device": "d{i % 7}", "ts": {i}, "v": 1.5}}'.encode()) for i in range(count)]


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("clock", ["LogAppendTime", "CreateTime"])
def test_every_codec_reads_as_an_ordinary_consumer_reads_it(broker: str, codec: str, clock: str) -> None:
    topic = new_topic(broker, message_timestamp_type=clock, message_timestamp_before_max_ms=str(2**62))
    produce(broker, topic, MIXED + thousand(300), compression_type=codec)
    produce(broker, topic, thousand(5), compression_type="none")
    found = rows(by_columns(broker, topic))
    assert found == by_confluent(broker, topic)
    assert len(found) == len(MIXED) + 305
    if clock == "CreateTime":
        assert found[0].arrival_ms == NOW_MS


@pytest.mark.parametrize("codec", [None, "gzip", "lz4", "zstd"])
def test_what_kafka_python_produces_reads_the_same(broker: str, codec: str | None) -> None:
    topic = new_topic(broker)
    producer = KafkaProducer(bootstrap_servers=broker, compression_type=codec, linger_ms=20)
    for one in MIXED[:4] + thousand(50):
        producer.send(topic, key=one.key, value=one.value, headers=list(one.headers), partition=0)
    producer.flush(20)
    producer.close()
    found = rows(by_columns(broker, topic))
    assert found == by_confluent(broker, topic)
    assert len(found) == 54


@pytest.mark.parametrize("size", [1, 10, 1000])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_any_number_of_messages_per_record_batch_reads_the_same(broker: str, size: int, codec: str) -> None:
    topic = new_topic(broker)
    count = {1: 100, 10: 300, 1000: 2000}[size]
    produce(broker, topic, thousand(count), batch_num_messages=size, compression_type=codec)
    found = by_columns(broker, topic)
    assert rows(found) == by_confluent(broker, topic)
    assert all(len(one.headers) == 0 for one in found)
    assert found[-1].end_offset == count


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_reading_starts_in_the_middle_of_a_batch(broker: str, codec: str) -> None:
    topic = new_topic(broker)
    produce(broker, topic, thousand(100), compression_type=codec)
    whole = rows(by_columns(broker, topic))
    for first in (1, 50, 99):
        assert rows(by_columns(broker, topic, first=first)) == whole[first:]


def test_small_fetches_give_the_same_as_large_ones(broker: str) -> None:
    topic = new_topic(broker)
    produce(broker, topic, thousand(3000), batch_num_messages=37, compression_type="lz4")
    cut = by_columns(broker, topic, fetch_bytes=2000)
    assert len(cut) > 5
    assert rows(cut) == rows(by_columns(broker, topic))


def transactions(broker: str, topic: str) -> None:
    """Committed, aborted and interleaved transactions of two producers, and plain records between."""
    a, b = (Producer({"bootstrap.servers": broker, "transactional.id": f"{topic}-{n}"}) for n in "ab")
    for one in (a, b):
        one.init_transactions(20)
    for round_ in range(6):
        for one, name in ((a, "a"), (b, "b")):
            one.begin_transaction()
            for i in range(4):
                one.produce(topic, f"{name}{round_}.{i}".encode(), partition=0)
            one.flush(20)
        produce(broker, topic, [Sent(None, f"plain{round_}".encode())], linger_ms=0)
        (a.abort_transaction if round_ % 2 else a.commit_transaction)(20)
        (b.abort_transaction if round_ % 3 else b.commit_transaction)(20)


def test_aborted_transactions_are_passed_over_and_committed_ones_read(broker: str) -> None:
    topic = new_topic(broker)
    transactions(broker, topic)
    found = by_columns(broker, topic)
    assert rows(found) == by_confluent(broker, topic)
    values = [m.value or b"" for m in rows(found)]
    assert sum(v.startswith(b"a") for v in values) == 12
    assert sum(v.startswith(b"b") for v in values) == 8
    last = by_confluent(broker, topic, isolation="read_uncommitted")[-1].offset
    assert found[-1].end_offset > last + 1  # control records count
    for first in range(0, last, 7):
        assert rows(by_columns(broker, topic, first=first)) == by_confluent(broker, topic, first=first)


def test_an_open_transaction_is_not_read_and_holds_back_what_follows(broker: str) -> None:
    topic = new_topic(broker)
    produce(broker, topic, [Sent(None, b"before")])
    producer = Producer({"bootstrap.servers": broker, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=0)
    producer.flush(20)
    produce(broker, topic, [Sent(None, b"after")])
    assert [m.value for m in rows(by_columns(broker, topic))] == [b"before"]
    producer.commit_transaction(20)
    assert [m.value for m in rows(by_columns(broker, topic))] == [b"before", b"open", b"after"]


def test_gaps_left_by_compaction_read_as_an_ordinary_consumer_reads_them(broker: str) -> None:
    often = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": broker})
    cleaner = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[often])
    admin.incremental_alter_configs([cleaner])[cleaner].result(20)
    topic = new_topic(
        broker,
        cleanup_policy="compact",
        segment_bytes="1048576",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
        segment_ms="100",
        delete_retention_ms="0",
    )
    produce(broker, topic, [Sent(f"k{i % 5}".encode(), str(i).encode()) for i in range(100)], batch_num_messages=9)

    def gaps() -> bool:
        produce(broker, topic, [Sent(b"k0", b"again")], linger_ms=0)
        return len(by_confluent(broker, topic)) < 60

    until(gaps, "compaction", 60)
    found = by_columns(broker, topic)
    assert (np.diff(np.concatenate([one.offset for one in found])) > 1).any()
    assert rows(found) == by_confluent(broker, topic)


def test_a_compression_bomb_becomes_a_row_that_says_so_and_its_neighbours_stay(broker: str) -> None:
    topic = new_topic(broker, max_message_bytes=str(4 << 20))
    produce(broker, topic, [Sent(b"k", b"one")])
    produce(broker, topic, [Sent(b"k", bytes(80 << 20))], compression_type="gzip", message_max_bytes=200 << 20)
    produce(broker, topic, [Sent(b"k", b"two")])
    found = rows(by_columns(broker, topic))
    assert [m.value for m in found] == [b"one", None, b"two"]
    assert [m.headers for m in found] == [{}, {FAULT: b"bad_compression"}, {}]
    assert [m.offset for m in found] == [0, 1, 2]
    assert found[1].arrival_ms > NOW_MS


def test_deleted_data_are_named_at_the_start_and_while_reading(broker: str) -> None:
    topic = new_topic(broker)
    produce(broker, topic, thousand(50))
    reading = ColumnConsumer(broker, topic, {0: 5}, fetch_bytes=1000)
    admin, partition = AdminClient({"bootstrap.servers": broker}), TopicPartition(topic, 0, 20)
    admin.delete_records([partition])[partition].result(20)
    says = rf"^{topic}/0: next offset 5 is no longer on the broker, which starts at 20; 15 records were deleted unread"
    try:
        with pytest.raises(OffsetExpiredError, match=says) as caught:
            until(lambda: reading.poll(100) and False, "an error")
        assert (caught.value.wanted, caught.value.first) == (5, 20)
        assert reading.first_offsets() == {0: 20}
    finally:
        reading.close()
    with pytest.raises(OffsetExpiredError, match=says):
        ColumnConsumer(broker, topic, {0: 5})
    assert rows(by_columns(broker, topic, first=20))[0].offset == 20


def test_an_offset_that_was_never_written_is_named(broker: str) -> None:
    topic = new_topic(broker)
    produce(broker, topic, thousand(5))
    consumer = ColumnConsumer(broker, topic, {0: 9})
    try:
        with pytest.raises(OffsetAheadError, match=f"^{topic}/0: next offset 9 lies behind the end 5"):
            until(lambda: consumer.poll(100) and False, "an error")
    finally:
        consumer.close()


def test_damage_on_the_brokers_disk_is_an_error_at_its_offset_and_never_data(broker: str, broker_folder: Path) -> None:
    topic = new_topic(broker)
    for i in range(3):
        produce(broker, topic, [Sent(None, f"value {i}".encode())])
    log = broker_folder / "log" / f"{topic}-0" / f"{0:020d}.log"
    raw = log.read_bytes()
    with log.open("r+b") as file:
        file.seek(raw.index(b"value 1"))
        file.write(b"VALUE")
    consumer = ColumnConsumer(broker, topic, {0: 0})
    read: list[bytes | None] = []

    def polled() -> bool:
        read.extend(m.value for one in consumer.poll(100) for m in messages(one))
        return False

    try:
        for _ in range(2):
            with pytest.raises(kafka_errors.CorruptRecordError, match=f"{topic}/0: the record batch at offset 1 fails"):
                until(polled, "an error")
        assert read == [b"value 0"]
    finally:
        consumer.close()


@pytest.mark.usefixtures("sockets_closed")
def test_consumer_and_producer_ride_through_a_killed_broker(tmp_path: Path) -> None:
    server = BrokerProcess(tmp_path / "kafka")
    bootstrap = server.start()
    try:
        topic = new_topic(bootstrap)
        producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap, "log_level": 0})
        consumer = ColumnConsumer(bootstrap, topic, {0: 0})
        read: list[bytes | None] = []
        sent = 0

        def caught_up() -> bool:
            producer.poll(0)
            read.extend(m.value for one in consumer.poll(50) for m in messages(one))
            return len(read) >= sent

        def send(count: int) -> None:
            nonlocal sent
            for _ in range(count):
                producer.produce(topic, str(sent).encode(), partition=0)
                sent += 1

        send(100)
        until(caught_up, "the first part")
        send(100)
        producer.poll(0)
        server.stop(signal.SIGKILL)
        send(100)
        server.start()
        send(100)
        until(caught_up, "all after the restart", 40)
        assert read == [str(i).encode() for i in range(400)]
        consumer.close()
    finally:
        server.stop(signal.SIGKILL)


def test_the_private_parts_of_kafka_python_leaned_on_are_as_they_were() -> None:
    assert version("kafka-python") == "3.0.12"
    base = Fetcher.PartitionRecords
    assert list(inspect.signature(base.__init__).parameters) == [
        *("self", "fetch_offset", "tp", "records", "key_deserializer", "value_deserializer", "check_crcs"),
        *("isolation_level", "aborted_transactions", "metric_aggregator", "on_drain"),
    ]
    unpack = list(inspect.signature(base._unpack_records).parameters)
    assert unpack == ["self", "tp", "records", "key_deserializer", "value_deserializer"]
    init, drain = inspect.getsource(base.__init__), inspect.getsource(base.drain)
    assert "self._unpack_records(tp, records, key_deserializer, value_deserializer)" in init
    assert "self._maybe_skip_record" in init
    assert "self.record_iterator = None" in drain
    assert "self.on_drain(self)" in drain
    fetched = inspect.getsource(Fetcher)
    assert fetched.count("self.PartitionRecords(") == 1
    assert "if part.next_fetch_offset == position.offset:" in fetched
    assert "part.next_fetch_offset, '', part.leader_epoch" in fetched
    assert "raise Errors.OffsetOutOfRangeError({tp: fetch_offset})" in fetched
    assert "collections.deque(" in init and "key=lambda txn: txn.first_offset" in init
    raw = batch([Sent(b"k", b"v")])
    assert bytes(MemoryRecords(raw)._buffer) == raw
    reads = inspect.getsource(KafkaTCPTransport._read_from_sock)
    assert "recvd_data, err = self._sock_recv()" in reads and "if err:" in reads
    assert KafkaTCPTransport._sock_recv is _receive


def test_what_is_received_is_all_there_is_and_an_end_is_said() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        transport = KafkaTCPTransport(None, ours)
        assert _receive(transport) == (b"", None)
        theirs.sendall(bytes(range(256)) * 100)
        assert _receive(transport) == (bytes(range(256)) * 100, None)
        theirs.close()
        data, fault = _receive(transport)
        assert data == b"" and isinstance(fault, kafka_errors.KafkaConnectionError)


def test_the_unpacking_behaves_in_the_fetchers_hands_as_the_fetcher_expects() -> None:
    raw = batch([Sent(b"k", b"a"), Sent(b"k", b"b")], base=5) + batch([Sent(b"k", b"c")], base=7)
    drained: list[object] = []
    part = _ColumnarRecords(
        6,
        KafkaPartition("t", 0),
        MemoryRecords(raw),
        isolation_level=IsolationLevel.READ_COMMITTED,
        on_drain=drained.append,
    )
    assert part
    [one] = part.take(16)
    assert [m.value for m in messages(one.frames)] == [b"b", b"c"]
    assert (part.next_fetch_offset, part.records_read, part.bytes_read) == (8, 2, len(raw))
    assert not part
    assert drained == [part]
    assert as_array(raw).size == len(raw)
