"""The broker goes away, the device is killed: what was sent is there once, in order; what was dropped is a gap."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from connectors.device import Gateway
from tests.connectors.brokers import by_confluent, new_topic, until
from tests.connectors.device.gate import command, dispatch, ended, said
from tests.connectors.device.reading import Read, read
from tests.support_kafka import BrokerProcess

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("program.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker that these tests stop and start; each leaves it running."""
    process = BrokerProcess(tmp_path_factory.mktemp("own") / "kafka")
    process.start()
    try:
        yield process
    finally:
        process.stop(signal.SIGKILL)


def run(server: BrokerProcess, folder: Path, *what: object) -> subprocess.Popen[str]:
    """A device in a process of its own; see program.py."""
    told = [sys.executable, str(PROGRAM), server.broker.bootstrap, str(folder), *map(str, what)]
    return subprocess.Popen(told, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    """The next line it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


@dataclass
class Story:
    """One outage that several devices live through: their topics, and what they counted."""

    bootstrap: str
    topics: dict[str, str]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def read(self, who: str) -> Read:
        return read(self.bootstrap, self.topics[who])


def begun(gateway: Gateway) -> bool:
    return gateway.counts["delivered"] > 10


KINDS: dict[str, dict[str, Any]] = {
    "json, disk": {}, "packed, disk": {"packed_rows": 20, "packed_secs": 60}, "json, memory": {"spool": None},
    "packed, memory": {"packed_rows": 20, "packed_secs": 60, "spool": None}, "full": {"spool_bytes": 1 << 20},
}  # fmt: skip


@pytest.fixture(scope="module")
def story(server: BrokerProcess, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A broker that is killed and comes back; meanwhile devices send, one to a full spool, one is killed twice."""
    folder, bootstrap = tmp_path_factory.mktemp("spools"), server.broker.bootstrap
    story = Story(bootstrap, {who: new_topic(bootstrap) for who in (*KINDS, "killed")})
    with ExitStack() as open_now:
        gateways: dict[str, Gateway] = {}
        for n, (who, options) in enumerate(KINDS.items()):
            told: dict[str, Any] = {"spool": folder / str(n), "topic": story.topics[who], **options}
            gateways[who] = open_now.enter_context(Gateway(bootstrap, ["pump-7", "pump-8"], name=f"g{n}", **told))

        def send(first: int, last: int) -> None:
            for n in range(first, last):
                for gateway in gateways.values():
                    gateway.send("pump-7", {"n": n})
                    gateway.send("pump-8", {"n": n})

        send(0, 300)
        for who, gateway in gateways.items():
            until(partial(begun, gateway), f"the first of {who}", 60.0)
        assert gateways["full"].flush(60) == 0
        server.stop(signal.SIGKILL)
        send(300, 1500)
        for n in range(1500, 8000):
            gateways["full"].send("pump-7", {"n": n})
            gateways["full"].send("pump-8", {"n": n})
        for first in (0, 500):
            device = run(server, folder / "killed", "send", story.topics["killed"], first, first + 500)
            assert line(device) == "sent"
            kill(device)
        waiting = {who: gateway.counts["waiting"] for who, gateway in gateways.items()}
        server.start()
        for who, gateway in gateways.items():
            last = 8000 if who == "full" else 1500
            gateway.send("pump-7", {"n": last})
            gateway.send("pump-8", {"n": last})
            story.left[who] = gateway.flush(90)
            story.counts[who] = gateway.counts
    assert min(waiting.values()) > 20
    device = run(server, folder / "killed", "send", story.topics["killed"], 1000, 1100)
    assert line(device) == "sent"
    story.left["killed"] = int(line(device).removeprefix("left "))
    device.communicate(timeout=60)
    return story


@pytest.mark.parametrize("who", [who for who in KINDS if who != "full"])
def test_after_an_outage_everything_goes_out_once_and_in_order(story: Story, who: str) -> None:
    found = story.read(who)
    assert story.left[who] == 0
    assert found.of("pump-7", "n") == found.of("pump-8", "n") == [float(n) for n in range(1501)]
    assert (found.duplicates, found.gaps, found.dead) == (0, [], [])
    assert found.numbers["pump-7"] == list(range(len(found.numbers["pump-7"])))
    assert len(by_confluent(story.bootstrap, story.topics[who])) == story.counts[who]["delivered"]


def test_what_a_full_spool_drops_shows_as_a_gap_of_as_many_numbers(story: Story) -> None:
    found, counts = story.read("full"), story.counts["full"]
    assert counts["dropped"] > 1000
    assert len(found.samples) == 2 * 8001 - counts["dropped"]
    assert sum(last - first + 1 for _, first, last in found.gaps) == counts["dropped"]
    assert found.of("pump-7", "n")[-1] == found.of("pump-8", "n")[-1] == 8000.0
    assert found.of("pump-7", "n") == sorted(found.of("pump-7", "n"))


def test_a_device_that_is_killed_while_the_broker_is_away_loses_nothing_it_had_sent(story: Story) -> None:
    found = story.read("killed")
    assert story.left["killed"] == 0
    assert found.of("pump-7", "n") == [float(n) for n in range(1100)]
    assert (found.duplicates, found.gaps) == (0, [])
    if Path("/proc/sys/kernel/random/boot_id").exists():
        assert found.numbers["pump-7"] == list(range(1100))  # one boot: the machine was not started anew


def test_a_device_that_is_killed_while_it_sends_repeats_only_what_telemetry_recognises(
    server: BrokerProcess, tmp_path: Path
) -> None:
    bootstrap = server.broker.bootstrap
    topic = new_topic(bootstrap)
    reached = 0
    for _ in range(4):
        device = run(server, tmp_path, "run", topic, reached)
        last = max(int(line(device)) for _ in range(40))
        kill(device)
        reached = last + 1000  # what it had sent beyond the last it said is in the spool too
    device = run(server, tmp_path, "send", topic, 10**6, 10**6 + 1)
    assert line(device) == "sent"
    assert line(device) == "left 0"
    device.communicate(timeout=30)
    values = read(bootstrap, topic).of("pump-7", "n")
    assert max(Counter(values).values()) == 1
    assert values == sorted(values)
    found = read(bootstrap, topic)
    assert found.gaps == []
    assert found.dead == []


def test_a_program_that_just_ends_has_sent_everything(server: BrokerProcess, tmp_path: Path) -> None:
    bootstrap = server.broker.bootstrap
    for n, spool in enumerate((None, str(tmp_path))):
        topic = new_topic(bootstrap)
        program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from connectors.device import Device; "
        program += f"pump = Device('pump-7', {bootstrap!r}, topic={topic!r}, spool={spool!r}); "
        program += "[pump.send({'n': n}) for n in range(2000)]"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90)
        assert (done.returncode, done.stderr) == (0, ""), n
        assert read(bootstrap, topic).of("pump-7", "n") == [float(n) for n in range(2000)]


def test_a_command_is_acted_on_once_over_kills_and_its_answer_is_never_lost(
    server: BrokerProcess, tmp_path: Path
) -> None:
    bootstrap = server.broker.bootstrap
    topics = new_topic(bootstrap, partitions=12), new_topic(bootstrap, partitions=12)
    commands, acks = topics

    def listen() -> subprocess.Popen[str]:
        device = run(server, tmp_path, "listen", *topics)
        assert line(device) == "ready"
        return device

    def acted() -> list[str]:
        found = tmp_path / "acted"
        return found.read_text().split() if found.exists() else []

    device = listen()
    quick = command("pump-7", "quick")
    dispatch(bootstrap, commands, quick)
    assert ended(bootstrap, acks, quick) == [("done", "did it")]
    slow = command("pump-7", "slow")
    dispatch(bootstrap, commands, slow)
    assert ended(bootstrap, acks, slow) == [("accepted", "begins")]
    kill(device)

    away = command("pump-7", "quick", wait_secs=120)
    dispatch(bootstrap, commands, quick, slow, away)  # while the device is away
    device = listen()
    assert ended(bootstrap, acks, away) == [("done", "did it")]
    failed = ("failed", "the device was restarted while it acted on this; it does not try again")
    assert ended(bootstrap, acks, slow, answers=3) == [("accepted", "begins"), failed, failed]
    assert ended(bootstrap, acks, quick, answers=2) == [("done", "did it")] * 2

    # the broker goes after the command was taken, before the answer could be given
    held = command("pump-7", "held")
    dispatch(bootstrap, commands, held)
    assert line(device) == "held"
    server.stop(signal.SIGKILL)
    assert device.stdin is not None
    device.stdin.write("go on\n")
    device.stdin.flush()
    assert line(device) == "answer stored"
    kill(device)
    server.start()
    device = listen()
    assert ended(bootstrap, acks, held) == [("done", "did it")]
    kill(device)
    assert acted() == ["quick", "slow", "quick", "held"]
    assert len(said(bootstrap, acks, held)) == 1
