from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors import CannotStart
from infra.paths import Folders
from infra.services import Health, Stack
from infra.settings import Settings
from infra.supervisor.service import ChildState, Service, Timing, in_order
from tests.connectors.test_health import Asked, answering
from tests.infra.supervised import QUICK, Stage, free_port, gone, script, server, until

READY, FAILED = ChildState.READY, ChildState.FAILED


def pid_of(stage: Stage, name: str) -> int:
    pid = stage.row(name).pid
    assert pid is not None
    return pid


def test_services_become_ready_in_the_order_of_their_needs_and_stop_in_reverse(tmp_path: Path) -> None:
    stage = Stage([server("page", after=("flow",)), server("flow", after=("broker",)), server("broker")], tmp_path)
    run = stage.run(exit_after=0.0)
    assert stage.order(READY) == ["broker", "flow", "page"]
    assert stage.order(ChildState.STOPPED) == ["page", "flow", "broker"]
    assert run.seconds_to_ready is not None
    assert stage.left() == []


def test_a_killed_child_comes_back_and_counts_one_restart(tmp_path: Path) -> None:
    stage = Stage([server("broker"), server("flow", after=("broker",))], tmp_path)

    def play() -> None:
        until(lambda: stage.is_in("flow", READY))
        first, other = pid_of(stage, "broker"), pid_of(stage, "flow")
        os.kill(first, signal.SIGKILL)
        stage.await_ready("broker", 1)
        assert pid_of(stage, "broker") != first
        assert pid_of(stage, "flow") == other
        assert gone(first)

    stage.run(play)
    assert any("killed by SIGKILL; again in" in event for event in stage.events)


def test_a_process_that_is_behind_is_ready_and_the_status_says_how_far(tmp_path: Path) -> None:
    asked, port = Asked(), free_port()
    health = Health(Stack(Settings.load(environ={}), Folders(tmp_path, tmp_path)), "flow", port)
    service = replace(server("flow"), ready=health.ready, note=health.note)
    stage = Stage([service], tmp_path)

    def play() -> None:
        until(lambda: stage.row("flow").why.endswith("Connection refused"))
        with answering(asked, port):
            until(lambda: stage.is_in("flow", READY))
            assert stage.row("flow").why == ""
            asked.age = 12.4
            until(lambda: stage.row("flow").why == "behind 12 s")
            assert stage.is_in("flow", READY)
            asked.age = 0.0
            until(lambda: stage.row("flow").why == "")
            asked.why = "no turn for 11 s"
            until(lambda: stage.row("flow").why == "no turn for 11 s")
            assert stage.is_in("flow", ChildState.UNREADY)

    stage.run(play)


def test_each_death_in_a_row_waits_twice_as_long(tmp_path: Path) -> None:
    stage = Stage([server("broker")], tmp_path)

    def play() -> None:
        for restarts in range(3):
            stage.await_ready("broker", restarts)
            os.kill(pid_of(stage, "broker"), signal.SIGKILL)
        until(lambda: stage.row("broker").restarts == 3)

    stage.run(play)
    pauses = [event.rpartition("again in ")[2] for event in stage.events if "again in" in event]
    assert pauses == ["0.02 s", "0.04 s", "0.08 s"]


def test_a_stable_child_starts_with_the_shortest_pause_again(tmp_path: Path) -> None:
    timing = Timing(probe_secs=0.01, check_secs=0.01, backoff_secs=0.02, stable_secs=0.05)
    stage = Stage([server("broker")], tmp_path, timing)

    def play() -> None:
        for restarts in range(2):
            stage.await_ready("broker", restarts)
            until(lambda: stage.supervisor.children["broker"].deaths == 0)
            os.kill(pid_of(stage, "broker"), signal.SIGKILL)
        until(lambda: stage.row("broker").restarts == 2)

    stage.run(play)
    assert [event.rpartition(" in ")[2] for event in stage.events if "again in" in event] == ["0.02 s", "0.02 s"]


def test_a_frozen_child_is_unready_then_killed_and_started_again(tmp_path: Path) -> None:
    port = free_port()
    quiet = server("broker", port)
    answers = ["yes"]
    probed = Service(quiet.name, quiet.argv, ready=lambda: quiet.ready() if answers else "no answer")
    stage = Stage([probed], tmp_path)

    def play() -> None:
        until(lambda: stage.is_in("broker", READY))
        answers.clear()
        until(lambda: stage.is_in("broker", ChildState.UNREADY))
        assert stage.row("broker").why == "no answer"
        until(lambda: stage.row("broker").restarts == 1)
        answers.append("yes")
        until(lambda: stage.is_in("broker", READY))

    stage.run(play)
    assert any("no answer for 0.5 s" in event for event in stage.events)


def test_a_child_that_never_comes_up_ends_the_run_with_the_last_line_of_its_log(tmp_path: Path) -> None:
    broken = Service("flow", lambda: script("print('no such topic'); raise SystemExit(7)"), ready=lambda: "not there")
    stage = Stage([server("broker"), broken], tmp_path)
    run = stage.run()
    assert (run.failed, run.why, run.last_line) == ("flow", "exited with 7", "no such topic")
    assert stage.row("flow").restarts == QUICK.tries - 1
    assert stage.left() == []


def test_a_preparation_that_fails_on_purpose_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    def argv() -> list[str]:
        raise CannotStart(what="jars", why="no internet", fix="connect")

    run = Stage([Service("broker", argv, ready=lambda: "")], tmp_path).run()
    assert isinstance(run.error, CannotStart)
    assert str(run.error) == "jars: no internet; connect"


def test_what_must_be_settled_is_settled_once_per_start_and_before_ready(tmp_path: Path) -> None:
    base, settled = server("broker"), list[str]()
    service = Service(base.name, base.argv, ready=base.ready, settle=lambda: settled.append("topics"))
    stage = Stage([service], tmp_path)

    def play() -> None:
        until(lambda: stage.is_in("broker", READY))
        assert settled == ["topics"]
        os.kill(pid_of(stage, "broker"), signal.SIGKILL)
        stage.await_ready("broker", 1)

    stage.run(play)
    assert settled == ["topics", "topics"]


def test_a_start_that_takes_too_long_counts_as_a_death(tmp_path: Path) -> None:
    slow = Service("flow", lambda: script("import time; time.sleep(60)"), lambda: "closed", ready_within_secs=0.05)
    run = Stage([slow], tmp_path).run()
    assert run.why == "not ready within 0.05 s: closed"


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    stage = Stage([server("deaf", None, "deaf", grace=0.1)], tmp_path)
    stage.run(lambda: until(lambda: stage.is_in("deaf", READY)))
    assert any("did not stop within 0.1 s, killed" in event for event in stage.events)
    assert stage.left() == []


def test_a_second_request_to_stop_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    stage = Stage([server("deaf", None, "deaf", grace=600.0)], tmp_path)

    def play() -> None:
        until(lambda: stage.is_in("deaf", READY))
        stage.supervisor.stop()
        until(lambda: stage.is_in("deaf", ChildState.STOPPING))

    stage.run(play)
    assert stage.left() == []


def test_what_a_child_started_itself_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(child.pid) + "\\n")
time.sleep(600)
"""
    stage = Stage([Service("tree", lambda: script(code, str(note)), lambda: "" if note.exists() else "soon")], tmp_path)

    def play() -> None:
        until(lambda: stage.is_in("tree", READY))
        until(lambda: note.read_text().endswith("\n"))

    stage.run(play)
    until(lambda: gone(int(note.read_text())), "the end of the grandchild")


def test_no_services_at_all_are_ready_at_once(tmp_path: Path) -> None:
    assert Stage([], tmp_path).run(exit_after=0.0).seconds_to_ready is not None


def test_a_service_that_needs_an_unknown_one_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown \\['kafak'\\]"):
        in_order([server("flow", after=("kafak",))])
