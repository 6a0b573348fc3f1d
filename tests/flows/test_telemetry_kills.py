"""The flow over a real broker, drained, and without state and input: what it delivers is what an uninterrupted run over
the same log delivers, each result once. Kills and harm to its files are in tests/chaos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.errors import ExitCode
from tests.chaos.checker import check
from tests.chaos.scenario import faults
from tests.flows.live_world import World
from tests.infra.command import Command


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    try:
        yield made
    finally:
        made.close()


def assert_as_if_nothing_had_happened(world: World) -> None:
    """As `twinflow chaos` checks: the ledger balances, every result and state is that of an uninterrupted run."""
    world.settle()
    assert faults(check(world).figures()) == {}


def test_a_drain_keeps_windows_open_and_the_next_start_goes_on_with_them(world: World) -> None:
    with world.feed(200):
        for _ in range(3):
            with world.flow() as flow:
                world.await_progress(flow, 100)
                world.drain(flow)
    assert_as_if_nothing_had_happened(world)


def test_without_state_and_without_whole_input_the_flow_stops_until_a_person_gives_the_state_up(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    twinflow = Command(world.data, env={"TWINFLOW_KAFKA": world.bootstrap})
    try:
        with world.feed(600), world.flow() as flow:
            world.await_progress(flow, 100)
            refused = twinflow("flow", "reset", "telemetry", "--yes")
            assert refused.returncode == ExitCode.FAILED
            assert f"pid {flow.pid}" in refused.stderr
            world.drain(flow)
        for path in (world.data / "state" / "telemetry" / "shards").glob("03gb.*.log"):
            path.unlink()
        world.delete_before("samples", 3, 2)
        with world.flow() as flow:
            assert flow.wait(60) == 1
        last = world.log.read_text().splitlines()[-1]
        assert "ERROR" in last
        assert "the state of shard 03gb is gone" in last
        assert "twinflow flow reset telemetry --yes" in last
        asked = twinflow("flow", "reset", "telemetry")
        assert asked.returncode == ExitCode.USAGE
        assert "What was delivered is not delivered again" in asked.stdout
        assert twinflow("flow", "reset", "telemetry", "--yes").returncode == ExitCode.OK
        world.run_to_end()
    finally:
        world.close()
