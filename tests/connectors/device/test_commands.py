"""Commands reach a device over a real broker: each is acted on once, in time, and answered."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from connectors.device import LATER, Command, Gateway, Refused
from connectors.device.link import partition_of
from tests.connectors.batches import Sent
from tests.connectors.brokers import by_confluent, new_topic, produce, until
from tests.connectors.device.gate import PARTITIONS, answers, command, dispatch, ended, said


@dataclass
class Bench:
    """A gateway with two pumps whose handlers note what they did, and the gate's side."""

    broker: str
    commands: str
    acks: str
    done: list[str] = field(default_factory=list)
    held: list[Command] = field(default_factory=list)

    def gateway(self, **more: Any) -> Gateway:
        topics = {"commands_topic": self.commands, "acks_topic": self.acks}
        gateway = Gateway(self.broker, ["pump-7", "pump-8"], **{"spool": None, **topics, **more})

        @gateway.on("set_speed")
        def set_speed(told: Command) -> str:
            self.done.append(f"{told.device} {told.arguments['speed_rpm']}")
            return f"goes to {told.arguments['speed_rpm']} rpm"

        @gateway.on("reset")
        def reset(told: Command) -> None:
            raise Refused("the loop is under pressure")

        @gateway.on("open")
        def open_valve(told: Command) -> None:
            raise OSError("valve bus does not answer")

        @gateway.on("prime")
        def prime(told: Command) -> object:
            told.accept("fills the loop")
            self.held.append(told)
            return LATER

        return gateway

    def send(self, *given: dict[str, Any]) -> None:
        dispatch(self.broker, self.commands, *given)

    def ended(self, given: dict[str, Any], count: int = 1) -> list[tuple[str, str]]:
        return ended(self.broker, self.acks, given, answers=count)


@pytest.fixture
def bench(broker: str) -> Bench:
    return Bench(broker, new_topic(broker, partitions=12), new_topic(broker, partitions=12))


@pytest.fixture
def listening(bench: Bench) -> Iterator[Gateway]:
    with bench.gateway() as gateway:
        assert gateway.wait_ready(60)
        yield gateway


@pytest.mark.usefixtures("listening")
def test_a_handler_returns_and_the_answer_is_done_with_its_words(bench: Bench) -> None:
    given = command("pump-7", "set_speed", arguments={"speed_rpm": 1450})
    bench.send(given)
    assert bench.ended(given) == [("done", "goes to 1450 rpm")]
    [answer] = answers(bench.broker, bench.acks, "pump-7")
    assert list(answer) == ["id", "device", "status", "detail", "ts_ns"]
    assert given["ts_ns"] < answer["ts_ns"] < given["ts_ns"] + 90e9


@pytest.mark.usefixtures("listening")
def test_refused_failed_unknown_and_late_commands_say_why_and_nothing_is_done(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    refused, failed, unknown = (command("pump-7", verb) for verb in ("reset", "open", "fly"))
    late = command("pump-7", "set_speed", arguments={"speed_rpm": 1}, wait_secs=-2)
    with caplog.at_level(logging.CRITICAL, "twinflow.device"):
        bench.send(refused, failed, unknown, late)
        [(status, why)] = bench.ended(late)
    assert bench.ended(refused) == [("refused", "the loop is under pressure")]
    assert bench.ended(failed) == [("failed", "OSError: valve bus does not answer")]
    assert bench.ended(unknown) == [("refused", "pump-7 does not know 'fly'; it knows open, prime, reset, set_speed")]
    assert status == "refused"
    assert re.fullmatch(r"its deadline passed \d+\.\d s ago", why)
    assert bench.done == []


@pytest.mark.usefixtures("listening")
def test_a_repeated_id_is_answered_again_with_the_stored_answer_and_not_acted_on(bench: Bench) -> None:
    given = command("pump-7", "set_speed", arguments={"speed_rpm": 900})
    bench.send(given, {**given, "arguments": {"speed_rpm": 2900}})
    assert bench.ended(given, 2) == [("done", "goes to 900 rpm")] * 2
    first, second = answers(bench.broker, bench.acks, "pump-7")
    assert first == second
    assert bench.done == ["pump-7 900"]


@pytest.mark.usefixtures("listening")
def test_work_that_goes_on_is_accepted_first_and_done_later_from_any_thread(bench: Bench) -> None:
    given = command("pump-8", "prime")
    bench.send(given)
    assert bench.ended(given) == [("accepted", "fills the loop")]
    bench.send(given)  # while it goes on
    assert bench.ended(given, 2) == [("accepted", "fills the loop")] * 2
    [held] = bench.held
    ending = threading.Thread(target=held.done, args=("full",))
    ending.start()
    ending.join()
    held.fail("too late: the first end stands")
    assert bench.ended(given, 3)[2:] == [("done", "full")]


def test_commands_of_other_devices_and_wrong_records_are_passed_over(
    bench: Bench, listening: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    other = [command(f"pump-{n}", "set_speed", arguments={"speed_rpm": 1}) for n in range(20, 44)]
    wrong = [b"", b"{", b"[]", b'{"id":"x"}', b'{"id":"x","device":"pump-8","verb":"reset","ts_ns":1,"deadline_ns":2}']
    mine = command("pump-7", "set_speed", arguments={"speed_rpm": 1000})
    with caplog.at_level(logging.CRITICAL, "twinflow.device"):
        at = partition_of(b"pump-7", PARTITIONS)
        produce(bench.broker, bench.commands, [Sent(b"pump-7", value) for value in wrong], partition=at)
        bench.send(*other, mine)
        assert bench.ended(mine) == [("done", "goes to 1000 rpm")]
    assert bench.done == ["pump-7 1000"]
    answered = [m for p in range(PARTITIONS) for m in by_confluent(bench.broker, bench.acks, partition=p)]
    assert len(answered) == 1
    assert listening.counts["waiting"] == 0


def test_handlers_may_run_in_the_thread_that_polls(bench: Bench) -> None:
    with bench.gateway(handlers="poll") as gateway:
        assert gateway.wait_ready(60)
        threads: list[str] = []
        gateway.on("where")(lambda _told: threads.append(threading.current_thread().name))
        given = command("pump-7", "where")
        bench.send(given)
        until(gateway.poll, "a command", 60.0)
        assert bench.ended(given) == [("done", "")]
        assert threads == [threading.current_thread().name]


def test_a_device_without_a_memory_hears_only_what_is_sent_after_it_began_to_listen(bench: Bench) -> None:
    before = command("pump-7", "set_speed", arguments={"speed_rpm": 1})
    bench.send(before)
    with bench.gateway() as gateway:
        assert gateway.wait_ready(60)
        after = command("pump-7", "set_speed", arguments={"speed_rpm": 2})
        bench.send(after)
        assert bench.ended(after) == [("done", "goes to 2 rpm")]
    assert said(bench.broker, bench.acks, before) == []


def test_a_device_with_a_spool_hears_what_was_sent_while_it_was_away_also_when_it_never_had_a_command(
    bench: Bench, tmp_path: Path
) -> None:
    with bench.gateway(spool=tmp_path) as gateway:
        assert gateway.wait_ready(60)
    given = command("pump-7", "set_speed", arguments={"speed_rpm": 4}, wait_secs=300)
    bench.send(given)
    with bench.gateway(spool=tmp_path):
        assert bench.ended(given) == [("done", "goes to 4 rpm")]


def test_a_device_that_joins_later_is_heard_too(bench: Bench, listening: Gateway) -> None:
    listening.add("pump-9")
    assert listening.wait_ready(60)
    given = command("pump-9", "set_speed", arguments={"speed_rpm": 3})
    bench.send(given)
    assert bench.ended(given) == [("done", "goes to 3 rpm")]
