"""The command over the real broker and the real history."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import clickhouse_connect
import pytest
from confluent_kafka.admin import AdminClient

from tests.infra.command import Command
from tests.infra.supervised import free_port, gone, until


@pytest.fixture
def twinflow(tmp_path: Path) -> Command:
    return Command(tmp_path / "data", env={"TWINFLOW_KAFKA_PORT": str(free_port())})


def pids(command: Command) -> dict[str, int]:
    return {row["name"]: row["pid"] for row in command.json("status")["processes"]}


def await_restart(command: Command, name: str) -> None:
    until(lambda: bool(command.row(name)["restarts"] == 1), f"{name} started again")
    command.await_ready()


def topics(bootstrap: str) -> set[str]:
    return {
        name for name in AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics if name[0] != "_"
    }


def answer(url: str, statement: str) -> object:
    client = clickhouse_connect.get_client(dsn=url)
    try:
        return client.command(statement)
    finally:
        client.close()


def test_broker_and_history_are_killed_and_come_back_and_down_leaves_nothing(twinflow: Command) -> None:
    with twinflow.running() as up:
        state = twinflow.await_ready()
        assert [row["name"] for row in state["processes"]] == ["kafka", "history"]
        assert "samples" in topics(state["endpoints"]["kafka"])
        assert answer(state["endpoints"]["clickhouse"], "SELECT 41 + 1") == 42
        doctor = {check["name"]: check["verdict"] for check in twinflow.json("doctor")["checks"]}
        assert (doctor["kafka"], doctor["history"], doctor["ports"]) == ("ok", "ok", "ok")
        assert twinflow("up").returncode == 4

        for name in ("kafka", "history"):
            before = pids(twinflow)
            os.kill(before[name], signal.SIGKILL)
            await_restart(twinflow, name)
            after = pids(twinflow)
            assert {n for n in before if before[n] != after[n]} == {name}

        assert "samples" in topics(state["endpoints"]["kafka"])
        assert answer(state["endpoints"]["clickhouse"], "SELECT 41 + 1") == 42
        last = pids(twinflow)
        assert twinflow("down").returncode == 0
        assert up.wait(timeout=60) == 0
    assert all(gone(pid) for pid in last.values())
    assert twinflow("status").returncode == 3


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel's death signal is Linux only")
def test_the_kill_of_the_supervisor_leaves_no_server_and_the_next_start_works(twinflow: Command) -> None:
    with twinflow.running() as up:
        twinflow.await_ready()
        left = pids(twinflow)
        up.kill()
        until(lambda: all(gone(pid) for pid in left.values()), "the end of both servers")
    assert twinflow("up", "--no-browser", "--exit-after", "0").returncode == 0
