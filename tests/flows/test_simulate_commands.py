"""Simulated devices act on commands that come over a real broker, and what they say about it is what they do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.device import Gateway
from flows.simulate_commands import SimulatedCommands
from models.faults import parse
from models.physics.fleet import SimulatedFleet
from tests.connectors.brokers import new_topic, until
from tests.connectors.device.gate import command, dispatch, ended, said

ROOT = Path(__file__).parents[2]
START_NS = 1_800_000_000_000_000_000


@dataclass
class Plant:
    """A fleet in its own time, as fast as the test steps it, with its commands on a real broker."""

    broker: str
    topics: tuple[str, str]
    fleet: SimulatedFleet
    commands: SimulatedCommands

    def step(self, seconds: float) -> dict[str, dict[str, float]]:
        """Let time pass; the last value of every signal in it."""
        last: dict[str, dict[str, float]] = {}
        for _ in range(round(seconds * 10)):
            self.commands.between()
            for reading in self.fleet.step():
                last.setdefault(reading.device, {}).update(reading.signals)
        return last

    def command(self, device: str, verb: str, **arguments: object) -> dict[str, Any]:
        """Dispatch one and step until its first answer is there."""
        given = command(device, verb, arguments=arguments)
        dispatch(self.broker, self.topics[0], given)

        def answered() -> object:
            self.commands.between()
            return said(self.broker, self.topics[1], given)

        until(answered, f"an answer to {verb}", 90.0)
        return given

    def ended(self, given: dict[str, Any], count: int = 1) -> list[tuple[str, str]]:
        return ended(self.broker, self.topics[1], given, answers=count)


@contextmanager
def plant(broker: str, *faults: str, **size: int) -> Iterator[Plant]:
    topics = new_topic(broker, partitions=12), new_topic(broker, partitions=12)
    fleet = SimulatedFleet(start_ns=START_NS, faults=[parse(f) for f in faults], **size)
    gateway = Gateway(broker, fleet.devices, handlers="poll", commands_topic=topics[0], acks_topic=topics[1])
    with gateway:
        commands = SimulatedCommands(fleet, gateway)
        commands.between()
        assert gateway.wait_ready(60)
        yield Plant(broker, topics, fleet, commands)


def test_a_machine_whose_edge_broke_reduces_its_feed_says_done_and_its_vibration_falls(broker: str) -> None:
    with plant(broker, "wear:20@machine-2@15", vehicles=0, machines=3, pumps=0) as line:
        before = max(line.step(1)["machine-2"]["vibration"] for _ in range(60))
        given = line.command("machine-2", "reduce_feed")
        assert line.ended(given) == [("done", "feed is 50 %")]
        line.step(30)
        after = max(line.step(1)["machine-2"]["vibration"] for _ in range(60))
    assert before > 7.1
    assert after < 7.1


def test_what_takes_time_is_accepted_and_done_when_it_is_so(broker: str) -> None:
    with plant(broker, vehicles=1, machines=1, pumps=1) as small:
        change = small.command("machine-1", "change_tool")
        speed = small.command("pump-1", "set_speed", speed_rpm=1450)
        stand = small.command("vehicle-1", "immobilise")
        assert [small.ended(g)[0][0] for g in (change, speed, stand)] == ["accepted"] * 3
        last = small.step(60)
        assert [small.ended(g, 2)[1:] for g in (change, speed, stand)] == [[("done", "")]] * 3
    assert last["vehicle-1"]["speed"] == 0.0
    assert abs(last["pump-1"]["speed_rpm"] - 1450) < 40


def test_wrong_arguments_are_refused_and_what_a_later_command_undoes_has_failed(broker: str) -> None:
    with plant(broker, vehicles=1, machines=1, pumps=1) as small:
        wrong = small.command("machine-1", "reduce_feed", share=7)
        unknown = small.command("machine-1", "reduce_fed")
        undone = small.command("pump-1", "set_speed", speed_rpm=100)
        later = small.command("pump-1", "set_speed", speed_rpm=2000)
        small.step(20)
        assert small.ended(wrong) == [("refused", "share is 7; it must be a number from 0.1 to 1")]
        assert small.ended(unknown) == [("refused", "machine knows no 'reduce_fed'; did you mean 'reduce_feed'?")]
        assert small.ended(undone, 2) == [
            ("accepted", "goes to 100 rpm"), ("failed", "a later command asked for 2000 rpm")
        ]  # fmt: skip
        assert small.ended(later, 2)[1] == ("done", "")


def test_the_service_answers_and_ends_in_time(broker: str) -> None:
    topic = new_topic(broker)
    service = [sys.executable, "-m", "flows.simulate", "--kafka", broker, "--topic", topic]
    service += ["--vehicles", "0", "--machines", "1", "--pumps", "0"]
    with subprocess.Popen(service, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        try:
            # a device hears what is sent after it began to listen, so ask until it does
            asked = []

            def answered() -> object:
                asked.append(command("machine-1", "reduce_feed", arguments={"share": 0.4}))
                dispatch(broker, "commands", asked[-1])
                return any(said(broker, "command-acks", one) for one in asked)

            until(answered, "an answer", 90.0)
            running.terminate()
            _, told = running.communicate(timeout=30)
        finally:
            running.kill()
    [answer, *_] = [said(broker, "command-acks", one) for one in asked if said(broker, "command-acks", one)]
    assert answer == [("done", "feed is 40 %")]
    assert running.returncode == 0, told
    assert "reduce_feed of machine-1 done: feed is 40 %" in told
