"""The ledger, asked of a real broker: it balances, and a single result that is missing or too many is found."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from connectors.kafka_commit import PRODUCER, Outbox, Record, Settled, ShardTransactions
from connectors.shards import SHARDS
from connectors.topic_tail import TopicTail
from flows.publish import Fetch, settled_records
from flows.shard import Shard
from infra.errors import ExitCode
from infra.kafka.topics import ensure_topics
from operators.frames import Frames
from tests.connectors.batches import Sent
from tests.connectors.brokers import produce, until
from tests.flows.mixed_input import FLEET, stream
from tests.infra.command import Command
from tests.support_kafka import BrokerProcess

COUNT = 900
FETCHES = (0, 250, 600, COUNT)
PARTITIONS = (3, 7)
COUNTED = ("ledger", "readings", "late", "dead-letters")


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker with input in two partitions, all of it worked off as the flow does."""
    server = BrokerProcess(tmp_path_factory.mktemp("ledger") / "kafka")
    address = server.start()
    try:
        ensure_topics(address)
        for partition in PARTITIONS:
            work_off(address, partition)
        yield address
    finally:
        server.stop(signal.SIGKILL)


def work_off(bootstrap: str, partition: int) -> None:
    values = list(islice(stream(partition), COUNT))
    produce(bootstrap, "samples", [Sent(None, value) for value, _ in values], partition=partition)
    shard = SHARDS[partition]
    core = Shard(FLEET.type_of)
    out = ShardTransactions(bootstrap, group="telemetry", shard=shard, source=("samples", partition))
    for start, stop in pairwise(FETCHES):
        part = values[start:stop]
        made = core.push(
            Frames.of([v for v, _ in part], arrival=[a for _, a in part], partition=partition, first_offset=start)
        )
        out.write(Settled(made.end_offset, settled_records(shard, partition, [Fetch.of(made)])))
        out.commit()


@pytest.fixture
def twinflow(bootstrap: str, tmp_path: Path) -> Command:
    return Command(tmp_path / "data", env={"TWINFLOW_KAFKA": bootstrap})


def read(bootstrap: str, topic: str) -> list[Record]:
    tail = TopicTail(bootstrap, topic)
    try:
        return [
            Record(topic, f.key(row), f.value(row), tuple(f.headers.get(row, {}).items()), f.partition)
            for f in tail.read()
            for row in range(len(f))
        ]
    finally:
        tail.close()


def rewrite(bootstrap: str, topic: str, records: list[Record]) -> None:
    """The topic made anew, with these records."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.delete_topics([topic])[topic].result(20)
    until(lambda: topic not in admin.list_topics(timeout=10).topics, f"{topic} is gone")
    ensure_topics(bootstrap)
    out = Outbox({**PRODUCER, "bootstrap.servers": bootstrap}, shard="test")
    out.send(records)
    out.flush()


def test_it_balances_and_says_what_became_of_everything(twinflow: Command) -> None:
    done = twinflow("ledger", "--check", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert (told["balanced"], told["complete"], told["findings"], told["behind"]) == (True, True, [], 0)
    records = told["ledger"]["records"]
    assert sum(records.values()) == told["ledger"]["records_in"] == COUNT * len(PARTITIONS)
    assert min(records.values()) > 0
    shards = {s["shard"]: s for s in told["shards"]}
    assert (shards["03gb"]["from_offset"], shards["03gb"]["end_offset"]) == (0, COUNT)
    assert shards["00bg"]["ledger"]["records_in"] == 0


def test_the_samples_of_every_device_add_up_to_those_of_all(twinflow: Command) -> None:
    told = twinflow.json("ledger", "--check")
    samples, devices = told["ledger"]["samples"], told["devices"]
    for outcome in ("applied", "late", "rejected"):
        assert sum(counts.get(outcome, 0) for counts in devices.values()) == samples[outcome], outcome
    assert {"pump-1", "pump-2", "probe-1"} <= set(devices)
    later = twinflow.json("ledger", "--since", "250")["devices"]
    assert all(later[name]["applied"] < devices[name]["applied"] for name in ("pump-1", "pump-2", "probe-1"))


def test_since_leaves_out_what_lies_before(twinflow: Command) -> None:
    by_offset = twinflow.json("ledger", "--check", "--since", "260")
    assert by_offset["balanced"]
    assert {s["from_offset"] for s in by_offset["shards"] if s["partition"] in PARTITIONS} == {250}
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    assert twinflow.json("ledger", "--since", tomorrow)["ledger"]["records_in"] == 0
    assert twinflow.json("ledger", "--check", "--since", "2001-01-01T00:00:00Z")["balanced"]
    wrong = twinflow("ledger", "--since", "yesterday")
    assert wrong.returncode == ExitCode.USAGE
    assert "neither an offset nor a time" in wrong.stderr


@pytest.mark.parametrize("topic", COUNTED)
def test_one_missing_record_is_found_and_so_is_one_too_many(topic: str, bootstrap: str, twinflow: Command) -> None:
    whole = read(bootstrap, topic)
    mine = [i for i, r in enumerate(whole) if r.partition == 3]
    victim = mine[len(mine) // 2]
    for changed, words in (
        (whole[:victim] + whole[victim + 1 :], ("missing", "no ledger for offsets")),
        ([*whole, whole[victim]], ("too many", "twice")),
    ):
        rewrite(bootstrap, topic, changed)
        done = twinflow("ledger", "--check")
        assert done.returncode == ExitCode.FAILED
        assert "does not balance" in done.stdout
        assert [line for line in done.stderr.splitlines() if "03gb" in line and any(w in line for w in words)]
        assert "07aa" not in done.stderr
        assert "twinflow logs telemetry" in done.stderr
    rewrite(bootstrap, topic, whole)
    assert twinflow("ledger", "--check").returncode == ExitCode.OK


def test_a_ledger_that_claims_more_than_came_is_found(bootstrap: str, twinflow: Command) -> None:
    whole = read(bootstrap, "ledger")
    at = next(i for i, r in enumerate(whole) if r.partition == 7)
    entry = msgspec.json.decode(whole[at].value or b"")
    entry["ledger"]["records"]["duplicate"] += 1
    rewrite(bootstrap, "ledger", [*whole[:at], replace(whole[at], value=msgspec.json.encode(entry)), *whole[at + 1 :]])
    done = twinflow("ledger", "--check")
    assert done.returncode == ExitCode.FAILED
    assert "1 records with two outcomes in [0, 250)" in done.stderr
    rewrite(bootstrap, "ledger", whole)


def test_input_that_the_flow_has_not_reached_is_no_cut(bootstrap: str, twinflow: Command) -> None:
    """Last: it leaves input behind that nobody works off."""
    produce(bootstrap, "samples", [Sent(None, b"{")] * 5, partition=3)
    done = twinflow("ledger", "--check")
    assert done.returncode == ExitCode.FAILED
    assert "behind are 03gb by 5" in done.stderr
    assert "twinflow status" in done.stderr
    assert "balanced" in done.stdout
    assert twinflow("ledger").returncode == ExitCode.OK
