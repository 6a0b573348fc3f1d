"""A broker, a feed of everything that can happen, and `python -m flows.telemetry` that may be killed over it."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka_commit import PRODUCER, Record
from connectors.shards import SHARDS
from connectors.topic_tail import TopicTail
from flows.publish import STATE_EVERY_NS
from infra.kafka.topics import ensure_topics
from operators.definition_yaml import load_fleet
from operators.frames import Frames
from tests.connectors.batches import Sent
from tests.connectors.brokers import produce, until
from tests.flows.mixed_input import PROBE, PUMP, keyed, stream
from tests.support_flow import drain, running_flow
from tests.support_kafka import BrokerProcess

Answer = TypeVar("Answer")
FLEET_YAML = 'instances:\n  - {device: "pump-*", type: pump}\n  - {device: "probe-*", type: probe}\n'
STEP_NS = 50_000_000
EPOCH_SECS = 0.2
CLOCK_STEP_NS = 90 * 10**9
FIRST = 300
"""Flows are too high five seconds after the start of a feed: detectors are warm, and a short one has alarms too."""


SETTLED = ("readings", "windows", "rows", "anomalies", "late", "gaps", "dead-letters")
"""Topics whose records depend on the input alone, not on how it was cut into fetches."""


class Feed:
    """Sends a stream of its own into every partition, a message per partition and STEP_NS, until told to stop.

    Attributes:
        acknowledged: messages that the broker has.
    """

    def __init__(self, bootstrap: str, seed: int) -> None:
        self._producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap, "message.timeout.ms": 0, "log_level": 0})
        self._start_ns = time.time_ns()
        self._streams = [
            keyed(
                stream(
                    seed + p,
                    start_ns=self._start_ns,
                    step_ns=STEP_NS,
                    suffix=f"-{seed}-{p:02}",
                    clock_step_ns=CLOCK_STEP_NS,
                    first=FIRST,
                ),
                seed + p,
            )
            for p in range(len(SHARDS))
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged = 0
        self.refused: list[str] = []

    def _run(self) -> None:
        steps = 0
        while not self._stop.wait(0.01):
            while self._start_ns + steps * STEP_NS <= time.time_ns():
                self._step()
                steps += 1
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def _step(self) -> None:
        for p, messages in enumerate(self._streams):
            key, value = next(messages)
            self._producer.produce("samples", value, key, p, on_delivery=self._delivered)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.refused.append(str(error))

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.refused == []


class World:
    """Everything one sequence of mishaps happens to.

    Args:
        folder: an empty one.
        fleet: text of the fleet file.
        types: twin types by name, as YAML.

    Attributes:
        data: folder of the flow's state. topic: what the flow reads; both may be changed between two runs.
        acknowledged: messages that `feed` and `tick` brought into `samples`.
    """

    def __init__(self, folder: Path, fleet: str = FLEET_YAML, **types: str) -> None:
        self.folder, self.data = folder, folder / "data"
        self.fleet, self.types = folder / "fleet.yaml", folder / "types"
        self.types.mkdir(parents=True)
        self.fleet.write_text(fleet)
        for name, text in (types or {"pump": PUMP, "probe": PROBE}).items():
            (self.types / f"{name}.yaml").write_text(text)
        self.type_of = load_fleet(self.fleet, self.types).type_of
        self.log = folder / "flow.log"
        self.topic = "samples"
        self.acknowledged = 0
        self.server = BrokerProcess(folder / "kafka")
        self.bootstrap = self.server.start()
        ensure_topics(self.bootstrap)
        self._asking = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "telemetry", "log_level": 0})

    def close(self) -> None:
        """Stop the broker."""
        self._asking.close()
        self.server.stop(signal.SIGKILL)

    def variables(self, epoch_secs: float = EPOCH_SECS) -> dict[str, str]:
        """What the flow finds in its environment."""
        return {
            "TWINFLOW_KAFKA": self.bootstrap,
            "TWINFLOW_DATA": str(self.data),
            "TWINFLOW_FLEET": str(self.fleet),
            "TWINFLOW_TYPES": str(self.types),
            "TWINFLOW_EPOCH_SECS": str(epoch_secs),
            "TWINFLOW_SAMPLES_TOPIC": self.topic,
        }

    @contextmanager
    def flow(self, epoch_secs: float = EPOCH_SECS, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """The flow as a process of its own; killed at the end if it still runs."""
        variables = self.variables(epoch_secs) | more
        with running_flow("flows.telemetry", variables, self.log, append="TWINFLOW_PROCESS" in more) as process:
            yield process

    def drain(self, process: subprocess.Popen[bytes]) -> None:
        """Stop the flow as `up` does."""
        drain(process, self.log)

    def committed(self) -> dict[int, int]:
        """Source offsets the flow has committed."""
        found = self._answer(lambda parts: self._asking.committed(parts, timeout=20), self.topic)
        return {tp.partition: max(tp.offset, 0) for tp in found}

    def live_ends(self) -> int:
        """Records on the live path, shard by shard added up."""

        def ends(parts: list[TopicPartition]) -> list[int]:
            return [self._asking.get_watermark_offsets(part, timeout=20)[1] for part in parts]

        return sum(self._answer(ends, "twin-live"))

    def _answer(self, ask: Callable[[list[TopicPartition]], list[Answer]], topic: str) -> list[Answer]:
        """What the broker says; one that has just come back refuses for a while."""
        answers: list[list[Answer]] = []

        def answered() -> bool:
            try:
                answers.append(ask([TopicPartition(topic, p) for p in range(len(SHARDS))]))
            except KafkaException:
                return False
            return True

        until(answered, "an answer of the broker", 60)
        return answers[0]

    def state_bytes(self) -> int:
        """Bytes in the state logs."""
        return sum(path.stat().st_size for path in self.state.glob("*.log"))

    def done(self, partitions: Iterable[int] = range(len(SHARDS))) -> int:
        """Records that the flow has committed in some partitions, or all."""
        committed = self.committed()
        return sum(committed[p] for p in partitions)

    def await_progress(self, process: subprocess.Popen[bytes], records: int) -> None:
        """Wait until the flow has committed so many more records."""
        goal = self.done() + records

        def there() -> bool:
            assert process.poll() is None, self.log.read_text()
            return self.done() >= goal

        until(there, f"{records} more records", 60)

    def await_end(self, process: subprocess.Popen[bytes], deadline_secs: float = 90) -> None:
        """Wait until the flow has committed all that its topic holds."""

        def there() -> bool:
            assert process.poll() is None, self.log.read_text()
            return self.committed() == ends

        ends = self.ends()
        until(there, f"the end of {self.topic} {ends}", deadline_secs)

    def ends(self) -> dict[int, int]:
        """Offset after the last record of each partition that the flow reads."""
        tail = TopicTail(self.bootstrap, self.topic)
        try:
            return tail.ends()
        finally:
            tail.close()

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Have the broker delete the start of a partition, as retention does."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        admin.delete_records([TopicPartition(topic, partition, offset)])[TopicPartition(topic, partition)].result(20)

    @contextmanager
    def feed(self, seed: int, through: str = "") -> Iterator[Feed]:
        """Everything that can happen, into all partitions, as long as the context lasts; by another address where
        one is given."""
        with Feed(through or self.bootstrap, seed) as feed:
            yield feed
        self.acknowledged += feed.acknowledged

    def tick(self) -> None:
        """One tick into every partition."""
        ticks = [Sent(None, b'{"tick":%d}' % time.time_ns())]
        for p in range(len(SHARDS)):
            produce(self.bootstrap, "samples", ticks, partition=p)
            self.acknowledged += 1

    @property
    def state(self) -> Path:
        """The folder of the state logs."""
        return self.data / "state" / "telemetry" / "shards"

    def run_to_end(self) -> None:
        """Let the flow work all off, and drain it."""
        with self.flow() as process:
            self.await_end(process)
            self.drain(process)

    def settle(self) -> None:
        """Work all off, and have the last state of every twin told."""
        with self.flow() as process:
            self.await_end(process)
            time.sleep(1.1 * STATE_EVERY_NS / 1e9)  # that much arrival time lies between two tellings
            self.tick()
            self.await_end(process)
            self.drain(process)

    def read(self, topic: str) -> list[Frames]:
        """All of a topic, read_committed."""
        tail = TopicTail(self.bootstrap, topic)
        try:
            return list(tail.read())
        finally:
            tail.close()

    def settled(self) -> list[Record]:
        """All records of `SETTLED`."""
        return [record for topic in SETTLED for record in self.records(topic)]

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, read_committed, in the order of each partition."""
        return [
            Record(topic, f.key(row), f.value(row), tuple(f.headers.get(row, {}).items()), f.partition)
            for f in self.read(topic)
            for row in range(len(f))
        ]
