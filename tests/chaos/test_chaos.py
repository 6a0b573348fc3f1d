"""Every scenario of `twinflow chaos`, short, in one world: nothing lost, nothing twice, the state the same.

The long ones are `test_full.py`, run by `twinflow test --full`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.clickhouse import ClickHouse
from infra.cli_ledger import Since, examine
from tests.chaos import broker, clock, determinism, disk, eos, net, recovery, rescale, soak, writer, zombie
from tests.chaos.checker import Verdict, check, kept_state
from tests.chaos.machine_clock import jumping
from tests.chaos.oracle import Oracle, uninterrupted
from tests.chaos.proxy import FAULTS
from tests.chaos.scenario import faults
from tests.chaos.stored import check_stored
from tests.flows.history_stream import authorised
from tests.flows.live_world import SETTLED, World
from tests.support_history import running_history


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("chaos"))
    try:
        yield made
    finally:
        made.close()


def test_telemetry_that_is_killed_says_everything_once(world: World) -> None:
    figures = eos.run(world, kills=4, seed=20)
    assert faults(figures) == {}
    assert figures["kills"] == 4


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
    assert faults(rescale.run(world, workers=[3, 1], seed=22)) == {}


def test_a_process_that_hangs_while_another_takes_over_is_fenced_and_says_so(world: World) -> None:
    figures = zombie.run(world, rounds=1, seed=23)
    assert faults(figures) == {}
    assert figures["rounds"] == 1


def test_a_network_that_delays_resets_tears_and_swallows_costs_nothing(world: World) -> None:
    figures = net.run(world, minutes=0.01, seed=24, most_secs=0.5)
    assert faults(figures) == {}
    assert figures["rounds"] == len(FAULTS)


def test_state_that_is_older_or_damaged_is_said_and_rebuilt(world: World) -> None:
    figures = recovery.run(world, harms=("older", "torn"), last=(), seed=25)
    assert faults(figures) == {}
    assert figures["rounds"] == 2


def test_the_history_has_every_row_once_whoever_is_killed(world: World) -> None:
    figures = writer.run(world, kills=2, seed=26)
    assert faults(figures) == {}
    assert figures["kills"] == 2


def test_the_checker_sees_a_row_of_the_history_that_is_missing_there_twice_or_another(world: World) -> None:
    with running_history(world.folder / "history-26") as history, ClickHouse(authorised(history)) as client:
        [(gaps,)] = client.rows("SELECT count() FROM gaps")  # a short feed may bring none
        client.run("INSERT INTO gaps SELECT * FROM gaps ORDER BY kp, ko LIMIT 1")
        client.run("ALTER TABLE windows DELETE WHERE (kp, ko) IN (SELECT kp, min(ko) FROM windows GROUP BY kp)")
        client.run("ALTER TABLE samples UPDATE value = value + 1 WHERE (kp, ko) IN (SELECT 0, min(ko) FROM samples)")
        verdict = Verdict()
        check_stored(verdict, world, client)
    assert verdict.duplicates == min(1, int(gaps))
    assert verdict.lost > 0
    assert verdict.state_mismatches > 0


def test_the_input_of_the_scenarios_brings_about_everything_there_is(world: World) -> None:
    oracle = uninterrupted(world)
    assert {r.topic for r in oracle.records} >= {*SETTLED, "alerts", "command-requests", "twin-states"}
    letters = b"".join(record.value or b"" for record in oracle.of("dead-letters"))
    assert all(reason in letters for reason in (b'"bad_json"', b'"wrong_key"'))
    ledger = examine(world.bootstrap, Since(), patience_secs=10).total.records
    assert 0 not in (ledger.control, ledger.late, ledger.duplicate, ledger.rejected, ledger.quarantined)


def test_a_disk_without_a_byte_left_costs_nothing(tmp_path: Path) -> None:
    with disk.on_small_disks(tmp_path / "world") as world:
        figures = disk.run(world, rounds=2, seed=27)
    assert faults(figures) == {}
    assert figures["rounds"] == 2


def test_a_clock_of_the_machine_that_jumps_changes_no_result(tmp_path: Path) -> None:
    with jumping(tmp_path) as ahead:
        world = World(tmp_path / "world")
        try:
            figures = clock.run(world, ahead, jumps=1, seed=29)
        finally:
            world.close()
    assert faults(figures) == {}
    assert figures["rounds"] == 1


def test_a_soak_samples_memory_handles_disk_and_lag_of_every_process(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        figures = soak.run(world, hours=0.001, seed=28)
    finally:
        world.close()
    assert faults(figures) == {}
    trends = figures["trends"]
    assert isinstance(trends, dict)
    of_processes = {f"{kind}/{name}" for kind in ("rss_mb", "handles") for name in soak.PROCESSES}
    assert set(trends) == {*of_processes, "disk_mb", "lag"}


def test_speed_stalls_processes_and_batches_change_no_result(tmp_path: Path) -> None:
    ways = [way for way in determinism.WAYS if way.name in determinism.SHORT]
    world = determinism.new_world(tmp_path)
    try:
        figures = determinism.run(world, seconds=3.0, seed=23, ways=ways, stall_secs=1.0)
    finally:
        world.close()
    assert faults(figures) == {}
    assert figures["runs"] == len(determinism.SHORT)
