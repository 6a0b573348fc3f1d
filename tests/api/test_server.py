"""The API over a real broker: what telemetry writes is what pages get."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from connectors.shards import SHARDS
from dashboards.api.settings import ApiSettings
from flows.documents import document, raw_text
from tests.api.serving import FLEET, SECOND, Served, alert, live, send, serving, until


@pytest.fixture(scope="module")
def served(bootstrap: str) -> Iterator[Served]:
    with serving(ApiSettings(kafka=bootstrap, clickhouse="http://127.0.0.1:9", fleet=FLEET)) as made:
        yield made


def listen(socket: ClientConnection, *topics: str) -> None:
    socket.send(json.dumps({"subscribe": list(topics)}))


def hear(socket: ClientConnection, topic: str) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=30))
        if message["topic"] == topic:
            return message


def test_a_sample_of_telemetry_is_a_twin_with_value_unit_and_age(bootstrap: str, served: Served) -> None:
    now = time.time_ns()
    send(bootstrap, live("pump-a", [("flow", now - SECOND, 30.0), ("temp", now, 71.5)], shard=3, arrival=now))
    row = until(lambda: next((t for t in served.get("/api/twins") if t["id"] == "pump-a"), None))
    assert row["type"] == "pump"
    assert row["value"] == {
        "signal": "temp", "value": 71.5, "unit": "degC", "normal_low": None, "normal_high": None, "limit": 90.0,
    }  # fmt: skip
    assert row["age_ms"] >= 0
    twin = served.get("/api/twins/pump-a")
    signals = {s["name"]: s for s in twin["signals"]}
    assert (signals["flow"]["value"], signals["flow"]["ts_ns"]) == (30.0, now - SECOND)
    assert (signals["flow"]["low"], signals["flow"]["normal_high"], signals["temp"]["low"]) == (0.0, 40.0, None)
    assert (signals["mode"]["value"], signals["mode"]["age_ms"], signals["mode"]["stale"]) == (None, None, False)
    assert signals["temp"]["limits"] == [{"rule": "hot", "kind": "above", "limit": 90.0, "severity": "alarm"}]
    assert [c["path"] for c in twin["components"]] == ["motor", "motor/bearing", "loop"]
    assert (twin["version"], twin["shard"], twin["commands"]) == (2, SHARDS[3], [])


def test_an_unknown_twin_says_what_why_and_next(served: Served) -> None:
    status, fault = served.ask("/api/twins/pump-nobody")
    assert status == 404
    assert set(fault) == {"what", "cause", "next", "id"}


def test_an_alarm_is_raised_acknowledged_and_returned(bootstrap: str, served: Served) -> None:
    now = time.time_ns()
    send(bootstrap, [*live("pump-b", [("temp", now, 92.5)]), alert("x1", "pump-b", "raised", now)])
    found = until(lambda: [a for a in served.get("/api/alarms?state=unacked") if a["twin"] == "pump-b"])
    assert (found[0]["priority"], found[0]["lineage"]["offset"], found[0]["threshold"]) == ("P1", 7, 90.0)
    event = {
        "id": "c1", "device": "pump-b", "verb": "acknowledge", "arguments": {"alarm": "x1"}, "issuer": "mara",
        "stage": "effect", "ts_ns": now + 1,
    }  # fmt: skip
    send(bootstrap, [document("command-events", "pump-b", event, partition=0)])
    until(lambda: [a for a in served.get("/api/alarms?state=acked") if a["id"] == "x1"])
    send(bootstrap, [alert("x1", "pump-b", "returned", now + SECOND)])
    until(lambda: [a for a in served.get("/api/alarms?state=all") if a["returned_ns"] == now + SECOND])
    assert [c["stage"] for c in served.get("/api/commands") if c["id"] == "c1"] == ["effect"]


def test_live_rows_come_by_websocket_as_they_are_written(bootstrap: str, served: Served) -> None:
    now = time.time_ns()
    with connect(served.url) as socket:
        assert hear(socket, "link")["data"]["up"] is True
        listen(socket, "twin:pump-c", "overview", "alarms", "pipeline", "commands")
        send(bootstrap, live("pump-c", [("flow", now, 25.0), ("mode", now, 2.0)]))
        assert hear(socket, "twin:pump-c")["rows"] == [["flow", now, 25.0, 0], ["mode", now, 2.0, 0]]
        while not any(t["id"] == "pump-c" for t in hear(socket, "overview")["data"]):
            pass
        assert hear(socket, "ping")["t_ns"] > now
    with connect(served.url) as socket:
        listen(socket, "twin:pump-c")
        assert sorted(hear(socket, "twin:pump-c")["rows"]) == [["flow", now, 25.0, 0], ["mode", now, 2.0, 0]]


def test_a_wish_that_makes_no_sense_is_answered_and_the_socket_stays(served: Served) -> None:
    with connect(served.url) as socket:
        for text in ("{", '{"subscribe": ["everything"]}', '{"subscribe": 7}', "x" * 70_000):
            socket.send(text)
            assert hear(socket, "error")["what"]
        assert hear(socket, "ping")


def test_pages_of_other_sites_neither_listen_nor_write(served: Served) -> None:
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{served.port + 1}"):
        with pytest.raises(InvalidStatus), connect(served.url, additional_headers={"Origin": origin}):
            pass
        status, fault = served.ask("/api/dead-letters/redrive", {"reason": "x"}, headers={"Origin": origin})
        assert (status, fault["cause"]) == (403, "A page of another site sent it.")
    own = f"http://127.0.0.1:{served.port}"
    with connect(served.url, additional_headers={"Origin": own}) as socket:
        assert hear(socket, "ping")
    assert served.ask("/api/commands", {"device": "d", "verb": "v"}, headers={"Origin": own})[0] == 503


def test_a_foreign_name_for_this_machine_is_refused(served: Served) -> None:
    assert served.ask("/api/twins", headers={"Host": f"rebound.example:{served.port}"})[0] == 403


def test_points_come_from_memory_and_a_dead_history_costs_only_what_needs_it(bootstrap: str, served: Served) -> None:
    now = time.time_ns()
    send(bootstrap, live("pump-d", [("flow", now - i * SECOND, float(i)) for i in range(30)]))
    until(lambda: served.ask("/api/twins/pump-d")[0] == 200)
    path = f"/api/series?twin=pump-d&signals=flow&to_ns={now + 1}"
    series = served.get(f"{path}&from_ns={now - 9 * SECOND}&points=800")["signals"]["flow"]
    assert series["v"] == [float(i) for i in reversed(range(10))]
    series = served.get(f"{path}&from_ns={now - 30 * SECOND}&points=3")["signals"]["flow"]
    assert (series["lo"][0], series["hi"][0], len(series["t"])) == (20.0, 29.0, 3)
    for dead in (f"{path}&from_ns={now - 86_400 * SECOND}", f"{path}&from_ns={now - SECOND}&known_ns={now}"):
        status, fault = served.ask(dead)
        assert (status, fault["what"]) == (503, "The history does not answer. Live values still arrive.")
    assert served.ask(f"/api/asof?at_ns={now}")[0] == 503
    assert served.get(f"{path.replace('series', 'series/sql')}&from_ns=5")["sql"].startswith("SELECT signal, ")
    assert served.get("/api/features") == {"commands": False, "history": True, "gate": None}


@pytest.mark.parametrize(
    "path",
    [
        "/api/series?twin=pump-d&signals=flow&from_ns=1&to_ns=x",
        "/api/series?twin=pump-d&signals=&from_ns=1&to_ns=2",
        "/api/series?twin=pump-d&signals=flow&from_ns=2&to_ns=2",
        "/api/series?twin=pump-d&signals=flow&from_ns=1&to_ns=2&points=0",
        "/api/alarms?state=loud",
        "/api/dead-letters?limit=0",
    ],
)
def test_a_question_that_makes_no_sense_is_a_400_in_the_same_form(served: Served, path: str) -> None:
    status, fault = served.ask(path)
    assert (status, set(fault)) == (400, {"what", "cause", "next", "id"})


def test_unknown_addresses_answer_in_the_same_form(served: Served) -> None:
    assert served.ask("/api/nothing")[0] == 404
    assert served.ask("/api/twins", {})[0] == 405
    assert served.ask("/api/commands", {"device": 1})[0] == 400
    assert served.ask("/api/commands", {"device": "x" * 70_000, "verb": "v"})[0] == 413
    assert served.ask("/api/commands", {}, headers={"content-type": "text/plain"})[0] == 415


def test_the_pipeline_adds_up_ledgers_gaps_lag_and_dead_letters(bootstrap: str, served: Served) -> None:
    counts = {"control": 0, "applied": 8, "late": 1, "duplicate": 0, "rejected": 1, "quarantined": 0}
    ledger = {"records_in": 10, "samples_in": 10, "records": counts, "samples": counts, "balance": 0}
    entry = {"shard": SHARDS[5], "partition": 5, "skipped": 0, "ledger": ledger}
    letter = {
        "reason": "unknown_type", "detail": "no pattern", "topic": "samples", "partition": 5, "offset": 3,
        "arrival_ns": 9,        "key": "pmp-1", "samples": 1, "whole": True, **raw_text(b"{}"),
    }  # fmt: skip
    gap = {"device": "pump-a", "boot": "1", "from_seq": 4, "to_seq": 9, "missing": 6, "offset": 2}
    spans = [(0, 10), (10, 20), (10, 20), (25, 35)]
    records = [
        document("ledger", SHARDS[5], entry | {"from_offset": a, "end_offset": b}, partition=5) for a, b in spans
    ]
    records += [document("dead-letters", "pmp-1", letter, partition=5), document("gaps", "pump-a", gap, partition=5)]
    send(bootstrap, records)
    found = until(lambda: (p := served.get("/api/pipeline"))["ledger"]["records_in"] == 30 and p["dead_letters"] and p)
    assert (found["ledger"]["samples"]["late"], found["ledger"]["balance"], found["ledger"]["missing"]) == (3, 0, 5)
    shard = until(lambda: next((p for p in served.get("/api/pipeline")["partitions"] if p["lag"] is not None), None))
    assert shard["lag"] >= 0
    shard = next(p for p in served.get("/api/pipeline")["partitions"] if p["partition"] == 5)
    assert (shard["shard"], shard["missing"], shard["holes"], shard["late"]) == (SHARDS[5], 6, 5, 3)
    [reason] = [r for r in found["dead_letters"] if r["reason"] == "unknown_type"]
    assert (reason["who"], reason["redrive"], bool(reason["plain"])) == ("pmp-1", True, True)
    assert [x["raw"] for x in served.get("/api/dead-letters?reason=unknown_type&limit=5")] == ["{}"]


def test_commands_are_refused_where_no_flow_takes_them_and_only_asked_for_where_one_does(bootstrap: str) -> None:
    wish = {"device": "pump-e", "verb": "stop", "arguments": {}, "reason": "leak"}
    now = time.time_ns()
    send(bootstrap, live("pump-e", [("flow", now, 1.0)]))
    with serving(ApiSettings(kafka=bootstrap, fleet=FLEET, commands=True)) as made:
        found = made.get("/api/features")
        assert (found["commands"], found["history"], found["gate"]["stalled"]) == (True, False, False)
        [row] = [t for t in made.get("/api/twins") if t["id"] == "pump-e"]
        assert (row["stop"], row["site"]) == (True, "site")
        assert made.ask("/api/commands", wish | {"verb": "explode"})[0] == 400
        assert made.ask("/api/commands", wish | {"device": "pump-0"})[0] == 404
        status, answer = made.ask("/api/commands", wish)
        assert status == 202
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "t", "auto.offset.reset": "earliest"})
    consumer.subscribe(["command-requests"])
    [message] = until(lambda: [m for m in consumer.consume(100, 0.2) if m.key() == b"pump-e"])
    consumer.close()
    request = json.loads(message.value() or b"")
    assert request.pop("ts_ns") > now
    assert request == {"id": answer["id"], "issuer": "person:page", **wish}


def test_metrics_are_prometheus_text(served: Served) -> None:
    text = served.get("/metrics")
    for name in ("twinflow_twins{state=", "twinflow_lag_records{shard=", "twinflow_link_up 1.0", "twinflow_ws_clients"):
        assert name in text
