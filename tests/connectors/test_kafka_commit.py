"""Exactly once, on a real broker: all or nothing, fenced copies, dropped replays, and no silent loss."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors import kafka_commit
from connectors.commit_pool import MOST_ROWS, CommitPool
from connectors.kafka_commit import CommitError, LiveOutbox, Outbox, Record, Settled, ShardTransactions
from tests.connectors.brokers import by_confluent, new_topic, until

ROOT = Path(__file__).parents[2]


def shard(broker: str, group: str, source: str, partition: int = 0) -> ShardTransactions:
    return ShardTransactions(broker, group=group, shard=f"s{partition}", source=(source, partition))


def settled(end_offset: int, topic: str, *values: str) -> Settled:
    return Settled(end_offset, [Record(topic, b"k", v.encode(), partition=0) for v in values])


def values(broker: str, topic: str) -> list[bytes | None]:
    return [m.value for m in by_confluent(broker, topic)]


def settle(broker: str, topic: str, wanted: list[bytes | None]) -> bool:
    """Readers see a commit once its markers are written, which the broker does after it has answered."""
    until(lambda: values(broker, topic) == wanted, f"{wanted[:3]} in {topic}")
    return True


def offset_of(broker: str, group: str, source: str) -> int:
    consumer = Consumer({"bootstrap.servers": broker, "group.id": group})
    try:
        return int(consumer.committed([TopicPartition(source, 0)], timeout=20)[0].offset)
    finally:
        consumer.close()


def test_records_and_offset_appear_together_at_the_commit_and_not_before(broker: str) -> None:
    source, out, other = (new_topic(broker) for _ in range(3))
    mine = shard(broker, source, source)
    first = mine.committed
    mine.write(settled(5, out, "a", "b"))
    mine.write(settled(7, other, "c"))
    mine.write(Settled(9))
    assert (first, mine.open, values(broker, out), values(broker, other)) == (None, True, [], [])
    mine.commit()
    assert (mine.open, mine.committed) == (False, 9)
    assert settle(broker, out, [b"a", b"b"]) and settle(broker, other, [b"c"])
    assert offset_of(broker, source, source) == 9
    mine.commit()
    assert shard(broker, source, source).committed == 9


def test_headers_tombstones_and_keys_without_a_partition_are_sent_as_they_are(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    mine = shard(broker, source, source)
    mine.write(Settled(1, [Record(out, b"k", None, (("a", b"1"), ("b", b"")), 0), Record(out, None, b"x")]))
    mine.commit()
    assert [(m.key, m.value, m.headers) for m in by_confluent(broker, out)] == [
        (b"k", None, {"a": b"1", "b": b""}),
        (None, b"x", {}),
    ]


KILLED = """
import sys, time
from confluent_kafka import TopicPartition
from connectors.kafka_commit import Record, Settled, ShardTransactions
broker, source, out = sys.argv[1:]
mine = ShardTransactions(broker, group=source, shard="s0", source=(source, 0))
mine.write(Settled(5, [Record(out, b"k", b"kept", partition=0)]))
mine.commit()
mine.write(Settled(9, [Record(out, b"k", b"lost", partition=0)]))
mine._out.producer.send_offsets_to_transaction([TopicPartition(source, 0, 9)], mine._group)
mine._out.producer.flush()
print("written", flush=True)
time.sleep(60)
"""


def test_what_a_killed_owner_wrote_but_did_not_commit_is_never_seen(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    command = [sys.executable, "-c", KILLED, broker, source, out]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"written\n"
        owner.send_signal(signal.SIGKILL)
    following = shard(broker, source, source)
    assert following.committed == 5
    following.write(settled(5, out, "kept again"))
    following.write(settled(9, out, "lost again"))
    following.commit()
    assert settle(broker, out, [b"kept", b"lost again"])
    assert len(by_confluent(broker, out, isolation="read_uncommitted")) == 3


def test_a_forgotten_copy_is_fenced_and_stays_refused(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    old = shard(broker, source, source)
    old.write(settled(5, out, "old"))
    new = shard(broker, source, source)
    for _ in range(2):
        with pytest.raises(CommitError, match=r"^shard s0: committing failed: .*; nothing is lost"):
            old.commit()
    with pytest.raises(CommitError):
        old.write(settled(6, out, "older"))
    new.write(settled(5, out, "new"))
    new.commit()
    assert settle(broker, out, [b"new"])


def test_a_fenced_copy_that_has_nothing_open_fails_at_its_next_results(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    old = shard(broker, source, source)
    new = shard(broker, source, source)

    def lives_on() -> None:
        old.write(settled(5, out, "old"))
        old.commit()

    with pytest.raises(CommitError, match=r"^shard s0: "):
        lives_on()
    assert (new.committed, values(broker, out)) == (None, [])


def test_a_fenced_copy_says_so_also_where_it_learns_of_it_while_it_hands_results_over(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    old = shard(broker, source, source)
    old.write(settled(5, out, "old"))
    old._out.flush()
    shard(broker, source, source)

    def lives_on() -> bool:
        old.write(settled(6, out, "older"))
        return False

    with pytest.raises(CommitError, match=r"handing over 5 bytes.* fenced by newer"):
        until(lives_on, "the end of the old copy")


def test_what_was_delivered_is_dropped_on_replay(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    first = shard(broker, source, source)
    first.write(settled(5, out, "a"))
    first.commit()
    again = shard(broker, source, source)
    again.write(settled(3, out, "a"))
    again.write(settled(5, out, "a"))
    assert not again.open
    again.write(settled(6, out, "b"))
    again.commit()
    assert settle(broker, out, [b"a", b"b"])


@pytest.mark.parametrize("unknown", [False, True])
def test_a_delivery_that_fails_is_an_error_and_nothing_of_the_epoch_is_seen(
    broker: str, unknown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if unknown:  # said soon, not after 10 s
        monkeypatch.setitem(kafka_commit.PRODUCER, "topic.metadata.propagation.max.ms", 300)
    source, out, small = new_topic(broker), new_topic(broker), new_topic(broker, max_message_bytes="200")
    mine = shard(broker, source, source)
    big = random.Random(1).randbytes(5000)
    mine.write(settled(4, out, "beside it"))
    mine.write(Settled(5, [Record("no-such-topic" if unknown else small, b"k", big)]))
    says = "UNKNOWN_TOPIC" if unknown else "MSG_SIZE_TOO_LARGE"
    with pytest.raises(CommitError, match=f"^shard s0: delivering a result failed: .*{says}"):
        mine.commit()
    assert values(broker, out) == []
    assert shard(broker, source, source).committed is None


def test_a_record_larger_than_any_broker_takes_is_named_at_once(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    mine = shard(broker, source, source)
    with pytest.raises(CommitError, match=f"handing over 9437184 bytes for {out} failed"):
        mine.write(Settled(1, [Record(out, b"k", bytes(9 << 20))]))


def test_a_full_queue_makes_the_sender_wait(broker: str) -> None:
    out = new_topic(broker)
    box = Outbox({"bootstrap.servers": broker, "queue.buffering.max.messages": 10, "linger.ms": 0}, shard="x")
    box.send(Record(out, None, str(i).encode(), partition=0) for i in range(500))
    box.flush()
    assert settle(broker, out, [str(i).encode() for i in range(500)])


def test_no_consumer_is_in_the_group_so_no_session_can_time_out(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    mine = shard(broker, source, source)
    mine.write(settled(1, out, "a"))
    mine.commit()
    admin = AdminClient({"bootstrap.servers": broker})
    described = admin.describe_consumer_groups([source])[source].result(20)
    assert (described.state.name, described.members) == ("EMPTY", [])
    mine.write(settled(2, out, "b"))
    mine.commit()
    assert offset_of(broker, source, source) == 2


def test_twelve_shards_commit_side_by_side(broker: str) -> None:
    source, out = new_topic(broker, partitions=12), new_topic(broker)
    pool = CommitPool()
    shards = [shard(broker, source, source, p) for p in range(12)]
    for epoch in (1, 2):
        for one in shards[:: 3 - epoch]:
            pool.write(one, settled(epoch, out, f"{one.shard} {epoch}"))
        for one in shards:
            pool.commit(one)
    for one in shards:
        pool.finish(one)
    assert not any(one.open for one in shards)
    expect = [f"{one.shard} 1" for one in shards[::2]] + [f"{one.shard} 2" for one in shards]
    until(lambda: sorted(values(broker, out), key=str) == sorted((v.encode() for v in expect), key=str), "all commits")
    assert [one.committed for one in shards] == [2] * 12


class _Held(ShardTransactions):
    """A shard whose commit waits for a signal."""

    go: threading.Event

    def commit(self) -> None:
        assert self.go.wait(20)
        super().commit()


def test_while_a_shard_commits_the_results_of_its_next_epoch_wait_and_nobody_else_does(broker: str) -> None:
    source, out = new_topic(broker, partitions=2), new_topic(broker)
    held = _Held(broker, group=source, shard="held", source=(source, 0))
    held.go = threading.Event()
    quick = shard(broker, source, source, 1)
    pool = CommitPool()
    pool.write(held, settled(1, out, "first"))
    pool.write(quick, settled(1, out, "quick"))
    pool.commit(held)
    pool.commit(quick)
    pool.finish(quick)
    pool.write(held, settled(2, out, "second"))  # comes back at once
    assert (quick.committed, held.committed) == (1, None)
    held.go.set()
    pool.commit(held)  # waits for the first, begins the second
    assert held.committed is not None
    assert b"first" in values(broker, out)
    pool.finish(held)
    assert held.committed == 2
    until(lambda: values(broker, out).count(b"second") == 1, "the second epoch")


def test_what_waits_for_a_commit_is_bounded(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    held = _Held(broker, group=source, shard="held", source=(source, 0), merge=lambda *_: [])
    held.go = threading.Event()
    pool = CommitPool()
    pool.write(held, settled(1, out, "first"))
    pool.commit(held)
    pool.write(held, Settled(2, part=_Rows(MOST_ROWS + 1)))
    writer = threading.Thread(target=pool.write, args=(held, Settled(3, part=_Rows(1))))
    writer.start()
    assert writer.is_alive()
    held.go.set()
    writer.join(20)
    assert (writer.is_alive(), held.committed) == (False, 1)


@dataclass(frozen=True)
class _Rows:
    rows: int


def test_the_failed_commit_of_one_shard_is_raised_for_that_shard_at_its_next_step(broker: str) -> None:
    source, out = new_topic(broker, partitions=2), new_topic(broker)
    good, bad = (shard(broker, source, source, p) for p in (0, 1))
    pool = CommitPool()
    for one in (good, bad):
        pool.write(one, settled(1, out, one.shard))
    shard(broker, source, source, 1)
    for one in (good, bad):
        pool.commit(one)
    pool.finish(good)
    said: list[str] = []

    def told() -> bool:
        try:
            pool.check()
        except CommitError as error:
            said.append(str(error))
        return bool(said)

    until(told, "a commit that failed though nobody waits for it")
    assert "shard s1" in said[0]
    with pytest.raises(CommitError, match="shard s1"):
        pool.finish(bad)
    assert settle(broker, out, [b"s0"])


def test_a_commit_waits_until_what_went_out_at_once_before_it_is_delivered(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    live = LiveOutbox({"bootstrap.servers": broker, "linger.ms": 200}, shard="live")
    pool = CommitPool(lambda: partial(live.await_delivered, live.mark()))
    mine = shard(broker, source, source)
    live.send([Record(out, None, b"at once")])
    pool.write(mine, settled(1, out, "settled"))
    pool.commit(mine)
    live.send([Record(out, None, b"later")])
    pool.finish(mine)
    assert mine.committed == 1
    assert b"at once" in values(broker, out)


def test_a_commit_is_refused_when_what_went_out_at_once_was(broker: str) -> None:
    source, out = new_topic(broker), new_topic(broker)
    live = LiveOutbox({"bootstrap.servers": broker, "linger.ms": 0, "message.timeout.ms": 3000}, shard="live")
    pool = CommitPool(lambda: partial(live.await_delivered, live.mark()))
    mine = shard(broker, source, source)
    live.send([Record("no-such-topic", None, b"x")])
    pool.write(mine, settled(1, out, "settled"))
    pool.commit(mine)
    with pytest.raises(CommitError, match="shard live"):
        pool.finish(mine)
    assert mine.committed is None
