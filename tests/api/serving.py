"""The API on a real port over a real broker, and records as telemetry writes them."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import uvicorn
from confluent_kafka import Producer
from fastapi import FastAPI

from connectors.kafka_commit import Record
from connectors.live_records import Arrived
from connectors.shards import SHARDS
from dashboards.api.server import create_app
from dashboards.api.settings import ApiSettings
from flows.documents import document
from flows.encode import blocks
from flows.tables import samples_table
from operators.definition import CommandSpec, Component, Fleet, RuleSpec, Signal, TwinType
from operators.types import Batch
from tests.support_kafka import free_ports

SECOND = 1_000_000_000
WITHIN_SECS = 40.0
PUMP = TwinType(
    "pump",
    2,
    (
        Signal("flow", "l/min", rate_hz=10.0, low=0.0, high=100.0, normal_low=20.0, normal_high=40.0, component="loop"),
        Signal("temp", "degC", rate_hz=1.0, component="motor/bearing"),
        Signal("mode", "1"),
    ),
    tree=(Component("motor", "Motor"), Component("motor/bearing", "Bearing"), Component("loop", "Loop")),
    rules=(RuleSpec("hot", "temp", "above", limit=90.0, severity="alarm"),),
    commands=(CommandSpec("stop"),),
)
EVENTS = TwinType("button", 1, (Signal("pressed"),), idle_timeout_ns=60 * SECOND)
FLEET = Fleet((("pump-*", "pump"), ("button-*", "button")), {"pump": PUMP, "button": EVENTS})


def live(
    device: str, samples: Sequence[tuple[str, int, float]], *, twin: TwinType = PUMP, shard: int = 0, quality: int = 0,
    arrival: int | None = None,
) -> list[Record]:  # fmt: skip
    """A `twin-live` record of (signal, ts, value), as flows.publish writes it."""
    batch = Batch.of(
        series=[twin.index[s] for s, _, _ in samples],
        ts=[t for _, t, _ in samples],
        arrival=[t for _, t, _ in samples] if arrival is None else arrival,
        value=[v for _, _, v in samples],
        quality=quality,
    )
    table = samples_table(batch, twin, [device])
    return blocks("twin-live", table, shard=SHARDS[shard], partition=shard, twin_type=twin.name)


def alert(alarm: str, device: str, state: str, ts_ns: int, **more: Any) -> Record:
    """An `alerts` record as flows.publish writes it."""
    value = {
        "id": alarm, "rule": "hot", "device": device, "signal": "temp", "state": state, "severity": "alarm",
        "ts_ns": ts_ns, "offset": 7, "value": 92.5, "limit": 90.0,
        "cause": "Bearing hot: temp 92.5 degC is above its limit of 90 degC",
        "command": "", "source": "rule", "score": None, "ranked": [], "twin_type": "pump", "shard": SHARDS[0],
    } | more  # fmt: skip
    return document("alerts", device, value, partition=0)


def arrived(record: Record, *, offset: int = 0, arrival_ns: int = 0) -> Arrived:
    """A record as the feed hands it to the view."""
    headers = {k: v.decode() for k, v in record.headers}
    return Arrived(
        record.topic, record.partition, offset, arrival_ns, (record.key or b"").decode(), record.value, headers
    )


def send(bootstrap: str, records: Sequence[Record]) -> None:
    """Produce and wait until the broker has them."""
    producer = _producer(bootstrap)
    for r in records:
        producer.produce(r.topic, r.value, r.key, partition=r.partition, headers=list(r.headers))
        producer.poll(0)
    assert producer.flush(30) == 0


@cache
def _producer(bootstrap: str) -> Producer:
    return Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 8 << 20, "linger.ms": 0, "log_level": 0})


def until(condition: Callable[[], Any], *, secs: float = WITHIN_SECS) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + secs
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, "the condition did not come true"
        threading.Event().wait(0.02)


@dataclass
class Served:
    """A running API."""

    port: int
    app: FastAPI

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/live"

    def ask(
        self, path: str, body: Any = None, *, method: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = None if body is None else json.dumps(body)
        all_headers = {"content-type": "application/json"} | (headers or {})
        connection.request(method or ("GET" if body is None else "POST"), path, sent, all_headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        is_json = (answer.getheader("content-type") or "").startswith("application/json")
        return answer.status, json.loads(text) if is_json else text.decode()

    def get(self, path: str) -> Any:
        status, answer = self.ask(path)
        assert status == 200, answer
        return answer


@contextmanager
def serving(settings: ApiSettings, *, ready: bool = True) -> Iterator[Served]:
    """The API in a thread of its own, as the dashboard process runs it."""
    [port] = free_ports(1)
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        until(lambda: server.started)
        served = Served(port, app)
        if ready:
            until(lambda: served.ask("/healthz")[0] == 200)
        yield served
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()
