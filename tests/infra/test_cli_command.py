"""`twinflow command` against the real gate: each end has its exit code."""

from __future__ import annotations

import getpass
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors import command_events
from infra.cli import main
from infra.errors import ExitCode
from tests.flows.command_world import Valves, fresh
from tests.infra.command import Command

Run = Callable[..., tuple[int, str, str]]


class Device:
    """Answers every command it hears with the word in its name: `valve-done-…` says done."""

    def __init__(self, valves: Valves) -> None:
        self._valves, self._stop = valves, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        answered = 0
        while not self._stop.is_set():
            self._valves.read()
            for command in self._valves.commands[answered:]:
                answered += 1
                says = command["device"].split("-")[1]
                if says in ("done", "failed"):
                    self._valves.answer(command["id"], command["device"], says, "as it is named")

    def __enter__(self) -> Device:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def valves(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valves]:
    made = Valves(broker, tmp_path_factory.mktemp("valves"))
    with Device(made):
        yield made
    made.close()


@pytest.fixture(scope="module")
def flow(valves: Valves) -> Iterator[subprocess.Popen[bytes]]:
    with valves.flow() as process:
        yield process


@pytest.fixture
def twinflow(
    valves: Valves,
    flow: subprocess.Popen[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs the verb in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("TWINFLOW_KAFKA", valves.broker)
    monkeypatch.setenv("TWINFLOW_DATA", str(tmp_path))

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["command", *words])
        return code, *capsys.readouterr()

    return run


def test_a_command_is_followed_to_its_effect(valves: Valves, flow: subprocess.Popen[bytes], tmp_path: Path) -> None:
    command = Command(tmp_path, env={"TWINFLOW_KAFKA": valves.broker})
    done = command("command", f"valve-done-{fresh()}", "set", "share=0.5", "--reason", "a test")
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    asked, *lines = done.stdout.splitlines()
    assert asked.startswith("asked as ")
    assert [line.split()[2] for line in lines] == ["requested", "authorised", "dispatched", "acknowledged", "effect"]
    assert lines[0].endswith("a test")
    assert lines[-1].endswith("as it is named")


def test_a_refused_command_tells_the_check_that_failed(twinflow: Run) -> None:
    code, out, _ = twinflow(f"valve-done-{fresh()}", "set", "share=7", "--json")
    told = json.loads(out)
    assert (code, told["end"]) == (ExitCode.COMMAND_REFUSED, "refused")
    assert told["events"][-1]["detail"][0]["why"] == "arguments.share: 7 is greater than the maximum of 1"


def test_every_other_end_has_an_exit_code_of_its_own(twinflow: Run) -> None:
    code, out, _ = twinflow(f"valve-failed-{fresh()}", "open")
    assert code == ExitCode.COMMAND_FAILED
    assert out.endswith("failed by the device: as it is named\n")
    code, out, _ = twinflow(f"valve-mute-{fresh()}", "close")
    assert code == ExitCode.COMMAND_TIMED_OUT
    assert out.endswith("no answer within 1 s\n")


def test_alarms_are_shelved_by_a_duration(twinflow: Run) -> None:
    words = ("valve-done-1", "shelve", "alarm=1", "for=2h", "--reason", "service", "--json")
    code, out, _ = twinflow(*words)
    told = json.loads(out)
    assert (code, told["end"], told["arguments"]["alarm"]) == (ExitCode.OK, "effect", "1")
    assert told["arguments"]["until_ns"] - told["events"][0]["ts_ns"] == pytest.approx(7200e9, abs=60e9)


def test_the_issuer_is_the_person_at_the_terminal(twinflow: Run, valves: Valves) -> None:
    code, out, _ = twinflow(f"valve-done-{fresh()}", "open", "--no-wait", "--json")
    told = json.loads(out)
    assert (code, told["end"], told["events"]) == (ExitCode.OK, None, [])
    valves.await_heard(told["id"])
    assert valves.last(told["id"], "requested")["issuer"] == f"person:{getpass.getuser()}"


@pytest.mark.parametrize("words", [("open",), ("=1",), ("for=soon",)])
def test_words_that_are_no_argument_are_a_usage_error(twinflow: Run, words: tuple[str, ...]) -> None:
    code, out, err = twinflow("valve-done-1", "shelve", *words)
    assert (code, out, len(err.splitlines())) == (ExitCode.USAGE, "", 1)


def test_without_a_gate_it_says_so(
    twinflow: Run, flow: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.kill()
    flow.wait()
    monkeypatch.setattr(command_events, "FIRST_SECS", 0.5)
    code, _, err = twinflow("valve-done-1", "open")
    assert code == ExitCode.NO_VERDICT
    assert "the gate said nothing; twinflow status shows whether `commands` runs" in err
