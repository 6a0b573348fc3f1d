"""The command over the real broker and the real history."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from confluent_kafka.admin import AdminClient
from websockets.sync.client import connect

from tests.infra.accounting import answer, everything_is_accounted_for_and_stored, final
from tests.infra.command import Command
from tests.infra.supervised import free_port, gone, until

NAMES = ["kafka", "history", "ticker", "telemetry", "commands", "history-writer", "page", "simulator", "recordings"]


@pytest.fixture
def twinflow(tmp_path: Path) -> Command:
    return Command(tmp_path / "data", env={"TWINFLOW_KAFKA_PORT": str(free_port())})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """One stack for the tests that only break parts of it."""
    command = Command(tmp_path_factory.mktemp("stack") / "data", env={"TWINFLOW_KAFKA_PORT": str(free_port())})
    with command.running() as up:
        command.await_ready()
        yield command
        last = pids(command)
        assert command("down").returncode == 0
        assert up.wait(timeout=60) == 0
    assert all(gone(pid) for pid in last.values())
    assert command("status").returncode == 3


def pids(command: Command) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in command.json("status")["processes"]}


def kill_and_await(command: Command, name: str) -> None:
    before = command.row(name)
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: bool(command.row(name)["restarts"] > before["restarts"]), f"{name} started again")
    command.await_ready()


def topics(bootstrap: str) -> set[str]:
    return {
        name for name in AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics if name[0] != "_"
    }


def page(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path, timeout=10) as answered:
        return json.load(answered)


def link(url: str) -> dict[str, Any]:
    """What the live socket says of the broker to whoever connects."""
    with connect(url.replace("http", "ws") + "/ws/live", proxy=None) as socket:
        while True:
            message = json.loads(socket.recv(timeout=30))
            if message.get("topic") == "link":
                found: dict[str, Any] = message["data"]
                return found


@contextmanager
def kept_down(command: Command, name: str) -> Iterator[None]:
    """Kill a process and keep it from being started again while inside: the supervisor sleeps."""
    pid, supervisor = pids(command)[name], command.json("status")["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_every_process_is_killed_in_turn_and_comes_back_and_no_record_is_lost_or_told_twice(running: Command) -> None:
    state = running.await_ready()
    assert {row["name"] for row in state["processes"]} == set(NAMES)
    doctor = {check["name"]: check["verdict"] for check in running.json("doctor")["checks"]}
    assert (doctor["kafka"], doctor["history"], doctor["ports"]) == ("ok", "ok", "ok")
    assert running("up").returncode == 4

    for name in NAMES:
        kill_and_await(running, name)

    assert "samples" in topics(state["endpoints"]["kafka"])
    everything_is_accounted_for_and_stored(running)


def test_a_broker_that_is_gone_for_half_a_minute_costs_nothing_and_the_page_says_so(running: Command) -> None:
    url = running.await_ready()["url"]
    until(lambda: len(page(url, "/api/twins")) == 27, "all simulated and recorded devices")
    gaps = answer(running, "SELECT count() FROM gaps")
    telemetry = running.data / "logs" / "telemetry.log"
    with kept_down(running, "kafka"):
        until(lambda: page(url, "/healthz")["kafka"]["up"] is False, "the page sees it")
        said = page(url, "/healthz")["kafka"]["cause"]
        assert said.startswith("Kafka at 127.0.0.1:") and "does not answer" in said
        assert link(url)["up"] is False
        waits = "nothing is lost: the flow stops, restarts from its last snapshot"  # said after 30 s
        until(lambda: waits in telemetry.read_text(), "the flow gives up its transactions")
        assert len(page(url, "/api/twins")) == 27
    running.await_ready()
    until(lambda: bool(link(url)["up"]), "the link is back")
    everything_is_accounted_for_and_stored(running)
    assert answer(running, "SELECT count() FROM gaps") == gaps  # devices kept what they could not send


def test_a_history_that_is_gone_holds_up_nothing_and_has_everything_afterwards(running: Command) -> None:
    url = running.await_ready()["url"]
    point = str(time.time_ns())
    before = final(running, point)
    writer = running.data / "logs" / "history-writer.log"
    told = writer.stat().st_size
    with kept_down(running, "history"):
        taken = page(url, "/api/pipeline")["ledger"]["samples_in"]
        until(lambda: "next try in 5.00 s" in writer.read_text()[told:], "the writer waits as long as it ever does")
        with pytest.raises(HTTPError) as refused:
            page(url, f"/api/asof?at_ns={point}")
        assert "The history does not answer. Live values still arrive." in refused.value.read().decode()
        until(lambda: page(url, "/api/pipeline")["ledger"]["samples_in"] > taken, "telemetry goes on")
        assert page(url, "/healthz")["kafka"]["up"] is True
    running.await_ready()
    everything_is_accounted_for_and_stored(running)
    assert final(running, point) == before


def test_a_run_tells_when_its_first_page_was_there_and_what_it_saw(twinflow: Command) -> None:
    with twinflow.running("--json") as up:
        url = twinflow.await_ready()["url"]
        until(lambda: len(page(url, "/api/twins")) == 27, "all simulated and recorded devices")
        until(lambda: bool(page(url, "/api/alarms")), "the alarm of the machine that breaks")
        broken = "the rule asked, the gate sent, the machine obeyed, and the alarm returned"
        until(lambda: "vibration_high" in {a["source"] for a in page(url, "/api/alarms?state=returned")}, broken)
        up.send_signal(signal.SIGTERM)
        out, _ = up.communicate(timeout=60)
    told = json.loads(out)
    assert up.returncode == 0
    assert told["seconds_to_first_page"] > 0
    assert told["twins"] == 27
    assert told["samples"] > 1000
    assert told["ledger_balance"] == 0
    assert told["alerts"] >= 1
    assert told["commands_acknowledged"] >= 1
    assert told["rss_mb"] > 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel's death signal is Linux only")
def test_the_kill_of_the_supervisor_leaves_no_server_and_the_next_start_works(twinflow: Command) -> None:
    with twinflow.running() as up:
        twinflow.await_ready()
        left = pids(twinflow)
        up.kill()
        until(lambda: all(gone(pid) for pid in left.values()), "the end of both servers")
    assert twinflow("up", "--no-browser", "--exit-after", "0").returncode == 0
