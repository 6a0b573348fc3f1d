"""Start, one owner, sudden death, orderly end."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.errors import ExitCode, UsageFault
from infra.history.front import arguments, users
from tests.support_history import HistoryHandle, await_healthy, free_port, running_history, start_front


def writer_of(history: HistoryHandle) -> Client:
    return clickhouse_connect.get_client(
        host="127.0.0.1",
        port=history.port,
        username=history.writer.user,
        password=history.writer.password,
        query_retries=0,
    )


def log_of(folder: Path) -> str:
    return (folder / "front.log").read_text()


def insert_until_it_ends(history: HistoryHandle, table: str, worker: int, acknowledged: list[tuple[int, int]]) -> None:
    client = writer_of(history)
    n = 0
    try:
        while True:
            client.insert(table, [[worker, n + i] for i in range(10)], column_names=["worker", "n"])
            acknowledged.extend((worker, n + i) for i in range(10))
            n += 10
    except ClickHouseError:
        client.close_connections()


def load(history: HistoryHandle, table: str, enough: int) -> tuple[list[tuple[int, int]], list[threading.Thread]]:
    """Four clients that insert until the history goes away; returns once `enough` rows were acknowledged."""
    with writer_of(history) as client:
        client.command(f"CREATE TABLE {table} (worker UInt32, n UInt32) ENGINE = MergeTree ORDER BY (worker, n)")
    acknowledged: list[tuple[int, int]] = []
    threads = [
        threading.Thread(target=insert_until_it_ends, args=(history, table, worker, acknowledged))
        for worker in range(4)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(acknowledged) < enough and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(acknowledged) >= enough
    return acknowledged, threads


def stored(history: HistoryHandle, table: str) -> list[tuple[int, int]]:
    with writer_of(history) as client:
        return [tuple(row) for row in client.query(f"SELECT worker, n FROM {table}").result_rows]


def test_what_was_acknowledged_survives_sudden_deaths(tmp_path: Path) -> None:
    acknowledged: list[tuple[int, int]] = []
    for life in range(3):
        with running_history(tmp_path) as history:
            for before in range(life):
                rows = stored(history, f"life_{before}")
                assert len(rows) == len(set(rows))
                assert before < life - 1 or set(acknowledged) <= set(rows)
            acknowledged, threads = load(history, f"life_{life}", enough=200)
            history.kill()
            for thread in threads:
                thread.join()
    with running_history(tmp_path) as history:
        rows = stored(history, "life_2")
        assert set(acknowledged) <= set(rows)
        assert len(rows) == len(set(rows))
        assert len(rows) % 10 == 0  # an insert is there as a whole or not at all
        with writer_of(history) as client:
            client.command("CREATE DATABASE own")
            client.command("CREATE TABLE own.t (n UInt8) ENGINE = MergeTree ORDER BY n")
            client.insert("own.t", [[1]], column_names=["n"])
        history.kill()
    with running_history(tmp_path) as history, writer_of(history) as client:
        assert client.query("SELECT n FROM own.t").result_rows == [(1,)]


def test_a_stop_under_load_answers_what_runs_and_loses_nothing(tmp_path: Path) -> None:
    with running_history(tmp_path) as history:
        acknowledged, threads = load(history, "loaded", enough=200)
        slow: list[object] = []

        def ask_slowly() -> None:
            with writer_of(history) as client:
                slow.append(client.query("SELECT sum(sleepEachRow(0.01)) + 1 FROM numbers(120)").result_rows)

        with writer_of(history) as watcher:
            asking = threading.Thread(target=ask_slowly)
            asking.start()
            running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEach' || 'Row%'"
            deadline = time.monotonic() + 30
            while watcher.query(running).result_rows == [(0,)] and time.monotonic() < deadline:
                pass
        assert history.stop() == ExitCode.OK
        for thread in [*threads, asking]:
            thread.join()
    assert slow == [[(1,)]]
    with running_history(tmp_path) as history:
        assert set(acknowledged) <= set(stored(history, "loaded"))
    assert log_of(tmp_path).count("stopped") >= 1
    assert "Traceback" not in log_of(tmp_path)


def test_a_statement_that_will_not_end_is_interrupted(tmp_path: Path) -> None:
    with running_history(tmp_path, options=["--grace-secs", "0.3"]) as history:
        failed: list[object] = []

        def ask_for_ever() -> None:
            try:
                with writer_of(history) as client:
                    client.query("SELECT count() FROM numbers(10000000000000)")
            except ClickHouseError as error:
                failed.append(getattr(error, "code", None))

        with writer_of(history) as watcher:
            asking = threading.Thread(target=ask_for_ever)
            asking.start()
            running = "SELECT count() FROM system.processes WHERE query LIKE '%numbers(10000' || '000%'"
            while watcher.query(running).result_rows == [(0,)]:
                pass
        assert history.stop() == ExitCode.OK
        asking.join()
    assert failed == [394]


def test_a_second_front_says_who_holds_the_folder(tmp_path: Path) -> None:
    with running_history(tmp_path) as history:
        second = start_front(tmp_path, free_port())
        assert second.wait(30) == ExitCode.HELD
        assert f"held by pid {history.process.pid} since" in log_of(tmp_path)
        with writer_of(history) as client:
            assert client.query("SELECT 1").result_rows == [(1,)]


def test_the_lock_of_a_dead_owner_is_taken_over(tmp_path: Path) -> None:
    with running_history(tmp_path) as history:
        history.kill()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == history.process.pid
    with running_history(tmp_path) as history, writer_of(history) as client:
        assert client.ping()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with running_history(tmp_path / "a") as history:
        second = start_front(tmp_path / "b", history.port)
        assert second.wait(30) == ExitCode.CANNOT_START
        assert f"address 127.0.0.1:{history.port}" in log_of(tmp_path / "b")


def test_without_passwords_only_loopback_is_ever_bound(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        options = arguments(["--data", str(tmp_path), "--port", "1", "--host", host])
        with pytest.raises(UsageFault, match="no passwords"):
            users(options, {})
        assert not users(
            options, {"TWINFLOW_HISTORY_WRITER_PASSWORD": "w", "TWINFLOW_HISTORY_READER_PASSWORD": "r"}
        ).open
    front = start_front(tmp_path, free_port(), ["--host", "0.0.0.0"])
    assert front.wait(30) == ExitCode.USAGE


def test_without_passwords_a_page_with_a_name_of_its_own_gets_nothing(tmp_path: Path) -> None:
    port = free_port()
    front = start_front(tmp_path, port)
    try:
        await_healthy(f"http://127.0.0.1:{port}", front)
        with clickhouse_connect.get_client(host="localhost", port=port) as client:
            assert client.command("SELECT 1") == 1
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for host, status in (("127.0.0.1", 200), ("localhost:1", 200), ("evil.example", 403)):
            connection.request("GET", "/?query=SELECT+1", headers={"Host": host})
            response = connection.getresponse()
            assert (response.status, bool(response.read())) == (status, True)
        connection.close()
    finally:
        front.terminate()
        assert front.wait(30) == ExitCode.OK
