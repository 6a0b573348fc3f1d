"""The command over the real broker and the real history."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from confluent_kafka.admin import AdminClient

from tests.infra.command import Command
from tests.infra.supervised import free_port, gone, until

NAMES = ["kafka", "history", "ticker", "telemetry", "commands", "history-writer", "page", "simulator", "recordings"]


@pytest.fixture
def twinflow(tmp_path: Path) -> Command:
    return Command(tmp_path / "data", env={"TWINFLOW_KAFKA_PORT": str(free_port())})


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


def answer(command: Command, url: str, statement: str) -> object:
    reader = json.loads((command.data / "history-users.json").read_text())["reader"]
    client = clickhouse_connect.get_client(dsn=url, username=reader["user"], password=reader["password"])
    try:
        return client.command(statement)
    finally:
        client.close()


def test_every_process_is_killed_in_turn_and_comes_back_and_no_record_is_lost_or_told_twice(twinflow: Command) -> None:
    with twinflow.running() as up:
        state = twinflow.await_ready()
        assert {row["name"] for row in state["processes"]} == set(NAMES)
        assert "samples" in topics(state["endpoints"]["kafka"])
        assert answer(twinflow, state["endpoints"]["clickhouse"], "SELECT 41 + 1") == 42
        doctor = {check["name"]: check["verdict"] for check in twinflow.json("doctor")["checks"]}
        assert (doctor["kafka"], doctor["history"], doctor["ports"]) == ("ok", "ok", "ok")
        assert twinflow("up").returncode == 4

        for name in NAMES:
            kill_and_await(twinflow, name)

        assert "samples" in topics(state["endpoints"]["kafka"])
        assert answer(twinflow, state["endpoints"]["clickhouse"], "SELECT count() > 0 FROM samples") == 1
        checked = twinflow("ledger", "--check", "--json")
        assert checked.returncode == 0, checked.stdout
        last = pids(twinflow)
        assert twinflow("down").returncode == 0
        assert up.wait(timeout=60) == 0
    assert all(gone(pid) for pid in last.values())
    assert twinflow("status").returncode == 3


def test_a_run_tells_when_its_first_page_was_there_and_what_it_saw(twinflow: Command) -> None:
    with twinflow.running("--json") as up:
        url = twinflow.await_ready()["url"]
        until(lambda: len(page(url, "/api/twins")) == 27, "all simulated and recorded devices")
        until(lambda: bool(page(url, "/api/alarms")), "the alarm of the machine that breaks")
        up.send_signal(signal.SIGTERM)
        out, _ = up.communicate(timeout=60)
    told = json.loads(out)
    assert up.returncode == 0
    assert told["seconds_to_first_page"] > 0
    assert told["twins"] == 27
    assert told["samples"] > 1000
    assert told["ledger_balance"] == 0
    assert told["alerts"] >= 1
    assert told["rss_mb"] > 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel's death signal is Linux only")
def test_the_kill_of_the_supervisor_leaves_no_server_and_the_next_start_works(twinflow: Command) -> None:
    with twinflow.running() as up:
        twinflow.await_ready()
        left = pids(twinflow)
        up.kill()
        until(lambda: all(gone(pid) for pid in left.values()), "the end of both servers")
    assert twinflow("up", "--no-browser", "--exit-after", "0").returncode == 0
