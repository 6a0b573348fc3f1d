"""Where benchmarks of the engine run: the embedded broker on a folder of its own, and topics that every job reads."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.shards import SHARDS
from connectors.topic_tail import TopicTail
from infra.kafka.ready import wait_ready
from infra.kafka.topics import ensure_topics
from tests.bench.baselines import common
from tests.connectors.brokers import until
from tests.support_kafka import BrokerProcess

Message = tuple[bytes, int, bytes]
"""Key, time in ms since 1970, value."""
PRODUCER = {"linger.ms": 20, "batch.size": 262_144, "compression.type": "lz4", "partitioner": "murmur2_random"}
common.dumps = msgspec.json.encode  # the same bytes as its own, which look for orjson at every call
LOADED_AGO_NS = 180 * 10**9
MINUTE_NS = 60 * 10**9
BACKLOG_BYTES = 1 << 30


class Stage:
    """A broker that runs from `with` to its end; the folder keeps its topics for the next time.

    Args:
        folder: for the data and the log of the broker, and for what benchmarks keep.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._server = BrokerProcess(folder / "kafka")
        self.bootstrap = ""

    def __enter__(self) -> Stage:
        self.bootstrap = self._server.start()
        ensure_topics(self.bootstrap)
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def broker(self) -> psutil.Process:
        """The process of the broker."""
        assert self._server.process is not None
        return psutil.Process(self._server.process.pid)

    def broker_cpu(self) -> float:
        """Seconds of CPU the broker has used."""
        times = self.broker.cpu_times()
        return float(times.user + times.system)

    def create(self, topic: str, *, stamped: bool = False) -> str:
        """A topic with a partition per shard; records keep the times their producers give them, as some peers need.

        Args:
            topic: its name.
            stamped: the broker stamps records with the time it appends them instead, as the topic `samples` does.
        """
        kind = "LogAppendTime" if stamped else "CreateTime"
        config = {"message.timestamp.type": kind, "retention.ms": "-1", "segment.bytes": str(BACKLOG_BYTES)}
        new = NewTopic(topic, len(SHARDS), 1, config=config)
        self._admin.create_topics([new], operation_timeout=20)[topic].result(30)
        wait_ready(self.bootstrap, topics=[topic], timeout_secs=30)
        return topic

    def output(self, job: str, *, stamped: bool = False) -> str:
        """A topic of its own for one run of a job."""
        return self.create(f"out-{job}-{uuid.uuid4().hex[:6]}", stamped=stamped)

    def delete(self, topic: str) -> None:
        """Delete a topic, if it is there."""
        if topic in self._admin.list_topics(timeout=10).topics:
            self._admin.delete_topics([topic], operation_timeout=20)[topic].result(30)
            while topic in self._admin.list_topics(timeout=10).topics:
                time.sleep(0.05)

    def delete_of(self, group: str) -> None:
        """Delete the topics a job made for itself under the name of its group."""
        for topic in self._admin.list_topics(timeout=10).topics:
            if group in topic:
                self.delete(topic)

    def forget_group(self, group: str) -> None:
        """Offsets of a consumer group that nobody is in any more; a broker just started looks for its coordinator."""

        def forgotten() -> bool:
            try:
                self._admin.delete_consumer_groups([group])[group].result(30)
            except KafkaException as error:
                return bool(error.args[0].name() == "GROUP_ID_NOT_FOUND")
            return True

        until(forgotten, f"the end of group {group}", 60)

    def load(self, topic: str, n: int) -> bool:
        """Have a topic hold the n messages of the reference job; whether they had to be written."""
        start_ns = time.time_ns() // MINUTE_NS * MINUTE_NS - LOADED_AGO_NS
        return self.fill(topic, n, common.generate(n, start_ns))

    def fill(self, topic: str, n: int, messages: Iterable[Message], **settings: str | int) -> bool:
        """Have a topic hold exactly these n messages; one that holds n already is left as it is."""
        if topic in self._admin.list_topics(timeout=10).topics:
            if self.count(topic) == n:
                return False
            self.delete(topic)
        self.create(topic)
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "queue.buffering.max.messages": 500_000,
                **PRODUCER,
                **settings,
            }
        )
        for number, (key, ms, value) in enumerate(messages):
            while True:
                try:
                    producer.produce(topic, value, key, timestamp=ms)
                    break
                except BufferError:
                    producer.poll(0.1)
            if number % 10_000 == 0:
                producer.poll(0)
        assert producer.flush(120) == 0
        assert self.count(topic) == n, f"{topic} holds {self.count(topic)} records, not {n}"
        return True

    def count(self, topic: str) -> int:
        """Records a topic holds."""
        tail = TopicTail(self.bootstrap, topic)
        try:
            return sum(tail.ends().values()) - sum(tail.first.values())
        finally:
            tail.close()

    def values(self, topic: str) -> Iterable[bytes]:
        """The values of a topic, partition by partition in the order of the log."""
        tail = TopicTail(self.bootstrap, topic)
        try:
            for frames in tail.read():
                yield from (frames.value(row) or b"" for row in range(len(frames)))
        finally:
            tail.close()

    def tick(self, topic: str, at_ns: int) -> None:
        """A tick into every partition, arriving at `at_ns`: it closes what is still open."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for partition in range(len(SHARDS)):
            producer.produce(topic, b'{"tick":%d}' % at_ns, partition=partition, timestamp=at_ns // 10**6)
        assert producer.flush(30) == 0
