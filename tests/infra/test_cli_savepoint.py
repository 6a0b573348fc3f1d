"""`twinflow savepoint`: made of a state at rest, put back whole, listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flows.shard_states import offset_of
from flows.state_folder import StateFolder
from infra.errors import ExitCode
from operators.state_log import StateLog, anything
from tests.infra.command import Command


@pytest.fixture
def twinflow(tmp_path: Path) -> Command:
    return Command(tmp_path / "data")


def append(folder: StateFolder, offset: int) -> None:
    log = StateLog(folder.shards, "03gb")
    log.restore(anything)
    log.append({"shard/next_offset": np.array([offset]), "x": np.arange(offset)})
    log.close()


def now(folder: StateFolder) -> int:
    restored = StateLog(folder.shards, "03gb").restore(anything)
    assert restored.state is not None
    return offset_of(restored.state)


def test_the_state_of_a_savepoint_comes_back_and_is_listed(twinflow: Command) -> None:
    folder = StateFolder(twinflow.data / "state" / "telemetry")
    append(folder, 7)
    made = json.loads(twinflow("savepoint", "one", "--json").stdout)
    assert made["offsets"] == {"03gb": 7}
    append(folder, 12)
    assert twinflow("savepoint", "two").returncode == ExitCode.OK
    assert twinflow("savepoint", "one", "--restore").returncode == ExitCode.OK
    assert now(folder) == 7
    listed = json.loads(twinflow("savepoint", "--json").stdout)
    assert [(one["name"], one["offsets"]) for one in listed] == [("one", {"03gb": 7}), ("two", {"03gb": 12})]


def test_what_cannot_be_done_is_refused_and_changes_nothing(twinflow: Command) -> None:
    folder = StateFolder(twinflow.data / "state" / "telemetry")
    append(folder, 7)
    assert twinflow("savepoint", "one").returncode == ExitCode.OK
    append(folder, 8)
    for words, why in {
        ("one",): "there is one of this name",
        ("../up",): "is no name",
        ("none", "--restore"): "there are: one",
    }.items():
        done = twinflow("savepoint", *words)
        assert done.returncode == ExitCode.USAGE
        assert why in done.stderr
    with folder.owned():
        assert "twinflow down" in twinflow("savepoint", "one", "--restore").stderr
        assert "twinflow down" in twinflow("savepoint", "three").stderr
    assert now(folder) == 8
