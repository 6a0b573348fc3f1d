"""What the live view does when it starts late, when Kafka dies under it, and when a browser does not keep up."""

from __future__ import annotations

import json
import signal
import socket as sockets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from connectors.live_feed import FAST
from dashboards.api.client_queue import ROOM
from dashboards.api.settings import ApiSettings
from flows.documents import document
from infra.kafka.topics import ensure_topics
from tests.api.serving import FLEET, SECOND, Served, live, send, serving, until
from tests.support_kafka import BrokerProcess


def kafka(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = served.ask("/healthz")[1]["kafka"]
    return found


def hear(socket: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=30))
        if wanted(message):
            return message


def test_a_view_that_starts_late_fills_itself_with_the_newest_of_what_is_there(bootstrap: str) -> None:
    now, most = time.time_ns(), FAST["twin-live"].records
    count = most + 300
    for i in range(0, count, 400):
        send(
            bootstrap,
            [r for k in range(i, min(i + 400, count)) for r in live("pump-l", [("flow", now + k, float(k))], shard=6)],
        )
    state = {"device": "pump-s", "twin_type": "pump", "revision": 1, "reported": {}}
    send(bootstrap, [document("twin-states", "pump-s", state, partition=1)])
    with serving(ApiSettings(kafka=bootstrap, fleet=FLEET)) as served:
        view = served.app.state.context.view
        assert view.pipeline.records["twin-live"] <= 12 * most
        assert served.get("/api/twins/pump-l")["signals"][0]["value"] == float(count - 1)
        assert served.get("/api/twins/pump-s")["state"] == "offline"
        assert view.covered_from_ns >= now  # what lies before the first record read back is the history's
        assert (
            served.ask(f"/api/series?twin=pump-l&signals=flow&from_ns={now - 300 * SECOND}&to_ns={now + count}")[0]
            == 503
        )


def test_without_a_broker_the_page_says_so_and_with_one_it_fills_itself_killed_or_frozen_between(
    tmp_path: Path,
) -> None:
    server = BrokerProcess(tmp_path / "kafka")
    with serving(ApiSettings(kafka=server.broker.bootstrap, fleet=FLEET), ready=False) as served:
        until(lambda: kafka(served)["up"] is False)
        status, said = served.ask("/healthz")
        assert (status, said["filled"], served.get("/api/twins")) == (503, False, [])
        assert f"Kafka at {server.broker.bootstrap} does not answer" in said["kafka"]["cause"]
        try:
            ensure_topics(server.start())
            until(lambda: served.ask("/healthz")[0] == 200)

            now = time.time_ns()
            send(server.broker.bootstrap, live("pump-k", [("flow", now, 1.0)]))
            until(lambda: served.ask("/api/twins/pump-k")[0] == 200)
            with connect(served.url) as socket:
                socket.send('{"subscribe":["twin:pump-k"]}')
                server.stop(signal.SIGKILL)
                hear(socket, lambda m: m["topic"] == "link" and not m["data"]["up"])
                assert served.ask("/healthz")[0] == 200
                assert served.get("/api/twins/pump-k")["signals"][0]["value"] == 1.0
                server.start()
                hear(socket, lambda m: m["topic"] == "link" and m["data"]["up"])
                send(server.broker.bootstrap, live("pump-k", [("flow", now + SECOND, 2.0)]))
                hear(socket, lambda m: m["topic"] == "twin:pump-k" and m["rows"][-1][2] == 2.0)

                assert server.process is not None
                server.process.send_signal(signal.SIGSTOP)  # as a machine that sleeps
                hear(socket, lambda m: m["topic"] == "link" and not m["data"]["up"])
                server.process.send_signal(signal.SIGCONT)
                until(lambda: kafka(served)["up"] is True)
                send(server.broker.bootstrap, live("pump-k", [("flow", now + 2 * SECOND, 3.0)]))
                hear(socket, lambda m: m["topic"] == "twin:pump-k" and m["rows"][-1][2] == 3.0)
            assert served.app.state.context.link.losses >= 1
        finally:
            server.stop()


def test_a_browser_that_does_not_read_costs_bounded_memory_and_hears_what_it_missed(bootstrap: str) -> None:
    with serving(ApiSettings(kafka=bootstrap, fleet=FLEET)) as served:
        raw = sockets.socket()
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", served.port))
        with connect(served.url, sock=raw, max_queue=1, compression=None, ping_interval=None) as slow:
            slow.send('{"subscribe":["twin:pump-w"]}')
            hub = served.app.state.hub
            until(lambda: any(c.topics for c in hub.clients))
            [client] = [c for c in hub.clients if c.topics]
            t, block = time.time_ns(), 2000
            deadline = time.monotonic() + 40
            while not client.dropped_rows:
                assert time.monotonic() < deadline
                send(bootstrap, live("pump-w", [("flow", t + i, 1.25) for i in range(block)]))
                t += block
                assert len(client) <= ROOM + 2
            missed = hear(slow, lambda m: m["topic"] == "dropped")
            assert missed["rows"] >= missed["pushes"] > 0
            assert hear(slow, lambda m: m["topic"] == "twin:pump-w")["rows"]
        until(lambda: not hub.clients)


def test_more_sockets_than_allowed_are_turned_away(bootstrap: str) -> None:
    with serving(ApiSettings(kafka=bootstrap, fleet=FLEET, most_clients=1)) as served, connect(served.url) as first:
        first.recv(timeout=30)
        with pytest.raises(InvalidStatus), connect(served.url):
            pass
