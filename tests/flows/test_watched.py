"""What telemetry says of itself while it works, over a real broker: every figure against what it delivered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.health import BEHIND_SECS, serve
from connectors.shards import SHARDS
from flows.figures import OUTCOMES
from flows.settings import FlowSettings
from flows.state_folder import StateFolder
from flows.telemetry import TelemetryWorker
from operators.definition_yaml import load_fleet
from operators.frames import Frames
from tests.connectors.batches import Sent
from tests.connectors.brokers import produce, until
from tests.connectors.test_health import ask, figures
from tests.flows.live_world import Feed, World
from tests.support_kafka import free_ports

STEPS = ("fetch", "decode", "compute", "live", "settle", "commit", "state")
Found = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("watched"))
    try:
        yield made
    finally:
        made.close()


def total(found: Found, name: str, *labels: str) -> float:
    """Sum of a figure over all series that have these labels."""
    return sum(value for (n, values), value in found.items() if n == name and set(labels) <= set(values))


def ledger(world: World) -> list[dict[str, Any]]:
    return [msgspec.json.decode(r.value or b"")["ledger"] for r in world.records("ledger")]


def test_figures_of_a_run_add_up_to_what_it_delivered(world: World) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with world.flow(TWINFLOW_HEALTH_PORT=str(port)) as flow:
        with Feed(world.bootstrap, seed=900):
            world.await_progress(flow, 900)
        world.tick()
        world.await_end(flow)
        assert ask(url + "/ready") == (200, "ok")
        found = figures(url)
        world.drain(flow)
    read = sum(world.committed().values())
    assert total(found, "twinflow_input_lag_records") == 0
    assert total(found, "twinflow_behind_seconds") < BEHIND_SECS
    assert total(found, "twinflow_step_rows_in_total", "fetch") == total(found, "twinflow_records_total") == read
    assert total(found, "twinflow_step_rows_in_total", "decode") == read
    for name in ("records", "samples"):
        for outcome in OUTCOMES:
            delivered = sum(entry[name][outcome] for entry in ledger(world))
            assert total(found, f"twinflow_{name}_total", outcome) == delivered, (name, outcome)
    letters = Counter(msgspec.json.decode(r.value or b"")["reason"] for r in world.records("dead-letters"))
    assert len(letters) > 2
    assert {reason: total(found, "twinflow_rejected_messages_total", reason) for reason in letters} == letters
    assert {step for step in STEPS if total(found, "twinflow_step_busy_seconds_total", step) <= 0} == {"commit"}
    assert total(found, "twinflow_step_blocked_seconds_total", "commit") > 0
    assert total(found, "twinflow_snapshot_seconds_count") >= len(SHARDS)
    assert total(found, "twinflow_transaction_seconds_count") >= len(SHARDS)
    assert total(found, "twinflow_state_rows") >= len(SHARDS)
    assert total(found, "twinflow_state_bytes") > 1000
    assert 0 < total(found, "twinflow_watermark_lag_seconds", SHARDS[0], "fastest") < 600


def test_a_flow_that_falls_behind_says_so_stays_ready_and_says_when_it_has_caught_up(
    world: World, tmp_path: Path
) -> None:
    settings = FlowSettings(world.bootstrap, tmp_path / "state", group="slow", processes=len(SHARDS))
    worker = TelemetryWorker(settings, StateFolder(settings.state), load_fleet(world.fleet, world.types))
    worker.prepare()
    worker.add(0, None)
    seen: list[Frames] = []

    def turn() -> int:
        """Take what has come, and do nothing with it: as long as it takes."""
        seen.extend(worker.take(0))
        return seen[-1].end_offset if seen else -1

    def done() -> None:
        worker.backlogs[0].note(turn(), int(seen[-1].arrival.max()))

    world.tick()
    until(lambda: turn() > 0, "a first record")
    done()
    server = serve(0, worker)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        assert (worker.lags(), ask(url + "/ready")) == ({SHARDS[0]: 0}, (200, "ok"))
        before = turn()
        produce(world.bootstrap, "samples", [Sent(None, b"{}")] * 5)
        until(lambda: turn() == before + 5, "five records")
        assert worker.lags() == {SHARDS[0]: 5}
        ages = [total(figures(url), "twinflow_input_oldest_age_seconds") for _ in range(2)]
        assert 0 < ages[0] < ages[1]
        until(lambda: turn() and worker.oldest_age_secs() > BEHIND_SECS, "the oldest to be old")
        status, said = ask(url + "/ready")
        assert status == 200
        assert re.fullmatch(r"behind \d+ s", said)
        assert total(figures(url), "twinflow_behind_seconds") > BEHIND_SECS
        done()
        assert (worker.lags(), ask(url + "/ready")) == ({SHARDS[0]: 0}, (200, "ok"))
    finally:
        server.shutdown()
        server.server_close()
        worker.leave(0)
