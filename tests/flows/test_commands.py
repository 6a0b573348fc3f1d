"""The commands flow over a real broker: the life of a command, bad input, repeats, a second copy, the settings."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import msgspec
import pytest

from flows.history_records import RECORDS
from tests.connectors.brokers import until
from tests.flows.command_world import AWAIT_SECS, Valves, fresh, port


@pytest.fixture(scope="module")
def valves(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valves]:
    made = Valves(broker, tmp_path_factory.mktemp("valves"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def flow(valves: Valves) -> Iterator[subprocess.Popen[bytes]]:
    with valves.flow() as process:
        yield process


pytestmark = pytest.mark.usefixtures("flow")


def test_a_request_is_dispatched_acknowledged_and_takes_effect(valves: Valves) -> None:
    device = f"valve-{fresh()}"
    command = valves.ask(device, "set", {"share": 0.5})
    told = valves.await_stage(command, "dispatched")
    until(lambda: valves.read() is None or valves.dispatched(command), "the command", AWAIT_SECS)
    [sent] = valves.dispatched(command)
    assert sent == {
        "id": command,
        "device": device,
        "verb": "set",
        "arguments": {"share": 0.5},
        "issuer": "person:ann",
        "ts_ns": told["ts_ns"],
        "deadline_ns": told["ts_ns"] + 60_000_000_000,
        "lineage": told["lineage"],
    }
    assert (sent["lineage"]["topic"], sent["lineage"]["cause"]) == ("command-requests", None)
    valves.answer(command, device, "accepted")
    valves.await_stage(command, "acknowledged")
    valves.answer(command, device, "done", "half open")
    assert valves.await_stage(command, "effect")["reason"] == "half open"
    assert valves.stages(command) == ["requested", "authorised", "dispatched", "acknowledged", "effect"]
    assert valves.last(command, "requested")["reason"] == "a test"
    for topic, record in (("commands", sent), ("command-events", told)):
        cells = dict(zip(RECORDS[topic].schema, RECORDS[topic].read(device, msgspec.json.encode(record)), strict=True))
        assert (cells["id"], cells["arguments"], cells["ts_ns"]) == (command, '{"share":0.5}', told["ts_ns"])


def test_a_command_without_an_answer_times_out_and_a_late_answer_is_told_as_late(valves: Valves) -> None:
    device = f"valve-{fresh()}"
    command = valves.ask(device, "close")
    assert valves.await_stage(command, "timed_out")["reason"] == "no answer within 1 s"
    valves.answer(command, device, "done")
    assert valves.await_stage(command, "effect")["reason"].startswith("late: ")
    assert valves.last(command, "acknowledged")["reason"].startswith("late: ")


def test_what_the_device_refuses_or_cannot_do_has_failed_with_its_words(valves: Valves) -> None:
    device = f"valve-{fresh()}"
    command = valves.ask(device, "open")
    valves.await_stage(command, "dispatched")
    valves.answer(command, device, "refused", "in local mode")
    assert valves.await_stage(command, "failed")["reason"] == "refused by the device: in local mode"


def test_a_refused_request_names_the_check_and_reaches_no_device(valves: Valves) -> None:
    device = f"valve-{fresh()}"
    command = valves.ask(device, "set", {"share": 7})
    told = valves.await_stage(command, "refused")
    assert told["reason"] == "schema: arguments.share: 7 is greater than the maximum of 1"
    assert [c["check"] for c in told["detail"]] == ["schema"]
    grave = valves.ask(device, "weld_shut")
    told = valves.await_stage(grave, "refused")
    assert (told["detail"][-1]["check"], told["detail"][-1]["passed"]) == ("second_approval", False)
    stale = valves.ask(device, "open", ts_ns=time.time_ns() - 60_000_000_000)
    assert valves.await_stage(stale, "refused")["detail"][-1]["check"] == "deadline"
    assert [c["id"] for c in valves.commands if c["device"] == device] == []


def test_a_repeated_id_is_told_again_and_dispatched_once(valves: Valves) -> None:
    device = f"valve-{fresh()}"
    command = valves.ask(device, "open")
    first = valves.await_stage(command, "dispatched")
    for _ in range(3):
        valves.ask(device, "open", id=command)
    until(lambda: valves.read() is None or len(valves.stages(command, again=True)) == 6, "three repeats", AWAIT_SECS)
    assert [e for e in valves.events if e["id"] == command][3:] == [{**first, "again": True}] * 3
    assert len(valves.dispatched(command)) == 1


def test_alarm_verbs_are_carried_out_by_the_gate_and_no_device_hears_of_them(valves: Valves) -> None:
    device = f"valve-{fresh()}"
    until_ns = time.time_ns() + 3_600_000_000_000
    for verb, arguments in (("acknowledge", {}), ("shelve", {"until_ns": until_ns}), ("unshelve", {})):
        command = valves.ask(device, verb, {"alarm": "a-1", **arguments})
        valves.await_stage(command, "effect")
        assert valves.stages(command) == ["requested", "authorised", "effect"]
        assert valves.dispatched(command) == []


BAD = {
    "not JSON": (b"{", "bad_json"),
    "no object": (b"[1]", "bad_shape"),
    "not UTF-8": (b"\xff", "bad_utf8"),
    "too deep": (b"[" * 50_000, "too_deep"),
    "no id": (b'{"device":"valve-1","verb":"open"}', "bad_id"),
    "long id": (b'{"device":"valve-1","verb":"open","id":"%s"}' % (b"x" * 129), "bad_id"),
    "no device": (b'{"id":"x","verb":"open"}', "bad_device"),
    "a path for a device": (b'{"id":"x","device":"../x"}', "bad_device"),
}


def test_what_names_no_command_is_a_dead_letter_and_the_next_request_goes_on(valves: Valves) -> None:
    key = f"valve-{fresh()}"
    for raw, _ in BAD.values():
        valves.send("command-requests", key, raw)
        valves.send("command-acks", key, raw)
    command = valves.ask(key, "open")
    valves.await_stage(command, "dispatched")

    def found() -> list[str]:
        valves.read()
        return [letter["reason"] for letter in valves.letters if letter["key"] == key]

    until(lambda: len(found()) == 2 * len(BAD), "the dead letters", AWAIT_SECS)
    assert sorted(found()) == sorted([reason for _, reason in BAD.values()] * 2)
    assert {letter["topic"] for letter in valves.letters if letter["key"] == key} == {
        "command-requests",
        "command-acks",
    }


def test_what_names_itself_but_is_wrong_is_refused_with_the_failing_check(valves: Valves) -> None:
    device, now_ns = f"valve-{fresh()}", time.time_ns()
    whole = '{"id":"ID","device":"%s","verb":"set","issuer":"person:ann","ts_ns":%d,"arguments":{"share":NUMBER}}'
    whole %= device, now_ns
    wrong = {
        "bad_value": whole.replace("NUMBER", "NaN"),
        "duplicate_key": whole.replace("NUMBER", '0.5,"share":0.1'),
        "too_large": whole.replace("NUMBER", "0.5") + " " * 70_000,
        "bad_shape": whole.replace(str(now_ns), '"now"').replace("NUMBER", "0.5"),
    }
    for reason, text in wrong.items():
        command = fresh()
        valves.send("command-requests", device, text.replace("ID", command).encode())
        assert valves.await_stage(command, "refused")["reason"].startswith(f"schema: {reason}")
    command = fresh()
    valves.send("command-requests", "valve-x", whole.replace("ID", command).replace("NUMBER", "0.5").encode())
    assert valves.await_stage(command, "refused")["reason"] == "schema: wrong_key: the record's key is b'valve-x'"


def test_answers_of_unknown_commands_and_of_other_devices_are_dead_letters(valves: Valves) -> None:
    device, other = f"valve-{fresh()}", f"valve-{fresh()}"
    command = valves.ask(device, "open")
    valves.await_stage(command, "dispatched")
    valves.answer(command, other, "done")
    valves.answer(fresh(), device, "done")
    valves.answer(command, device, "accepted")
    valves.await_stage(command, "acknowledged")

    def reasons() -> set[str]:
        valves.read()
        return {letter["reason"] for letter in valves.letters if letter["key"] in (device, other)}

    until(lambda: reasons() == {"wrong_device", "unknown_command"}, "both letters", AWAIT_SECS)
    assert "effect" not in valves.stages(command)


def test_a_demand_for_a_check_that_does_not_exist_stops_the_flow_at_once(valves: Valves) -> None:
    with valves.flow(TWINFLOW_GATE_REQUIRED="rolle") as process:
        assert process.wait(AWAIT_SECS) == 1
    assert "TWINFLOW_GATE_REQUIRED: 'rolle' is no slot of the gate; there are signature" in valves.log.read_text()


def test_a_second_copy_takes_over_goes_on_where_the_first_stood_and_fences_it(
    valves: Valves, flow: subprocess.Popen[bytes]
) -> None:
    """The last test: the flow of the others ends here."""
    device = f"valve-{fresh()}"
    waiting, ended = valves.ask(device, "open"), valves.ask(device, "open")
    for command in (waiting, ended):
        valves.await_stage(command, "dispatched")
    valves.answer(ended, device, "done")
    valves.await_stage(ended, "effect")
    health = port()
    with valves.flow(TWINFLOW_HEALTH_PORT=health, TWINFLOW_GATE_REQUIRED="role, rate") as second:
        until(lambda: answers(health), "ready", AWAIT_SECS)
        valves.ask(device, "open", id=ended)
        assert flow.wait(AWAIT_SECS) == 1
        assert "fenced by a newer instance" in valves.log.read_text()
        valves.answer(waiting, device, "done")
        valves.await_stage(waiting, "effect")
        until(lambda: valves.read() is None or valves.stages(ended, again=True)[-2:] == ["effect"] * 2, "again", 60)
        assert len(valves.dispatched(ended)) == len(valves.dispatched(waiting)) == 1
        refused = valves.await_stage(valves.ask(device, "open"), "refused")
        assert refused["reason"] == "role: role is demanded by a setting, but nothing does it"
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/metrics") as answer:
            assert b"twinflow_commands_dispatched_total 0.0\n" in answer.read()
        valves.drain(second)


def answers(health: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{health}/healthz") as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False
