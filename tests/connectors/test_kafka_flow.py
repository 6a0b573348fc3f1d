"""Source and sinks in a real dataflow: killed, drained, resumed, nothing lost and nothing twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from connectors.kafka_columns import ColumnConsumer
from connectors.kafka_commit import PRODUCER, CommitError, Record, Settled
from connectors.kafka_flow import CommittedSink, LiveSink, ShardSource, Worker
from connectors.shards import SHARDS
from operators.errors import TwinflowError
from operators.frames import Frames
from tests.connectors.batches import Sent
from tests.connectors.brokers import by_confluent, new_topic, produce, until

ROOT = Path(__file__).parents[2]
PARTITIONS = len(SHARDS)


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The test flow as a process of its own; killed at the end if it still runs."""
    command = [sys.executable, "-m", "tests.connectors.flow_for_tests", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"started\n"
            yield process
        finally:
            process.kill()


class Feed:
    """Sends numbered records round the partitions at a steady pace until told to stop."""

    def __init__(self, bootstrap: str, topic: str, pace_s: float = 0.01) -> None:
        self._producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap})
        self._topic, self._pace_s = topic, pace_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def _run(self) -> None:
        while not self._stop.wait(self._pace_s):
            for _ in range(20):
                self._producer.produce(self._topic, str(self.sent).encode(), partition=self.sent % PARTITIONS)
                self.sent += 1
            self._producer.poll(0)
        assert self._producer.flush(20) == 0

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class Reader:
    """Numbers committed to a topic so far, per partition."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = ColumnConsumer(bootstrap, topic, dict.fromkeys(range(PARTITIONS), 0))
        self.found: list[list[int]] = [[] for _ in range(PARTITIONS)]

    def count(self) -> int:
        for frames in self._consumer.poll(20):
            self.found[frames.partition] += [int(frames.value(row) or b"-1") for row in range(len(frames))]
        return sum(map(len, self.found))

    def reach(self, count: int) -> None:
        until(lambda: self.count() >= count, f"{count} results", 30)

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def topics(broker: str) -> Iterator[tuple[str, str, str, Reader, Reader]]:
    """Source, settled and live topic, and readers of the last two."""
    source, settled, live = (new_topic(broker, partitions=PARTITIONS) for _ in range(3))
    readers = [Reader(broker, topic) for topic in (settled, live)]
    yield source, settled, live, readers[0], readers[1]
    for reader in readers:
        reader.close()


def test_killed_at_any_point_each_input_comes_out_exactly_once_and_a_drain_resumes(
    broker: str, topics: tuple[str, str, str, Reader, Reader]
) -> None:
    source, settled, live, results, values = topics
    arguments = (broker, source, settled, live)
    dice = random.Random(7)
    with Feed(broker, source) as feed:
        for _ in range(3):
            with running(*arguments) as flow:
                results.reach(results.count() + dice.randrange(50, 600))
                flow.send_signal(signal.SIGKILL)
                assert flow.wait() == -signal.SIGKILL
        with running(*arguments) as flow:
            results.reach(results.count() + 100)
            flow.send_signal(signal.SIGTERM)
            assert flow.wait(20) == 0
    with running(*arguments) as flow:
        results.reach(feed.sent)
        flow.send_signal(signal.SIGTERM)
        assert flow.wait(20) == 0
    expect = [list(range(p, feed.sent, PARTITIONS)) for p in range(PARTITIONS)]
    assert results.found == expect
    for p in (0, 11):
        assert [int(m.value or b"-1") for m in by_confluent(broker, settled, partition=p)] == expect[p]
    values.reach(feed.sent)
    assert {v for part in values.found for v in part} == set(range(feed.sent))  # at least once: repeats say the same


def taken(worker: Worker, partition: int, count: int) -> list[Frames]:
    found: list[Frames] = []

    def enough() -> bool:
        found.extend(worker.take(partition))
        return sum(map(len, found)) >= count

    until(enough, f"{count} messages of partition {partition}")
    return found


def test_a_batch_that_is_replayed_is_cut_where_the_committed_output_ends(broker: str) -> None:
    topic = new_topic(broker, partitions=PARTITIONS)
    produce(broker, topic, [Sent(None, str(i).encode()) for i in range(10)])
    first = Worker(broker, topic=topic, group=topic)
    first.transactions(0).write(Settled(4, []))
    first.transactions(0).commit()
    second = Worker(broker, topic=topic, group=topic)
    CommittedSink(second)
    second.add(0, 2)
    parts = taken(second, 0, 8)
    assert [(one.offset.tolist(), one.end_offset) for one in parts] == [([2, 3], 4), ([4, 5, 6, 7, 8, 9], 10)]
    assert second.committed == {0: 4}
    second.leave(0)


def test_what_is_committed_is_read_only_after_older_copies_are_fenced(broker: str) -> None:
    topic = new_topic(broker, partitions=PARTITIONS)
    produce(broker, topic, [Sent(None, b"x")] * 4)
    old, new = (Worker(broker, topic=topic, group=topic) for _ in range(2))
    old.transactions(0).write(Settled(3, []))
    CommittedSink(new)
    new.add(0, 0)
    assert [one.end_offset for one in taken(new, 0, 4)] == [4]
    with pytest.raises(CommitError, match="committing failed"):
        old.transactions(0).commit()
    new.leave(0)


def test_state_that_is_gone_is_rebuilt_from_the_first_offset_and_said_aloud(
    broker: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(broker, partitions=PARTITIONS)
    produce(broker, topic, [Sent(None, b"x")] * 4)
    first = Worker(broker, topic=topic, group=topic)
    first.transactions(0).write(Settled(3, []))
    first.transactions(0).commit()
    second = Worker(broker, topic=topic, group=topic)
    CommittedSink(second)
    second.add(0, None)
    assert [one.end_offset for one in taken(second, 0, 4)] == [3, 4]
    assert f"{topic}/0: results are committed up to offset 3 but the state is gone" in caplog.text
    assert second.start_of(0) == 0
    second.leave(0)


def test_a_part_snapshots_where_it_reads_next(broker: str) -> None:
    topic = new_topic(broker, partitions=PARTITIONS)
    produce(broker, topic, [Sent(None, b"x")] * 4, partition=1)
    worker = Worker(broker, topic=topic, group=topic)
    source = ShardSource(worker)
    parts = [source.build_part("s", name, None) for name in SHARDS]
    found: list[tuple[str, Frames]] = []

    def read() -> bool:
        found.extend(parts[1].next_batch())
        return bool(found)

    until(read, "the messages")
    assert [(shard, one.partition, one.end_offset) for shard, one in found] == [("01ae", 1, 4)]
    assert [part.snapshot() for part in parts[:3]] == [0, 4, 0]
    worker.drain.set()
    with pytest.raises(StopIteration):
        parts[0].next_batch()
    for part in parts:
        part.close()


def test_two_worker_threads_in_one_process_are_refused() -> None:
    worker = Worker("127.0.0.1:1", topic="t", group="g")
    worker.add(0, None)
    said: list[str] = []

    def other() -> None:
        try:
            worker.add(1, None)
        except TwinflowError as error:
            said.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert said == ["two worker threads in one process would share a consumer; start more processes"]


def test_a_live_value_the_broker_refuses_is_an_error_and_never_silent(broker: str) -> None:
    small = new_topic(broker, max_message_bytes="200")
    worker = Worker(broker, topic="samples", group="g")
    part = LiveSink(worker).build_part("s", SHARDS[0], None)
    part.write_batch([[Record(small, b"k", random.Random(1).randbytes(5000))]])
    with pytest.raises(CommitError, match=r"shard live: delivering a result failed: .*MSG_SIZE_TOO_LARGE"):
        worker.finish()
