"""The simulator on a real broker: what it sends, how it paces, what it keeps while the broker is away, how it ends."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from connectors.simulator import Outlet, SimulatorError, run
from models.physics.fleet import SimulatedFleet
from operators.decode import Decoder
from operators.definition_yaml import load_fleet
from operators.roster import Roster
from tests.connectors.batches import Message
from tests.connectors.brokers import by_columns, by_confluent, new_topic, until
from tests.support_kafka import BrokerProcess, free_ports

ROOT = Path(__file__).parents[2]
TWINS = ROOT / "models" / "twins"
START_NS = 1_800_000_000_000_000_000


def sent(found: Iterable[Message]) -> list[tuple[str, int]]:
    return [(m["device"], m["seq"]) for m in (json.loads(f.value or b"") for f in found)]


def test_what_is_sent_is_what_the_contract_wants_and_decode_takes_all_of_it(broker: str) -> None:
    topic = new_topic(broker)
    fleet = SimulatedFleet(vehicles=2, machines=1, pumps=1, start_ns=START_NS)
    outlet = Outlet(broker, topic, "b1")
    for _ in range(30):
        outlet.send(fleet.step())
    assert outlet.close() == 0
    assert outlet.counts.sent == outlet.counts.delivered == 93
    found = by_confluent(broker, topic)
    first = json.loads(found[0].value or b"")
    assert list(first) == ["device", "ts", "signals", "seq", "boot"]
    assert (first["device"], first["ts"], first["seq"], first["boot"]) == ("vehicle-1", START_NS, 0, "b1")
    assert all(f.key == json.loads(f.value or b"")["device"].encode() for f in found)
    assert all(f.headers == {"clock": b"trusted"} for f in found)
    types = load_fleet(TWINS / "fleet.yaml", TWINS)
    decoder = Decoder(Roster(types.type_of))
    pushed = [decoder.push(frames) for frames in by_columns(broker, topic)]
    assert [reason for out in pushed for reason in out.dead.reason] == []
    assert sum(len(out.aside) for out in pushed) == 0


def test_the_same_seed_and_start_are_the_same_bytes(broker: str) -> None:
    topics = [new_topic(broker) for _ in range(2)]
    for topic in topics:
        fleet, outlet = SimulatedFleet(vehicles=1, start_ns=START_NS), Outlet(broker, topic, "b1")
        for _ in range(20):
            outlet.send(fleet.step())
        assert outlet.close() == 0
    one, other = ([(f.key, f.value, f.headers) for f in by_confluent(broker, topic)] for topic in topics)
    assert one == other
    assert len(one) > 80


def test_a_device_goes_where_the_java_client_puts_its_key(broker: str) -> None:
    golden = json.loads((ROOT / "tests" / "golden" / "partitions.json").read_text())
    topic = new_topic(broker, partitions=12)
    outlet = Outlet(broker, topic, "b1")
    outlet.send(SimulatedFleet(start_ns=START_NS).step())
    assert outlet.close() == 0
    where = {d: p for p in range(12) for d, _ in sent(by_confluent(broker, topic, partition=p))}
    assert len(where) == 24
    known = {key: partition for key, partition in golden["keys"].items() if key in where}
    assert len(known) >= 5
    assert {key: where[key] for key in known} == known


def test_a_full_buffer_drops_and_counts_and_the_rest_is_whole(tmp_path: Path) -> None:
    server = BrokerProcess(tmp_path / "kafka")
    fleet = SimulatedFleet(vehicles=0, machines=1, pumps=0, start_ns=START_NS)
    outlet = Outlet(server.broker.bootstrap, "later", "b1", buffer_messages=50)
    for _ in range(80):
        outlet.send(fleet.step())
    assert (outlet.counts.sent, outlet.counts.dropped, outlet.waiting) == (50, 30, 50)
    try:
        bootstrap = server.start()
        topic = "later"
        _make(bootstrap, topic)
        until(lambda: acknowledged(outlet), "all that waited")
        outlet.send(fleet.step())
        assert outlet.close() == 0
        assert [seq for _, seq in sent(by_confluent(bootstrap, topic))] == [*range(50), 80]
    finally:
        server.stop(signal.SIGKILL)


def acknowledged(outlet: Outlet) -> bool:
    outlet.poll()
    return outlet.waiting == 0


def _make(bootstrap: str, topic: str) -> None:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(topic, 1, 1)], operation_timeout=20)[topic].result(20)


def test_a_broker_that_was_killed_costs_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    server = BrokerProcess(tmp_path / "kafka")
    bootstrap = server.start()
    stop = threading.Event()
    try:
        topic = new_topic(bootstrap)
        outlet = Outlet(bootstrap, topic, "b1")
        fleet = SimulatedFleet(vehicles=3, start_ns=time.time_ns())
        runner = threading.Thread(target=run, args=(fleet, outlet, stop))
        runner.start()
        until(lambda: outlet.counts.delivered > 50, "messages")
        server.stop(signal.SIGKILL)
        before = outlet.counts.sent
        until(lambda: outlet.counts.sent > before + 100, "messages without a broker")
        server.start()
        until(lambda: outlet.counts.delivered > before + 100, "messages after it")
        stop.set()
        runner.join(10)
        assert outlet.close() == 0
        count = Counter(sent(by_confluent(bootstrap, topic)))
        assert set(count.values()) == {1}
        assert len(count) == outlet.counts.sent == outlet.counts.delivered
        for device in fleet.devices:
            seqs = sorted(seq for d, seq in count if d == device)
            assert seqs == list(range(len(seqs)))
    finally:
        stop.set()
        server.stop(signal.SIGKILL)


def test_a_message_refused_for_good_ends_the_run(broker: str) -> None:
    topic = new_topic(broker, max_message_bytes="100")
    outlet = Outlet(broker, topic, "b1")
    with pytest.raises(SimulatorError, match=rf"simulator: {topic}: .*MSG_SIZE.*then start it again"):
        run(SimulatedFleet(vehicles=1, start_ns=time.time_ns()), outlet, threading.Event())
    outlet.close()


def test_the_run_keeps_to_the_clock_and_skips_what_it_slept_through(
    broker: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(broker)
    outlet, stop = Outlet(broker, topic, "b1"), threading.Event()
    fleet = SimulatedFleet(vehicles=1, machines=0, pumps=0, start_ns=time.time_ns() - 60 * 10**9)
    calls: list[int] = []

    def between() -> None:
        calls.append(fleet.next_ns - time.time_ns())
        if len(calls) == 5:
            stop.set()

    with caplog.at_level(logging.WARNING):
        run(fleet, outlet, stop, between=between)
    outlet.close()
    assert max(calls) <= 0
    assert outlet.counts.skipped_steps >= 600
    assert "behind the clock" in caplog.text
    assert [seq for _, seq in sent(by_confluent(broker, topic))] == list(range(5))


def test_the_service_says_its_faults_and_sigterm_ends_it_with_all_delivered(broker: str) -> None:
    topic = new_topic(broker)
    command = [sys.executable, "-m", "flows.simulate", "--kafka", broker, "--topic", topic, "--vehicles", "1"]
    command += ["--fault", "wear@machine-2@0.2", "--fault", "clock-step:3@machine-1@0.2"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as service:
        try:
            until(lambda: len(by_confluent(broker, topic)) > 60, "messages")
            service.terminate()
            _, told = service.communicate(timeout=20)
        finally:
            service.kill()
    found = by_confluent(broker, topic)
    clock = {(json.loads(f.value or b"")["device"], f.headers["clock"]) for f in found}
    assert service.returncode == 0, told
    assert "machine-2: fault wear@machine-2@0.2 begins" in told
    assert f"{len(found)} sent, {len(found)} delivered, 0 dropped, 0 given up" in told
    assert clock == {
        ("vehicle-1", b"trusted"), ("machine-1", b"device"), ("machine-2", b"trusted"), ("machine-3", b"trusted"),
        ("pump-1", b"trusted"),
    }  # fmt: skip


def test_sigterm_ends_a_service_whose_broker_never_came() -> None:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "flows.simulate", "--kafka", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as service:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                service.wait(1.5)
            service.terminate()
            assert service.wait(10) in (0, -signal.SIGTERM)
        finally:
            service.kill()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "stuk@machine-2@1"], "no kind 'stuk'; did you mean 'stuck'?"),
        (["--fault", "stuck@machine-9@1"], "no device 'machine-9'; did you mean"),
        (["--rate-scale", "0"], "rate_scale is from 0.1 to 100"),
        (["--vehicles", "-1"], "numbers of devices and the seed are at least 0"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "flows.simulate", "--kafka", "127.0.0.1:1", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert said in done.stderr
