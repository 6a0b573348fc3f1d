"""The flow over a real broker, killed, drained and robbed of its files: what it delivers is what an uninterrupted run
over the same log delivers, each result once."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from connectors.kafka_commit import Record
from connectors.shards import SHARDS
from flows.publish import Fetch, StatePublisher, live_records, settled_records
from flows.shard import Shard
from infra.errors import ExitCode
from tests.connectors.brokers import until
from tests.flows.live_world import Feed, World
from tests.flows.telling import last_states, once, told
from tests.infra.command import Command

SETTLED = ("readings", "windows", "rows", "anomalies", "late", "gaps", "dead-letters")
LIVE = ("alerts", "command-requests")
KILLS = 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def twinflow(world: World) -> Command:
    return Command(world.data, env={"TWINFLOW_KAFKA": world.bootstrap})


def uninterrupted(world: World) -> list[Record]:
    """What one run of the cores over the whole log publishes."""
    cores = {p: (Shard(world.type_of), StatePublisher()) for p in range(len(SHARDS))}
    records: list[Record] = []
    for frames in world.read("samples"):
        p, shard = frames.partition, SHARDS[frames.partition]
        core, states = cores[p]
        out = core.push(frames)
        states.note(out)
        records += settled_records(shard, p, [Fetch.of(out)])
        records += states.due(out, newest_arrival_ns=1 << 62, shard=shard, partition=p)
        records += live_records(out, shard=shard, partition=p)
    return records


def assert_as_if_nothing_had_happened(world: World, twinflow: Command) -> list[Record]:
    """The ledger balances, every settled topic is that of an uninterrupted run, no alert is missing."""
    checked = twinflow("ledger", "--check")
    assert (checked.returncode, checked.stderr) == (ExitCode.OK, ""), checked.stdout
    expected = uninterrupted(world)
    for topic in SETTLED:
        found, wanted = told(world.records(topic)), told(r for r in expected if r.topic == topic)
        assert found == wanted, topic
    for topic in LIVE:  # at least once: a repeat says the same under the same id
        assert set(once(world.records(topic))) == set(once(r for r in expected if r.topic == topic)), topic
    return expected


def kill_somewhere(world: World, flow: subprocess.Popen[bytes], dice: random.Random) -> None:
    """Kill after some commits, at the next one, at the next snapshot of state, or in the middle of an epoch."""
    world.await_progress(flow, dice.randrange(1, 150))
    sign = dice.choice((world.committed, world.state_bytes, world.live_ends))
    before = sign()
    until(lambda: sign() != before, f"a change of {sign.__name__}")
    flow.send_signal(signal.SIGKILL)
    assert flow.wait() == -signal.SIGKILL


def test_after_twenty_kills_every_result_is_there_once(world: World, twinflow: Command) -> None:
    dice = random.Random(20)
    with Feed(world.bootstrap, seed=100):
        for _ in range(KILLS):
            with world.flow() as flow:
                kill_somewhere(world, flow, dice)
    world.run_to_end()
    world.tick()
    world.run_to_end()  # a start tells every state
    expected = assert_as_if_nothing_had_happened(world, twinflow)
    assert last_states(world.records("twin-states")) == last_states(expected)
    assert {r.topic for r in expected} >= {*SETTLED, *LIVE, "twin-states"}


def test_a_drain_keeps_windows_open_and_the_next_start_goes_on_with_them(world: World, twinflow: Command) -> None:
    with Feed(world.bootstrap, seed=200):
        for _ in range(3):
            with world.flow() as flow:
                world.await_progress(flow, 100)
                world.drain(flow)
    world.run_to_end()
    assert_as_if_nothing_had_happened(world, twinflow)


def hurt(path: Path) -> None:
    """Change a byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_state_that_is_lost_or_damaged_is_rebuilt_from_the_input_and_said_aloud(
    world: World, twinflow: Command
) -> None:
    with Feed(world.bootstrap, seed=300):
        with world.flow() as flow:
            world.await_progress(flow, 100)
            refused = twinflow("flow", "reset", "telemetry", "--yes")
            assert refused.returncode == ExitCode.FAILED
            assert f"pid {flow.pid}" in refused.stderr
            world.drain(flow)
        shards = world.data / "state" / "telemetry" / "shards"
        for path in shards.glob("03gb.*.log"):
            path.unlink()
        for path in shards.glob("04ac.*.log"):
            hurt(path)
        with world.flow() as flow:
            world.await_progress(flow, 100)
            errors = [line for line in world.log.read_text().splitlines() if " ERROR " in line]
            assert any("samples/3: results are committed" in e and "rebuilt from offset 0" in e for e in errors)
            assert any("04ac" in e and "is damaged" in e for e in errors)
            world.drain(flow)
    world.run_to_end()
    assert_as_if_nothing_had_happened(world, twinflow)


def test_the_shards_go_on_in_any_number_of_processes(world: World, twinflow: Command) -> None:
    dice = random.Random(3)
    with Feed(world.bootstrap, seed=400):
        for count in (3, 1, 2):
            with ExitStack() as running:
                flows = [running.enter_context(world.flow(TWINFLOW_PROCESS=f"{i}/{count}")) for i in range(count)]
                world.await_progress(flows[0], 200)
                for flow in dice.sample(flows, count // 2):  # the others go on, and are killed at the end
                    world.drain(flow)
    world.run_to_end()
    assert_as_if_nothing_had_happened(world, twinflow)


def test_without_state_and_without_whole_input_the_flow_stops_until_a_person_gives_the_state_up(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    twinflow = Command(world.data, env={"TWINFLOW_KAFKA": world.bootstrap})
    try:
        with Feed(world.bootstrap, seed=600), world.flow() as flow:
            world.await_progress(flow, 100)
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


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(world: World, twinflow: Command) -> None:
    with Feed(world.bootstrap, seed=500):
        with world.flow() as flow:
            world.await_progress(flow, 100)
            world.server.stop(signal.SIGKILL)
            world.server.start()
            ended = until_progress_or_end(world, flow)
        if ended:  # as `up` would: start it again
            with world.flow() as flow:
                world.await_progress(flow, 100)
                world.drain(flow)
    world.run_to_end()
    assert_as_if_nothing_had_happened(world, twinflow)


def until_progress_or_end(world: World, flow: subprocess.Popen[bytes]) -> bool:
    """Whether the flow ended rather than went on; then it said why."""
    goal = sum(world.committed().values()) + 100
    until(lambda: flow.poll() is not None or sum(world.committed().values()) >= goal, "the flow to go on or to end", 60)
    if flow.poll() is None:
        return False
    assert flow.returncode == 1
    assert "nothing is lost" in world.log.read_text().splitlines()[-1]
    return True
