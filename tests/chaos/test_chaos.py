"""Every scenario of `twinflow chaos`, short, in one world: nothing lost, nothing twice, the state the same.

The long ones are `test_full.py`, run by `twinflow test --full`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.cli_ledger import Since, examine
from tests.chaos import broker, determinism, eos, rescale
from tests.chaos.checker import check, kept_state
from tests.chaos.oracle import Oracle, uninterrupted
from tests.chaos.scenario import faults
from tests.flows.live_world import SETTLED, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("chaos"))
    try:
        yield made
    finally:
        made.close()


def test_telemetry_that_is_killed_says_everything_once(world: World) -> None:
    figures = eos.run(world, kills=6, seed=20)
    assert faults(figures) == {}
    assert figures["kills"] == 6


def test_the_input_of_the_scenarios_brings_about_everything_there_is(world: World) -> None:
    oracle = uninterrupted(world)
    assert {r.topic for r in oracle.records} >= {*SETTLED, "alerts", "command-requests", "twin-states"}
    letters = b"".join(record.value or b"" for record in oracle.of("dead-letters"))
    assert all(reason in letters for reason in (b'"bad_json"', b'"wrong_key"'))
    ledger = examine(world.bootstrap, Since(), patience_secs=10).total.records
    assert 0 not in (ledger.control, ledger.late, ledger.duplicate, ledger.rejected, ledger.quarantined)


def test_the_checker_sees_a_result_that_is_missing_and_a_state_that_is_not_the_same(world: World) -> None:
    oracle = uninterrupted(world)
    more = Oracle([*oracle.records, oracle.of("windows")[-1]], {0: oracle.states[1]})
    verdict = check(world, more)
    assert verdict.lost > 0
    assert verdict.duplicates == 0
    assert verdict.state_mismatches > 0
    assert kept_state(world, 0)


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(world: World) -> None:
    assert faults(broker.run(world, kills=1, seed=21)) == {}


def test_the_shards_go_on_in_any_number_of_processes_from_a_savepoint(world: World) -> None:
    assert faults(rescale.run(world, workers=[3, 1, 2], seed=22)) == {}


def test_speed_stalls_processes_and_batches_change_no_result(tmp_path: Path) -> None:
    ways = [way for way in determinism.WAYS if way.name in determinism.SHORT]
    world = determinism.new_world(tmp_path)
    try:
        figures = determinism.run(world, seconds=3.0, seed=23, ways=ways, stall_secs=1.0)
    finally:
        world.close()
    assert faults(figures) == {}
    assert figures["runs"] == len(determinism.SHORT)
