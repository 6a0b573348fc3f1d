"""Questions to a real ClickHouse engine, asked as the read-only user; rows are put there as the writer does it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from connectors.clickhouse import ClickHouse
from connectors.history_asof import asof_graph, canonical
from connectors.history_reader import HistoryReader, Row
from connectors.history_sql import series_sql
from flows.encode import blocks
from flows.history_decode import DECODERS
from flows.history_rollups import mended, rolled_up
from flows.tables import named_windows_table
from infra.cli_asof import asof, rfc3339, show, text
from infra.errors import CommandError
from infra.migrate import migrate
from operators.definition import NamedWindow, Signal, TwinType, WindowSpec
from operators.frames import Frames
from operators.types import Batch
from operators.windows import NamedWindows
from tests.flows.history_stream import authorised
from tests.support_history import HistoryHandle, running_history

S = 1_000_000_000
T0 = 1_700_000_000 * S


def samples_rows(*, ko: int = 0, n: int = 5_000, device: str = "pump-1", known_after_ns: int = 5) -> pa.Table:
    """10 Hz of two signals, one record per sample."""
    i = np.arange(n)
    ts = T0 + i // 2 * 100_000_000
    signal = ["flow" if k % 2 == 0 else "pressure" for k in i]
    names = {"twin_type": ["pump"] * n, "device": [device] * n, "signal": signal}
    times = {"ts_ns": ts, "known_ns": ts + known_after_ns, "value": np.sin(i / 50) + i % 2}
    place = {"seq": i, "source_offset": i, "ko": (ko + i).astype(np.uint64)}
    zeros = {"quality": np.zeros(n, np.uint8), "kp": np.zeros(n, np.uint8), "kr": np.zeros(n, np.uint32)}
    return pa.table({**names, **times, **place, **zeros})


def alert(ident: str, state: str, ts: int, ko: int, *, known: int | None = None, **more: Any) -> Row:
    base = {"id": ident, "device": "pump-1", "twin_type": "pump", "signal": "flow", "rule": "hot", "state": state}
    place = {"known_ns": known or ts + 1, "kp": 0, "ko": ko, "kr": 0, "source_offset": ko}
    return base | {"severity": "alarm", "ts_ns": ts, "value": 1.0, "cause": "too hot", "ranked": "[]"} | place | more


def sessions() -> pa.Table:
    """Sessions of which a late sample joins two, as telemetry tells them and the writer reads them."""
    run = NamedWindow("run", "session", ("flow",), WindowSpec(10 * S, 10 * S, 0, 100 * S), quantiles=(0.5,))
    pump = TwinType("pump", 1, (Signal("flow"),), window=run.times, windows=(run,))
    batch = Batch.of(series=0, ts=[T0 + t * S for t in (0, 15, 40, 8)], value=[1.0, 3.0, 5.0, 2.0])
    ((_, out),) = NamedWindows(pump).push(batch, None)
    table = named_windows_table((run, out), pump, ["pump-1"])
    (block,) = blocks("named-windows", table, shard="s", partition=0, twin_type="pump")
    frames = Frames.of([block.value], headers={0: dict(block.headers)}, arrival=T0)
    return DECODERS["named-windows"](frames).table()


def put(client: ClickHouse, table: str, rows: list[Row]) -> None:
    client.insert_arrow(table, pa.Table.from_pylist(rows))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryHandle]:
    with running_history(tmp_path_factory.mktemp("reader")) as handle:
        with ClickHouse(authorised(handle)) as client:
            migrate(client)
            fill(client)
        yield handle


def fill(client: ClickHouse) -> None:
    rows = samples_rows()
    client.run("ALTER TABLE samples REMOVE TTL")  # these samples are of 2023
    client.run("ALTER TABLE samples_recent REMOVE TTL")
    client.run("ALTER TABLE rollups REMOVE TTL")
    for table in (
        "alerts",
        "anomalies",
        "command_events",
        "twin_states",
        "windows",
        "named_windows",
        "dead_letters",
        "ledger",
    ):
        client.run(f"ALTER TABLE {table} REMOVE TTL")
    client.insert_arrow("samples", rows)
    client.insert_arrow("samples_recent", rows.drop_columns(["source_offset"]))
    for at in range(0, len(rows), 700):  # in uneven parts, as the writer has them
        client.insert_arrow("rollups", rolled_up(rows.slice(at, 700)))
    put(client, "alerts", [
        alert("a1", "raised", T0 + 10 * S, 0), alert("a1", "raised", T0 + 10 * S, 1),  # told twice
        alert("a1", "returned", T0 + 20 * S, 2), alert("a2", "raised", T0 + 30 * S, 3, severity="warn"),
    ])  # fmt: skip
    arguments = '{"alarm":"a2"}'
    event: Row = {"id": "c1", "device": "pump-1", "verb": "acknowledge", "issuer": "ann", "arguments": arguments}
    put(client, "command_events", [
        event | {"stage": "dispatched", "ts_ns": T0 + 31 * S, "known_ns": T0 + 31 * S, "kp": 0, "ko": 0, "kr": 0},
        event | {"stage": "effect", "ts_ns": T0 + 32 * S, "known_ns": T0 + 32 * S, "kp": 0, "ko": 1, "kr": 0},
    ])  # fmt: skip
    answered = [("c2", "timed_out", 33), ("c2", "acknowledged", 34), ("c3", "dispatched", 33), ("c3", "failed", 34)]
    put(client, "command_events", [
        event | {"id": c, "verb": "stop", "arguments": "{}", "stage": stage, "ts_ns": T0 + at * S,
                 "known_ns": T0 + at * S, "kp": 0, "ko": 2 + i, "kr": 0}
        for i, (c, stage, at) in enumerate(answered)
    ])  # fmt: skip
    anomaly: Row = {"device": "pump-1", "signal": "flow", "threshold": 3.0, "known_ns": T0, "kp": 0, "kr": 0}
    put(client, "anomalies", [
        anomaly | {"detector": name, "ts_ns": T0 + i * S, "score": 3.0 + i, "ko": 2 * i + k}
        for i in range(10) for k, name in enumerate(("jumps", "rows"))
    ])  # fmt: skip
    document = {"device": "pump-1", "revision": 7, "reported": {}, "report": {"task": "idle"}, "desired": {}}
    documents = [msgspec.json.encode(document | {"revision": i}).decode() for i in range(9)]
    state: Row = {"device": "pump-1", "twin_type": "pump", "kp": 0, "kr": 0}
    put(client, "twin_states", [
        state | {"ts_ns": T0 + i * S, "known_ns": T0 + i * S + 1, "document": documents[i], "ko": i} for i in range(9)
    ])  # fmt: skip
    window: Row = {
        "device": "pump-1",
        "signal": "flow",
        "window_end_ns": T0 + S,
        "window_start_ns": T0,
        "kp": 0,
        "kr": 0,
    }
    put(client, "windows", [
        window | {"count": 9, "revision": 0, "is_final": False, "known_ns": T0 + 2 * S, "ko": 0},
        window | {"count": 10, "revision": 1, "is_final": True, "known_ns": T0 + 4 * S, "ko": 1},
    ])  # fmt: skip
    client.insert_arrow("named_windows", sessions())
    letter: Row = {"raw": "{", "topic": "samples", "kp": 0, "kr": 0}
    put(client, "dead_letters", [
        letter | {"reason": r, "arrival_ns": T0 + i, "known_ns": T0 + i, "device": f"d{i % 7}", "ko": i, "offset": i}
        for i, r in enumerate(["bad_json"] * 8 + ["no_time"])
    ])  # fmt: skip
    book = {"records_in": 10, "samples_in": 20, "records": {"applied": 9, "late": 1}, "samples": {"applied": 19}}
    put(client, "ledger", [
        {"partition": 0, "from_offset": a, "end_offset": b, "document": msgspec.json.encode(book).decode(), "kp": 0,
         "ko": a, "kr": 0, "known_ns": T0} for a, b in ((0, 10), (10, 20), (25, 30))
    ])  # fmt: skip


@pytest.fixture
def reader(history: HistoryHandle) -> Iterator[HistoryReader]:
    with ClickHouse(authorised(history, "reader")) as client:
        yield HistoryReader(client)


def test_a_short_range_comes_as_the_samples_themselves(reader: HistoryReader) -> None:
    found = reader.series("pump-1", ["flow", "nothing"], T0, T0 + 10 * S)
    assert found["flow"].bucket_ns == 0
    assert found["flow"].t.tolist() == [T0 + i * S // 10 for i in range(100)]
    assert found["flow"].v.tolist() == [float(np.sin(2 * i / 50)) for i in range(100)]
    assert found["nothing"].t.size == 0


@pytest.mark.parametrize("points", [10, 100, 450])
@pytest.mark.parametrize("known", [None, T0 + 100 * S])
def test_a_long_range_comes_as_buckets_that_lose_no_extreme(
    reader: HistoryReader, points: int, known: int | None
) -> None:
    found = reader.series("pump-1", ["pressure"], T0, T0 + 250 * S, points=points, known_ns=known)["pressure"]
    rows = samples_rows().filter(pa.array(np.arange(5_000) % 2 == 1))
    ts, value = rows["ts_ns"].to_numpy(), rows["value"].to_numpy()
    if known is not None:
        ts, value = ts[ts + 5 <= known], value[ts + 5 <= known]
    if found.bucket_ns == 0:
        assert found.t.tolist() == ts.tolist()
        return
    bucket = ts // found.bucket_ns if known is None and found.bucket_ns % S == 0 else (ts - T0) // found.bucket_ns
    assert found.t.size == np.unique(bucket).size <= points + 1
    for i, b in enumerate(np.unique(bucket)):
        mine = value[bucket == b]
        assert (found.lo[i], found.hi[i]) == (mine.min(), mine.max())
        assert found.v[i] == pytest.approx(mine.mean(), rel=1e-9)


def test_alarms_are_folded_into_episodes(reader: HistoryReader) -> None:
    newest, oldest = reader.alarms()
    assert (newest["id"], newest["priority"], newest["returned_ns"]) == ("a2", "P3", None)
    assert newest["acknowledged"] == {"who": "ann", "at_ns": T0 + 32 * S}
    assert (oldest["id"], oldest["raised_ns"], oldest["returned_ns"]) == ("a1", T0 + 10 * S, T0 + 20 * S)
    assert (oldest["count"], oldest["acknowledged"], oldest["lineage"]) == (1, None, {"partition": 0, "offset": 0})
    assert [e["id"] for e in reader.alarms(state="open")] == ["a2"]
    assert [e["id"] for e in reader.alarms(state="returned")] == ["a1"]
    assert [e["id"] for e in reader.alarms(to_ns=T0 + 25 * S, from_ns=T0 + 21 * S)] == []
    assert reader.alarms(twin="other") == []


def test_of_a_window_the_newest_revision_known_then_counts(reader: HistoryReader) -> None:
    assert [w["count"] for w in reader.windows("pump-1", "flow", T0, T0 + S)] == [10]
    assert [w["count"] for w in reader.windows("pump-1", "flow", T0, T0 + S, known_ns=T0 + 3 * S)] == [9]


def test_of_sessions_that_were_joined_one_is_left_with_its_statistics(reader: HistoryReader) -> None:
    (one,) = reader.named_windows("pump-1", "run", "flow", T0, T0 + 100 * S)
    assert (one["window_start_ns"], one["window_end_ns"], one["count"]) == (T0, T0 + 25 * S, 3)
    assert one["statistics"] == pytest.approx({"p50": 2.0, "quantile_error": 1e-6})


def test_dead_letters_and_ledger_add_up(reader: HistoryReader) -> None:
    assert [(c["reason"], c["count"], len(c["who"])) for c in reader.dead_letter_counts()] == [
        ("bad_json", 8, 5),
        ("no_time", 1, 1),
    ]
    assert [d["offset"] for d in reader.dead_letters("bad_json", limit=2)] == [7, 6]
    ledger = reader.ledger()
    assert (ledger["records_in"], ledger["records"]["applied"], ledger["balance"]) == (30, 27, 3)
    assert [(p["end_offset"], p["holes"]) for p in ledger["partitions"]] == [(30, 5)]
    assert reader.pipeline()["positions"] == []


def test_what_a_caller_gives_never_becomes_part_of_a_statement(reader: HistoryReader) -> None:
    evil = "x' OR 1=1 --"
    assert reader.alarms(twin=evil) == []
    assert reader.series(evil, [evil], 0, S)[evil].t.size == 0
    assert reader.asof(T0, T0, twin=evil)["twins"] == {}


def test_asof_shows_values_report_open_alarms_and_open_commands_of_that_instant(reader: HistoryReader) -> None:
    twin = reader.asof(T0 + 31 * S, T0 + 40 * S)["twins"]["pump-1"]
    assert (twin["type"], twin["state"], twin["revision"], twin["report"]) == ("pump", "warn", 8, {"task": "idle"})
    assert [(a["id"], a["raised_ns"]) for a in twin["alarms"]] == [("a2", T0 + 30 * S)]
    assert [(c["id"], c["stage"]) for c in twin["commands"]] == [("c1", "dispatched")]
    assert twin["reported"]["flow"]["ts_ns"] == T0 + 31 * S
    early = reader.asof(T0 + 15 * S, T0 + 40 * S)["twins"]["pump-1"]
    assert ([a["id"] for a in early["alarms"]], early["state"], early["commands"]) == (["a1"], "alarm", [])
    assert reader.asof(T0 + 5 * S, T0 + 3 * S)["twins"]["pump-1"]["revision"] == 2


def test_scores_of_one_detector_come_as_the_greatest_of_each_bucket(reader: HistoryReader) -> None:
    found = reader.scores("pump-1", "jumps", T0, T0 + 10 * S, points=5)
    assert found.t.tolist() == [T0 + i * 2 * S for i in range(5)]
    assert (found.v.tolist(), set(found.threshold.tolist())) == ([4.0, 6.0, 8.0, 10.0, 12.0], {3.0})
    assert reader.scores("pump-1", "nobody", T0, T0 + S).t.size == 0


def test_the_copied_statement_gives_the_samples_that_are_drawn(history: HistoryHandle, reader: HistoryReader) -> None:
    drawn = reader.series("pump-1", ["flow", "pressure"], T0 + S, T0 + 3 * S)
    with ClickHouse(authorised(history, "reader")) as client:
        rows = client.rows(series_sql("pump-1", ["flow", "pressure"], T0 + S, T0 + 3 * S))
        assert client.rows(series_sql("it's \\ nobody", ["flow"], 0, 1, known_ns=5)) == []
    assert [v for s, _, v, _ in rows if s == "flow"] == drawn["flow"].v.tolist()
    assert len(rows) == drawn["flow"].v.size + drawn["pressure"].v.size == 40


def test_a_command_that_failed_or_was_answered_after_its_time_out_is_not_open(reader: HistoryReader) -> None:
    def still_open(secs: int) -> list[str]:
        return [c["id"] for c in reader.asof(T0 + secs * S, T0 + 60 * S)["twins"]["pump-1"]["commands"]]

    assert (still_open(33), still_open(34)) == (["c3"], [])


def test_an_answer_is_final_up_to_the_frontier_and_then_holds_nothing_of_when_it_was_asked(tmp_path: Path) -> None:
    with running_history(tmp_path / "h") as front, ClickHouse(authorised(front)) as client:
        migrate(client)
        fill(client)
        reached = T0 + 40 * S

        def asked(known_ns: int | None) -> dict[str, Any]:
            known = None if known_ns is None else str(known_ns)
            return asof(str(T0 + 31 * S), known, None, authorised(front, "reader"))

        before = asked(reached)
        assert (before.pop("final"), before.pop("frontier_ns"), before.pop("frontier")) == (False, 0, rfc3339(0))
        client.insert("frontier", {"source": ["samples"], "known_ns": [reached], "at_ns": [1]})
        final = asked(reached)
        assert final == {**before, "final": True}
        assert asked(None) == final
        assert asked(reached + 1)["frontier"] == rfc3339(reached)
        client.insert("frontier", {"source": ["samples"], "known_ns": [reached + 9 * S], "at_ns": [2]})
        assert text(asked(reached)) == text(final)


def test_who_waits_gets_the_final_answer_or_is_told_where_the_history_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_history(tmp_path / "h") as front, ClickHouse(authorised(front)) as client:
        migrate(client)
        url, reached = authorised(front, "reader"), T0 + 40 * S
        client.insert("frontier", {"source": ["samples"], "known_ns": [reached], "at_ns": [1]})
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(asof, str(T0), str(reached + S), None, url, wait=True)
            client.insert("frontier", {"source": ["samples"], "known_ns": [reached + S], "at_ns": [2]})
            assert waiting.result(60)["final"] is True
        monkeypatch.setattr("infra.cli_asof.STILL_SECS", 0.5)
        with pytest.raises(CommandError, match=r"stands at 20.*Z and has not moved for 0\.5 s; twinflow status"):
            asof(str(T0), None, None, url, wait=True)


def test_without_k_a_history_that_knows_no_frontier_uses_and_tells_the_newest_arrival(history: HistoryHandle) -> None:
    answer = asof(str(T0 + 10**12), None, None, authorised(history, "reader"))
    assert answer["known_ns"] == int(samples_rows()["known_ns"].to_numpy().max())
    assert answer["known_at"] == rfc3339(answer["known_ns"])
    assert text(answer) == text(asof(answer["at"], answer["known_at"], None, authorised(history, "reader")))


def test_a_late_sample_changes_an_instant_only_for_those_who_knew_it(history: HistoryHandle) -> None:
    at, came = T0 + 50 * S, T0 + 90 * S
    with ClickHouse(authorised(history)) as client:
        before = canonical(asof_graph(client, at, came - 1, "late-1"))
        late = samples_rows(ko=10_000, n=1, device="late-1", known_after_ns=90 * S)
        client.insert_arrow("samples", late)
        client.insert_arrow("samples_recent", late.drop_columns(["source_offset"]))
        assert canonical(asof_graph(client, at, came - 1, "late-1")) == before
        assert asof_graph(client, at, came)["twins"]["late-1"]["reported"]["flow"]["known_ns"] == came


def test_asof_gives_the_same_bytes_twice_after_merges_and_after_a_kill(tmp_path: Path) -> None:
    points = [(T0 + a * S, T0 + k * S) for a, k in ((5, 5), (31, 40), (40, 31), (120, 500))]
    with running_history(tmp_path / "h") as first:
        with ClickHouse(authorised(first)) as client:
            migrate(client)
            fill(client)
            before = [canonical(asof_graph(client, *point)) for point in points]
            assert before == [canonical(asof_graph(client, *point)) for point in points]
            for table in ("samples", "samples_recent", "alerts", "twin_states", "command_events"):
                client.run(f"OPTIMIZE TABLE {table} FINAL")
            assert before == [canonical(asof_graph(client, *point)) for point in points]
        first.kill()
    with running_history(tmp_path / "h") as again, ClickHouse(authorised(again, "reader")) as client:
        assert before == [canonical(asof_graph(client, *point)) for point in points]


def test_rollups_that_do_not_agree_with_the_samples_are_made_anew(history: HistoryHandle) -> None:
    held = np.full(256, 1 << 40, np.int64)
    query = "SELECT step_s, sum(count), min(min), max(max) FROM rollups GROUP BY step_s ORDER BY step_s"
    with ClickHouse(authorised(history)) as client:
        client.run("DELETE FROM samples WHERE device = 'late-1'")
        assert mended(client, held) == []
        right = client.rows(query.replace("min(min)", "min(rollups.min)").replace("max(max)", "max(rollups.max)"))
        client.insert_arrow("rollups", rolled_up(samples_rows(n=300)))  # as if an insert had come twice
        assert mended(client, held) == [T0 // (3600 * S) * 3600 * S]
        assert mended(client, held) == []
        assert (
            client.rows(query.replace("min(min)", "min(rollups.min)").replace("max(max)", "max(rollups.max)")) == right
        )


def test_the_verb_prints_one_canonical_line(history: HistoryHandle, capsys: pytest.CaptureFixture[str]) -> None:
    url = authorised(history, "reader")
    assert show(str(T0 + 31 * S), str(T0 + 40 * S), "pump-1", url, as_json=True) == 0
    line = capsys.readouterr().out
    assert line == text(asof(str(T0 + 31 * S), str(T0 + 40 * S), "pump-1", url)) + "\n"
    assert show(str(T0 + 31 * S), str(T0 + 40 * S), "pump-1", url, as_json=False) == 0
    assert "warn: too hot" in capsys.readouterr().out
