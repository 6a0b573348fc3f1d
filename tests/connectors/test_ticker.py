"""Ticks reach every partition, decode reads them, an outage leaves no backlog, SIGTERM ends the service."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connectors.kafka_commit import CommitError
from connectors.ticker import Ticker
from operators.decode import Decoder
from operators.definition import Signal, TwinType
from operators.roster import Roster
from tests.connectors.batches import Message
from tests.connectors.brokers import by_columns, by_confluent, new_topic, until
from tests.support_kafka import BrokerProcess

ROOT = Path(__file__).parents[2]


def ticks(found: list[Message]) -> list[int]:
    assert all((m.key, m.headers) == (None, {"kind": b"tick"}) for m in found)
    return [json.loads(m.value or b"")["tick"] for m in found]


def test_a_tick_reaches_every_partition_and_decode_takes_it_for_one(broker: str) -> None:
    topic = new_topic(broker, partitions=3)
    ticker = Ticker(broker, topic, 3)
    assert ticker.tick(1_700_000_000_123) == 3
    until(lambda: all(by_confluent(broker, topic, partition=p) for p in range(3)), "a tick everywhere")
    assert [ticks(by_confluent(broker, topic, partition=p)) for p in range(3)] == [[1_700_000_000_123]] * 3
    pump = TwinType("pump", 1, (Signal("flow"),))
    [frames] = by_columns(broker, topic)
    out = Decoder(Roster(lambda name: pump)).push(frames)
    assert (len(out.dead.reason), len(out.control)) == (0, 0)
    ticker.close()


def test_a_partition_gets_no_second_tick_before_the_first_is_acknowledged(broker: str) -> None:
    topic = new_topic(broker, partitions=2)
    ticker = Ticker(broker, topic, 2)
    sent = 2

    def more() -> bool:
        nonlocal sent
        sent += ticker.tick(sent)
        return sent >= 20

    assert (ticker.tick(1), ticker.tick(1)) == (2, 0)
    until(more, "20 ticks")
    until(lambda: ticker.tick(99) == 2, "all acknowledged")
    found = ticks(by_confluent(broker, topic))
    assert found == sorted(set(found))
    ticker.close()


def test_a_topic_with_fewer_partitions_is_an_error(broker: str) -> None:
    topic = new_topic(broker, partitions=1)
    ticker = Ticker(broker, topic, 2)
    with pytest.raises(CommitError, match=r"shard ticker: delivering a tick failed: .*UNKNOWN_PARTITION"):
        until(lambda: ticker.tick(1) and False, "an error")
    ticker.close()


def test_an_outage_leaves_no_backlog_and_sigterm_ends_the_service(tmp_path: Path) -> None:
    server = BrokerProcess(tmp_path / "kafka")
    bootstrap = server.start()
    try:
        topic = new_topic(bootstrap)
        command = [sys.executable, "-m", "connectors.ticker", "--kafka", bootstrap, "--topic", topic]
        command += ["--partitions", "1", "--every", "0.05", "--grace", "0.5"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as service:
            try:
                until(lambda: len(by_confluent(bootstrap, topic)) >= 3, "ticks")
                server.stop(signal.SIGKILL)
                gone_ms = time.time_ns() // 1_000_000
                server.start()
                back_ms = time.time_ns() // 1_000_000
                until(lambda: ticks(by_confluent(bootstrap, topic))[-1] > back_ms + 500, "ticks after the outage", 30)
                service.send_signal(signal.SIGTERM)
                assert service.wait(10) == 0
            finally:
                service.kill()
            assert "the next one follows in 0.5 s" in (service.stderr.read() if service.stderr else "")
        found = ticks(by_confluent(bootstrap, topic))
        assert found == sorted(found)
        assert sum(gone_ms + 60 < tick < back_ms for tick in found) <= 1
    finally:
        server.stop(signal.SIGKILL)
