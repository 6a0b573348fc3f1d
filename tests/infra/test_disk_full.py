"""A disk that fills up under a running stack: storing rests, all are told, nothing is lost, it goes on by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.migrate import migrations
from infra.supervisor import statefile
from infra.supervisor.disk import ENOUGH_MB, LEAST_MB, Disk, free_mb
from infra.supervisor.service import ChildState, ProcessRow
from tests.infra.accounting import everything_is_accounted_for_and_stored
from tests.infra.command import ROOT, Command
from tests.infra.disk_full_merge import INSERTS, ROWS
from tests.infra.small_disk import everything_that_stores_is_held, fill, small_disk, states
from tests.infra.supervised import Stage, free_port, gone, server, until

ROOM_MB = 900
COUNT = """
import sys
from pathlib import Path
from infra.history.engine import Engine, Setup
engine = Engine(Path(sys.argv[1]))
with engine.handle(Setup()) as handle:
    print(handle.run("SELECT count() FROM t").data.decode())
engine.close()
"""


def old_parts_lifetime() -> str:
    """As the migrations set it."""
    found = re.findall(r"old_parts_lifetime = (\d+)", " ".join(s for m in migrations() for s in m.statements))
    return str(found[-1])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with small_disk(tmp_path_factory.mktemp("full") / "disk", f"{ROOM_MB}m") as disk:
        command = Command(disk / "data", env={"TWINFLOW_KAFKA_PORT": str(free_port())})
        with command.running() as up:
            command.await_ready()
            yield command
            (disk / "filler").unlink(missing_ok=True)
            assert command("down").returncode == 0
            assert up.wait(timeout=60) == 0


def test_below_100_mb_storing_rests_and_from_300_mb_on_it_goes_on(tmp_path: Path) -> None:
    free = free_mb(tmp_path)
    disk = Disk(tmp_path, least_mb=0, enough_mb=10 * free)
    assert disk() == ""
    disk.least_mb = 2 * free
    assert disk().startswith(
        f"disk full: {tmp_path} has {free_mb(tmp_path)} MB free, needs {10 * free}; storing stopped"
    )
    disk.least_mb = 0
    assert disk() != ""  # more than the least is not yet enough
    disk.enough_mb = 0
    assert disk() == ""
    assert (LEAST_MB, ENOUGH_MB) == (100, 300)


def test_what_stores_is_stopped_in_the_order_of_a_drain_and_started_again(tmp_path: Path) -> None:
    full: list[str] = []
    page = replace(server("page", after=("broker",)), stores=False)
    stage = Stage([page, server("flow", after=("broker",)), server("broker")], tmp_path, full=lambda: "".join(full))

    def play() -> None:
        until(lambda: all(stage.is_in(name, ChildState.READY) for name in ("page", "flow", "broker")))
        pids = {row.name: row.pid for row in stage.history[-1]}
        full.append("disk full")
        until(lambda: stage.is_in("broker", ChildState.HELD))
        assert stage.order(ChildState.HELD) == ["flow", "broker"]
        assert stage.row("broker").why == "disk full"
        assert stage.row("page").pid == pids["page"]
        full.clear()
        until(lambda: all(stage.is_in(name, ChildState.READY) for name in ("page", "flow", "broker")))
        assert stage.row("flow").pid != pids["flow"]
        assert stage.row("flow").restarts == 0  # it did not die

    stage.run(play)
    assert stage.left() == []
    assert [event for event in stage.events if event.startswith("disk")] == [
        "disk: disk full",
        "disk: room again, storing goes on",
    ]


def test_what_is_held_ends_with_the_stack_and_what_has_died_is_not_started_on_a_full_disk(tmp_path: Path) -> None:
    full: list[str] = []
    stage = Stage([server("flow", after=("broker",)), server("broker")], tmp_path, full=lambda: "".join(full))

    def play() -> None:
        until(lambda: stage.is_in("flow", ChildState.READY))
        pid = stage.row("broker").pid
        assert pid is not None
        full.append("disk full")
        os.kill(pid, 9)
        until(lambda: stage.is_in("broker", ChildState.HELD) and stage.is_in("flow", ChildState.HELD))
        assert gone(pid)

    stage.run(play)
    assert stage.left() == []


def test_the_state_is_told_on_a_disk_without_a_byte_left(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        row = ProcessRow("kafka", 1, "gone", ChildState.READY, 0, 1.0, "")
        state = statefile.StackState(1, "gone", "then", str(disk), {}, None, [row])
        statefile.write(disk / "state.json", state)
        with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
            while True:
                filler.write(b"x" * 4096)
        told = ProcessRow("kafka", None, "", ChildState.HELD, 0, 1.0, "disk full: " + "x" * 1000)
        statefile.write(disk / "state.json", statefile.StackState(1, "gone", "then", str(disk), {}, None, [told]))
        read = statefile.read(disk / "state.json")
        assert read is not None
        assert read.held == told.why


@pytest.mark.parametrize(("lifetime", "left"), [(old_parts_lifetime(), INSERTS * ROWS), ("0", 0)])
def test_a_merge_that_meets_the_last_byte_costs_nothing_once_the_engine_was_started_anew(
    tmp_path: Path, lifetime: str, left: int
) -> None:
    """With the engine's own setting, 0, everything is lost; with ours nothing is."""
    with small_disk(tmp_path / "disk", "600m") as disk:
        command = [sys.executable, "-m", "tests.infra.disk_full_merge", str(disk), lifetime]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.stdout.startswith("broken"), done.stdout + done.stderr
        (disk / "filler").unlink()
        count = [sys.executable, "-c", COUNT, str(disk / "engine")]
        done = subprocess.run(count, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.stdout.strip() == str(left), done.stderr


def test_a_disk_that_runs_low_is_named_by_status_and_doctor_and_costs_nothing(running: Command) -> None:
    filler = fill(running.data.parent, left_mb=60)
    until(lambda: everything_that_stores_is_held(running), "storing rests")
    said = running("status")
    assert said.returncode == 1
    told = f"disk full: {running.data} has "
    assert told in said.stdout
    assert "free space and it goes on by itself" in said.stdout
    doctor = {check["name"]: check for check in running.json("doctor")["checks"]}
    assert doctor["disk"]["verdict"] == "fail"
    assert doctor["disk"]["found"].startswith(told)
    assert states(running)["page"] in ("ready", "unready")
    filler.unlink()
    running.await_ready()
    everything_is_accounted_for_and_stored(running)


def test_a_disk_that_is_full_to_the_last_byte_in_one_stroke_loses_nothing(running: Command) -> None:
    running.await_ready()
    filler = fill(running.data.parent, left_mb=0)
    assert free_mb(running.data) == 0
    until(lambda: everything_that_stores_is_held(running), "storing rests", within_secs=120)
    status, doctor = running.json("status"), {c["name"]: c["found"] for c in running.json("doctor")["checks"]}
    assert re.match(f"disk full: {running.data} has \\d MB free, needs 300; storing stopped", status["held"])
    assert doctor["disk"] == running.json("status")["held"]
    filler.unlink()
    running.await_ready()
    everything_is_accounted_for_and_stored(running)
