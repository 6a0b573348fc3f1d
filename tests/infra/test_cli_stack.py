"""up, down, status and logs over small real servers."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra import stack
from infra.errors import CannotStart
from infra.paths import Folders
from infra.services import build
from infra.settings import Settings
from infra.supervisor.process import birth
from infra.supervisor.service import ChildState, ProcessRow
from infra.supervisor.statefile import StackState, write
from tests.infra.command import ROOT, Command
from tests.infra.supervised import free_port, gone, listens, until


@pytest.fixture
def twinflow(tmp_path: Path) -> Command:
    ports = {"TWINFLOW_KAFKA_PORT": str(free_port()), "TWINFLOW_PAGE_PORT": str(free_port())}
    return Command(tmp_path / "data", "tests.infra.fake_stack", ports)


def test_up_is_ready_then_drains_after_the_given_time_and_prints_one_object(twinflow: Command) -> None:
    done = twinflow("up", "--no-browser", "--exit-after", "0", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(p["name"], p["state"], p["restarts"]) for p in report["processes"]] == [
        ("broker", "ready", 0),
        ("page", "ready", 0),
    ]
    assert report["seconds_to_ready"] > 0
    assert report["rss_mb"] > 5
    assert report["samples"] == 7
    assert not any(listens(int(port)) for port in twinflow.env.values())


def test_status_follows_a_kill_and_the_way_back(twinflow: Command) -> None:
    with twinflow.running():
        before = twinflow.await_ready()
        assert before["url"] == f"http://127.0.0.1:{twinflow.env['TWINFLOW_PAGE_PORT']}"
        assert {p["state"] for p in before["processes"]} == {"ready"}
        os.kill(before["pid"], signal.SIGSTOP)  # so that nobody mends it before we look
        os.kill(twinflow.row("broker")["pid"], signal.SIGKILL)
        assert twinflow("status").returncode == 1
        os.kill(before["pid"], signal.SIGCONT)
        until(lambda: twinflow.row("broker")["restarts"] == 1 and twinflow("status").returncode == 0)


def test_down_drains_and_says_when_there_is_nothing_to_stop(twinflow: Command) -> None:
    with twinflow.running() as up:
        pids = [row["pid"] for row in twinflow.await_ready()["processes"]]
        assert twinflow("down").returncode == 0
        assert up.wait(timeout=30) == 0
    assert all(gone(pid) for pid in pids)
    again = twinflow("down")
    assert again.returncode == 3
    assert "nothing runs in" in again.stderr
    assert twinflow("status").returncode == 3
    assert twinflow.json("status") == {"url": None, "data": str(twinflow.data), "held": "", "processes": []}


def test_ctrl_c_drains_and_is_no_error(twinflow: Command) -> None:
    with twinflow.running() as up:
        pids = [row["pid"] for row in twinflow.await_ready()["processes"]]
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=30) == 0
    assert all(gone(pid) for pid in pids)


def test_a_second_up_says_who_holds_the_folder(twinflow: Command) -> None:
    with twinflow.running() as up:
        twinflow.await_ready()
        second = twinflow("up")
    assert second.returncode == 4
    assert f"held by pid {up.pid} since 2" in second.stderr
    assert len(second.stderr.splitlines()) == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel's death signal is Linux only")
def test_no_child_survives_the_kill_of_its_supervisor(twinflow: Command) -> None:
    with twinflow.running() as up:
        pids = [row["pid"] for row in twinflow.await_ready()["processes"]]
        up.kill()
        until(lambda: all(gone(pid) for pid in pids), "the end of all children")
    assert twinflow("status").returncode == 3


def test_the_next_up_ends_what_a_killed_one_left_behind(twinflow: Command) -> None:
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    row = ProcessRow("broker", left.pid, birth(left.pid), ChildState.READY, 0, 1.0, "")
    stranger = ProcessRow("page", os.getpid(), "another birth", ChildState.READY, 0, 1.0, "")
    twinflow.data.mkdir()
    write(twinflow.data / "state.json", StackState(1, "gone", "then", str(twinflow.data), {}, None, [row, stranger]))
    done = twinflow("up", "--exit-after", "0")
    assert done.returncode == 0
    assert "ended what an earlier run left: broker\n" in done.stderr
    assert left.wait(timeout=10) == -signal.SIGTERM


def test_a_port_set_on_purpose_that_is_taken_ends_the_start_and_names_its_holder(twinflow: Command) -> None:
    port = twinflow.env["TWINFLOW_PAGE_PORT"]
    with socket.create_server(("127.0.0.1", int(port))):
        done = twinflow("up")
    assert done.returncode == 5
    assert f"port {port} for page: held by pid {os.getpid()}" in done.stderr


def test_a_port_nobody_set_moves_to_the_next_free_one(twinflow: Command) -> None:
    free = Command(twinflow.data, twinflow.module)
    with free.running():
        first = free.await_ready()["endpoints"]["kafka"]
        other = Command(twinflow.data.with_name("other"), twinflow.module)
        with other.running():
            assert other.await_ready()["endpoints"]["kafka"] != first


def test_logs_show_the_last_lines_of_one_process_or_of_all(twinflow: Command) -> None:
    twinflow("up", "--exit-after", "0")
    assert twinflow("logs", "broker").stdout == "serving\n"
    everything = twinflow("logs").stdout
    assert "broker: serving\n" in everything
    assert "supervisor: " in everything
    wrong = twinflow("logs", "brokr")
    assert wrong.returncode == 2
    assert "did you mean broker?" in wrong.stderr


def test_following_a_log_prints_what_comes_later(twinflow: Command) -> None:
    twinflow("up", "--exit-after", "0")
    log = twinflow.data / "logs" / "broker.log"
    following = subprocess.Popen(
        [sys.executable, "-m", twinflow.module, "logs", "broker", "--follow"],
        env=twinflow.environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    assert following.stdout.readline() == "serving\n"
    with log.open("a") as file:
        file.write("later\n")
    assert following.stdout.readline() == "later\n"
    following.send_signal(signal.SIGINT)
    following.stdout.close()
    assert following.wait(timeout=10) == 0


def test_purge_deletes_the_data_folder_and_no_folder_that_is_not_ours(twinflow: Command) -> None:
    twinflow("up", "--exit-after", "0")
    assert twinflow("down", "--purge").returncode == 0
    assert not twinflow.data.exists()
    twinflow.data.mkdir()
    (twinflow.data / "thesis.txt").write_text("mine")
    refused = twinflow("down", "--purge")
    assert refused.returncode == 2
    assert "so twinflow did not make it" in refused.stderr
    assert (twinflow.data / "thesis.txt").exists()


def test_with_real_clusters_neither_broker_nor_history_starts_and_nothing_waits_for_them(tmp_path: Path) -> None:
    flags = ["kafka=127.0.0.1:1", "clickhouse=http://me:hunter2@127.0.0.1:1"]
    built = build(Settings.load(environ={}, flags=flags), Folders(tmp_path, tmp_path))
    started = {service.name for service in built.services}
    assert "telemetry" in started
    assert not started & {"kafka", "history"}
    assert all(set(service.after) <= started for service in built.services)
    assert built.endpoints == {"kafka": "127.0.0.1:1", "clickhouse": "http://me:hunter2@127.0.0.1:1"}
    assert stack._shown(built.endpoints)["clickhouse"] == "http://me:***@127.0.0.1:1"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = Command(tmp_path / "file" / "data", "tests.infra.fake_stack")("up")
    assert done.returncode == 5
    assert "not a directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_called_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(CannotStart, match="the disk is full; free space or choose another with --data"),
        stack.writable(tmp_path),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(stack, "ENOUGH_MB", 10**9)
    folders = Folders(tmp_path / "data", tmp_path / "cache")
    with pytest.raises(CannotStart, match=r"MB free, 1000000000 MB are needed"):
        stack.up(folders, Settings.load(environ={}), exit_after=None, as_json=False, browser=False)


def test_children_find_the_settings_and_the_addresses_in_their_environment(tmp_path: Path) -> None:
    settings = Settings.load(environ={}, flags=["kafka=broker:1", "clickhouse_user=flow"])
    env = build(settings, Folders(tmp_path, tmp_path)).env()
    assert (env["TWINFLOW_KAFKA"], env["TWINFLOW_CLICKHOUSE_USER"]) == ("broker:1", "flow")
    history = urlsplit(env["TWINFLOW_CLICKHOUSE"])
    assert (history.scheme, history.username, history.hostname) == ("http", "writer", "127.0.0.1")
    assert history.password
    assert env["NUMBA_CACHE_DIR"] == str(Folders(tmp_path, tmp_path).numba)
    assert "TWINFLOW_KAFKA_PORT" not in env


def test_parts_that_come_after_telemetry_wait_for_all_of_its_processes(tmp_path: Path) -> None:
    stack = build(Settings.load(environ={}, flags=["telemetry_processes=12"]), Folders(tmp_path, tmp_path))
    names = {f"telemetry-{i}" for i in range(1, 13)}
    assert set(stack.running("telemetry")) == names
    [simulator] = [s for s in stack.services if s.name == "simulator"]
    assert names < set(simulator.after)
    assert stack.running("history") == ("history",)
