"""Real Kafka, real ClickHouse engine, the writer as a process: every row once, whoever is killed when."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.clickhouse import ClickHouse
from connectors.history_asof import asof_graph
from flows import history_lane
from flows.history_lane import Lane
from infra.migrate import migrate
from tests.flows.history_stream import (
    MINUTE_NS,
    Topics,
    authorised,
    count,
    ensure_result_topics,
    made_up,
    produced,
    running_writer,
    samples,
    stored,
    until,
    wrong_rollups,
)
from tests.support_history import HistoryHandle, await_healthy, running_history, start_front
from tests.support_kafka import running_broker

ROWS = 500


@dataclass
class World:
    """A broker for this file and all that was ever produced into its topic readings."""

    bootstrap: str
    topics: Topics
    sent: list[tuple[int, pa.Table]] = field(default_factory=list)
    block: int = 0
    start_ns: int = field(default_factory=lambda: time.time_ns() - 120 * MINUTE_NS)

    def send(self, blocks: int, *, partitions: int = 12) -> None:
        """So many blocks into each partition, one transaction per block; some aborted ones in between."""
        for _ in range(blocks):
            tables = [
                (p, made_up(self.block, rows=ROWS, partition=p, start_ns=self.start_ns)) for p in range(partitions)
            ]
            self.topics.blocks("readings", tables)
            self.sent += tables
            self.block += 1
            if self.block % 3 == 0:
                self.topics.blocks("readings", tables[:1], commit=False)

    @property
    def rows(self) -> int:
        return sum(t.num_rows for _, t in self.sent)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_broker(tmp_path_factory.mktemp("history") / "kafka") as bootstrap:
        ensure_result_topics(bootstrap)
        yield World(bootstrap, Topics(bootstrap))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[HistoryHandle]:
    with running_history(tmp_path / "history") as handle:
        with ClickHouse(authorised(handle)) as client:
            migrate(client)
        yield handle


def grown(client: ClickHouse, before: int) -> bool:
    return count(client, "samples") > before


def test_every_sample_is_stored_once_although_the_writer_is_killed_again_and_again(
    world: World, history: HistoryHandle, tmp_path: Path
) -> None:
    client = ClickHouse(authorised(history))
    with running_writer(world.bootstrap, authorised(history), tmp_path / "writer.log") as writer:
        for _ in range(5):
            before = count(client, "samples")
            world.send(6)
            until(partial(grown, client, before), what="new rows")
            writer.stop(signal.SIGKILL)
            writer.start()
        world.send(2)
        until(lambda: count(client, "rollups") > 0 and count(client, "samples") >= world.rows, what="all rows")
        until(lambda: count(client, "samples_recent") >= world.rows, what="all recent rows")
        assert writer.stop() == 0
    assert stored(client) == produced(world.sent)
    assert [row[:8] for row in stored(client, "samples_recent")] == [row[:8] for row in produced(world.sent)]
    assert wrong_rollups(client) == []


def test_a_backlog_goes_out_in_batches_while_the_next_is_read_and_each_row_is_there_once(
    world: World, history: HistoryHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_lane, "MOST_ROWS", 3 * ROWS)
    world.send(2)
    lane = Lane("readings", world.bootstrap, authorised(history), stop := threading.Event())
    runs = threading.Thread(target=lane.run)
    runs.start()
    with ClickHouse(authorised(history)) as client:
        until(lambda: lane.stored >= world.rows, what="all rows")
        stop.set()
        runs.join()
        assert stored(client) == produced(world.sent)
        assert wrong_rollups(client) == []
        inserted = client.rows("SELECT max(max_block_number) FROM system.parts WHERE table = 'samples'")
        assert inserted[0][0] > 3


def test_a_history_that_is_killed_and_comes_back_has_everything_once(
    world: World, history: HistoryHandle, tmp_path: Path
) -> None:
    world.send(2)
    url = authorised(history)
    with running_writer(world.bootstrap, url, tmp_path / "writer.log") as writer:
        client = ClickHouse(url)
        until(lambda: count(client, "samples") > 0, what="first rows")
        front = history.process
        for _ in range(3):
            before = count(client, "samples")
            front.kill()
            front.wait(30)
            world.send(3)
            front = start_front(history.data_dir, history.port, ["--users", str(history.data_dir / "users.json")])
            try:
                await_healthy(history.url, front)
                until(partial(grown, client, before), what="rows after the kill")
            except BaseException:
                front.kill()
                raise
        try:
            until(lambda: count(client, "samples") >= world.rows, what="all rows")
            assert writer.stop() == 0
            assert stored(client) == produced(world.sent)
            assert count(client, "samples_recent") == world.rows
            assert wrong_rollups(client) == []
        finally:
            front.terminate()
            front.wait(60)


def test_json_topics_become_rows_and_what_cannot_be_read_is_set_aside_and_counted(
    world: World, history: HistoryHandle, tmp_path: Path
) -> None:
    alert = {
        "id": "a1", "device": "p00-1", "twin_type": "pump", "signal": "flow", "rule": "hot", "state": "raised",
        "severity": "alarm", "ts_ns": 5, "offset": 3, "value": 1.5, "limit": 1.0, "cause": "too hot", "score": None,
        "ranked": [["flow", 1]], "source": "detector", "shard": "00bg",
    }  # fmt: skip
    bad: list[tuple[int, str, object]] = [
        *((0, "p", value) for value in (b"{", b"\xff\xfe", b"[]", None, {**alert, "ts_ns": 1 << 63}, {"id": 1}))
    ]
    world.topics.records("alerts", [(0, "p00-1", alert), *bad, (3, "p00-1", {**alert, "id": "a2"})])
    state = {"device": "p1", "twin_type": "pump", "revision": 4, "reported": {"flow": {"ts_ns": 7, "value": 1}}}
    world.topics.records("twin-states", [(1, "p1", state), (1, "p2", None)])
    world.topics.records("dead-letters", [(2, "", {"reason": "bad_json", "raw": "{", "partition": 1, "offset": 9})])
    world.topics.records("gaps", [(2, "p1", {"device": "p1", "boot": 1, "from_seq": 1, "to_seq": 2, "missing": 1})])
    ledger = {"shard": "00bg", "partition": 0, "from_offset": 0, "end_offset": 9, "skipped": 0, "ledger": {"x": 1}}
    world.topics.records("ledger", [(0, "00bg", ledger)])
    world.topics.records("definitions", [(0, "pump", b"twin_type: pump")])
    event = {"id": "c1", "device": "p1", "verb": "stop", "arguments": {"a": 1}, "ts_ns": 1, "stage": "dispatched"}
    world.topics.records("command-events", [(0, "p1", event)])
    world.topics.records("command-requests", [(0, "p1", event)])
    world.topics.records("readings", [(4, "x", b"no arrow"), (4, "x", b"")])
    rows = pa.table({"device": ["p1", "p1"], "ts_ns": [1, 2], "flow": [1.0, None], "pressure": [None, 2.0],
                     "skew_ns": [0, 0], "degraded": [False, True], "offset": [1, 2]})  # fmt: skip
    world.topics.blocks("rows", [(0, rows)])
    client = ClickHouse(authorised(history))
    with running_writer(world.bootstrap, authorised(history), tmp_path / "writer.log") as writer:
        tables = ("twin_states", "dead_letters", "gaps", "ledger", "definitions", "command_events", "rows")
        until(lambda: all(count(client, t) > 0 for t in (*tables, "alerts", "command_requests")), what="all tables")
        until(lambda: count(client, "quarantine") == len(bad) + 2, what="all bad records")
        assert writer.stop() == 0
        writer.start()  # a second run finds nothing to do
        until(lambda: writer.log.read_text().count("following") == 2, what="the second start")
        assert writer.stop() == 0
    assert client.rows("SELECT id, detector, rule, severity, ranked FROM alerts ORDER BY id") == [
        ("a1", "hot", "", "alarm", '[["flow",1]]'),
        ("a2", "hot", "", "alarm", '[["flow",1]]'),
    ]
    assert client.rows("SELECT device, ts_ns, document = '' FROM twin_states ORDER BY device") == [
        ("p1", 7, 0),
        ("p2", 0, 1),
    ]
    assert client.rows("SELECT ts_ns, values, degraded FROM rows ORDER BY ts_ns") == [
        (1, {"flow": 1.0}, False),
        (2, {"pressure": 2.0}, True),
    ]
    assert client.rows("SELECT document FROM definitions") == [("twin_type: pump",)]
    reasons = client.rows("SELECT topic, count() FROM quarantine FINAL GROUP BY topic ORDER BY topic")
    assert reasons == [("alerts", len(bad)), ("readings", 2)]


def oracle(client: ClickHouse, at_ns: int, known_ns: int) -> dict[str, dict[str, tuple[float, int, int]]]:
    """Newest sample of every series, looked for row by row."""
    best: dict[tuple[str, str], tuple[tuple[int, ...], tuple[float, int, int]]] = {}
    for device, name, ts, known, value, seq, ko, kr in client.rows(
        "SELECT device, signal, ts_ns, known_ns, value, seq, ko, kr FROM samples"
    ):
        key = (ts, seq, ko, kr)
        if ts <= at_ns and known <= known_ns and ((device, name) not in best or key > best[device, name][0]):
            best[device, name] = key, (value, ts, known)
    out: dict[str, dict[str, tuple[float, int, int]]] = {}
    for (device, name), (_, cell) in best.items():
        out.setdefault(device, {})[name] = cell
    return out


def reported(client: ClickHouse, at_ns: int, known_ns: int) -> dict[str, dict[str, tuple[float, int, int]]]:
    found = asof_graph(client, at_ns, known_ns)["twins"]
    return {
        device: {s: (v["value"], v["ts_ns"], v["known_ns"]) for s, v in twin["reported"].items()}
        for device, twin in found.items()
        if twin["reported"]
    }


def test_asof_is_what_a_plain_look_at_all_rows_gives_with_and_without_snapshots(
    world: World, history: HistoryHandle, tmp_path: Path
) -> None:
    world.send(1)
    t = world.start_ns
    odd = samples(
        ["odd", "odd", "odd", "odd", "odd"],
        [t, t, t - 5, t + 10 * MINUTE_NS, t + 50],  # equal times, an old one, one ahead of its arrival, a late one
        [1.0, 2.0, 3.0, 4.0, 5.0],
        arrival_ns=[t + 1, t + 2, t + 3, t + 4, t + 30 * MINUTE_NS],
        seq=[8, 7, 9, 10, 11],
    )
    for p, block in [(5, odd), (5, odd.slice(0, 1)), (6, samples(["equal"] * 2, [t, t], [1.0, 2.0]))]:
        world.topics.blocks("readings", [(p, block)])
        world.sent.append((p, block))
    client = ClickHouse(authorised(history))
    with running_writer(world.bootstrap, authorised(history), tmp_path / "writer.log"):
        until(lambda: count(client, "samples") >= world.rows and count(client, "rollups") > 0, what="all rows")
        made = "SELECT uniqExact(kp, snapshot_ko) FROM twin_snapshots"
        deadline = time.monotonic() + 60
        while client.rows(made)[0][0] <= 24 and time.monotonic() < deadline:  # each partition several
            world.send(1)
            until(lambda: count(client, "rollups") > 0 and count(client, "samples_recent") >= world.rows, what="rows")
        assert client.rows(made)[0][0] > 24
    span = world.block * ROWS * 100_000_000
    points = [t - 1, t, t + 60, t + 3, t + MINUTE_NS, t + 11 * MINUTE_NS, t + span // 2, t + span, t + 2 * span]
    looked = [
        (at, known, oracle(client, at, known)) for at in points for known in (t + 2, at, t + span // 2, t + 2 * span)
    ]
    for at, known, expected in looked:
        assert reported(client, at, known) == expected, (at - t, known - t)
    client.run("TRUNCATE TABLE twin_snapshots")
    for at, known, expected in looked[::5]:
        assert reported(client, at, known) == expected, (at - t, known - t)
