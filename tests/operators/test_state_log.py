"""A restored state equals the appended one at every position, and damage is never silent."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import StateError
from operators.state_log import Position, StateLog
from operators.types import State

STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**31)), min_size=1, max_size=8)


def state_of(rows: int, seed: int) -> State:
    rng = np.random.default_rng(seed)
    value = np.where(rng.random(rows) < 0.3, np.nan, rng.integers(0, 3, rows).astype(float))
    return {"value": value, "ring": rng.integers(0, 2, (rows, 3)).astype(np.int64), "names": np.frombuffer(b"ab", "u1")}


def assert_same(left: State, right: State) -> None:
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_every_position_restores_the_state_appended_there(steps: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = StateLog(Path(folder), "00bg")
        states = [state_of(*step) for step in steps]
        for state in states:
            at = log.append(state)
        log.close()
        assert_same(StateLog(Path(folder), "00bg").restore(at), states[-1])


def test_what_was_appended_after_the_checkpoint_is_cut_off(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    kept = log.append(state_of(5, 1))
    log.append(state_of(6, 2))
    log.close()
    again = StateLog(tmp_path, "a")
    assert_same(again.restore(kept), state_of(5, 1))
    after = again.append(state_of(7, 3))
    again.close()
    assert_same(StateLog(tmp_path, "a").restore(after), state_of(7, 3))


def test_an_unchanged_state_costs_a_header_and_no_rows(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    first = log.append({"x": np.zeros(10_000)})
    second = log.append({"x": np.zeros(10_000)})
    assert second.length - first.length < 200


def test_a_log_that_outgrew_its_image_starts_a_new_generation_and_drops_the_old_one(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    positions = [log.append({"x": np.random.default_rng(i).random(50_000)}) for i in range(12)]
    assert len({p.file for p in positions}) > 1
    assert len(list(tmp_path.glob("a.*.log"))) <= 2
    assert_same(StateLog(tmp_path, "a").restore(positions[-1]), {"x": np.random.default_rng(11).random(50_000)})


def test_the_generation_before_is_kept_until_the_new_one_may_be_committed(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    before = log.append({"x": np.random.default_rng(0).random(200_000)})
    while (now := log.append({"x": np.random.default_rng(1).random(200_000)})).file == before.file:
        before = now
        log.append({"x": np.random.default_rng(2).random(200_000)})
    assert (tmp_path / before.file).exists()


def flip(path: Path, length: int) -> None:
    data = bytearray(path.read_bytes())
    data[length // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path, int], object]] = {
    "is gone": lambda path, length: path.unlink(),
    "damaged": flip,
    "the checkpoint needs": lambda path, length: path.write_bytes(path.read_bytes()[:-1]),
    "not a state log": lambda path, length: path.write_bytes(b"x" * length),
}


@pytest.mark.parametrize("words", DAMAGE)
def test_damage_is_refused_with_the_file_and_what_to_do(tmp_path: Path, words: str) -> None:
    log = StateLog(tmp_path, "a")
    at = log.append(state_of(30, 1))
    log.close()
    DAMAGE[words](tmp_path / at.file, at.length)
    with pytest.raises(StateError, match=words) as caught:
        StateLog(tmp_path, "a").restore(at)
    assert at.file in str(caught.value)
    assert "twinflow flow reset" in str(caught.value)


def test_a_position_of_another_layout_version_is_refused(tmp_path: Path) -> None:
    at = StateLog(tmp_path, "a").append(state_of(1, 1))
    with pytest.raises(StateError, match="layout version 9"):
        StateLog(tmp_path, "a").restore(Position(at.file, at.length, version=9))
