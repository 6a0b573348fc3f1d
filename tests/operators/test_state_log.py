"""A restored state equals the appended one at every position, and damage is never silent."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators import state_log
from operators.errors import StateError
from operators.state_entries import Part
from operators.state_log import StateLog, anything
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


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("a.*.log"))


def newest(folder: Path) -> State:
    restored = StateLog(folder, "a").restore(anything)
    assert restored.state is not None
    return restored.state


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, upto=st.integers(0, 7))
def test_the_newest_state_that_fits_is_restored_and_what_lies_behind_is_cut_off(
    steps: list[tuple[int, int]], upto: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = StateLog(folder, "a")
        states = [{**state_of(*step), "at": np.array([i])} for i, step in enumerate(steps)]
        for state in states:
            log.append(state)
        log.close()
        restored = StateLog(folder, "a").restore(lambda state: int(state["at"][0]) <= upto)
        assert restored.state is not None and restored.damaged == ""
        assert_same(restored.state, states[min(upto, len(states) - 1)])
        assert_same(newest(folder), restored.state)


def test_an_append_after_a_restore_goes_on_from_there(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    log.append(state_of(5, 1))
    log.append(state_of(6, 2))
    log.close()
    again = StateLog(tmp_path, "a")
    restored = again.restore(lambda state: len(state["value"]) < 6)
    assert restored.state is not None
    assert_same(restored.state, state_of(5, 1))
    again.append(state_of(7, 3))
    again.close()
    assert_same(newest(tmp_path), state_of(7, 3))


def test_where_no_state_fits_there_is_none_and_the_log_begins_anew(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    log.append(state_of(5, 1))
    assert StateLog(tmp_path, "a").restore(lambda _state: False).state is None
    again = StateLog(tmp_path, "a")
    assert again.restore(lambda _state: False).state is None
    again.append(state_of(3, 2))
    assert_same(newest(tmp_path), state_of(3, 2))
    assert StateLog(tmp_path / "none", "a").restore(anything).state is None


def test_an_unchanged_state_costs_a_header_and_no_rows(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    log.append({"x": np.zeros(10_000)})
    before = files(tmp_path)[0].stat().st_size
    log.append({"x": np.zeros(10_000)})
    assert files(tmp_path)[0].stat().st_size - before < 200


def test_a_log_that_outgrew_its_image_starts_a_new_generation_and_drops_the_old_one(tmp_path: Path) -> None:
    log, seen = StateLog(tmp_path, "a"), set()
    for i in range(12):
        log.append({"x": np.random.default_rng(i).random(50_000)})
        seen |= {path.name for path in files(tmp_path)}
        assert len(files(tmp_path)) <= 2
    assert len(seen) > 1
    assert_same(newest(tmp_path), {"x": np.random.default_rng(11).random(50_000)})


def test_a_state_of_the_generation_before_is_still_there_when_a_new_one_has_begun(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    at = 0
    while len(files(tmp_path)) < 2:
        log.append({"x": np.random.default_rng(at % 2).random(200_000), "at": np.array([at])})
        at += 1
    restored = StateLog(tmp_path, "a").restore(lambda state: int(state["at"][0]) < at - 1)
    assert restored.state is not None and int(restored.state["at"][0]) == at - 2
    assert len(files(tmp_path)) == 1


def test_a_log_that_went_back_a_generation_keeps_the_file_it_goes_on_in(tmp_path: Path) -> None:
    log, at = StateLog(tmp_path, "a"), 0
    while len(files(tmp_path)) < 2:
        log.append({"x": np.random.default_rng(at % 2).random(200_000), "at": np.array([at])})
        at += 1
    log.close()
    back = StateLog(tmp_path, "a")
    state = back.restore(lambda state: int(state["at"][0]) < at - 1).state
    assert state is not None
    x = state["x"].copy()
    for more in range(6):
        back.append({"x": x, "at": np.array([100 + more])})
        assert_same(newest(tmp_path), {"x": x, "at": np.array([100 + more])})


@pytest.mark.parametrize("hurt", [lambda d: d[:-3], lambda d: d[:-20] + b"x" * 20, lambda d: d[:-40] + bytes(40)])
def test_a_damaged_end_gives_the_state_before_it_and_is_told(tmp_path: Path, hurt: Callable[[bytes], bytes]) -> None:
    log = StateLog(tmp_path, "a")
    log.append(state_of(40, 1))
    log.append(state_of(40, 2))
    log.close()
    [path] = files(tmp_path)
    path.write_bytes(hurt(path.read_bytes()))
    restored = StateLog(tmp_path, "a").restore(anything)
    assert restored.state is not None
    assert_same(restored.state, state_of(40, 1))
    assert str(path) in restored.damaged


@pytest.mark.parametrize("tail", [b"\0" * 8, b"\0" * 4096, b"\1"])
def test_a_tail_that_was_never_written_gives_the_state_before_it(tmp_path: Path, tail: bytes) -> None:
    log = StateLog(tmp_path, "a")
    log.append(state_of(40, 1))
    log.close()
    [path] = files(tmp_path)
    path.write_bytes(path.read_bytes() + tail)
    assert_same(newest(tmp_path), state_of(40, 1))
    again = StateLog(tmp_path, "a")
    again.restore(anything)
    again.append(state_of(40, 2))
    assert_same(newest(tmp_path), state_of(40, 2))


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, data=st.data())
def test_rows_that_are_named_are_written_and_all_others_taken_as_they_were(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, told = Path(name), state_of(0, 0)
        log = StateLog(folder, "a")
        for rows, seed in steps:
            new, kept = state_of(rows, seed), len(told["value"])
            chosen = data.draw(st.lists(st.integers(0, 60), unique=True).map(sorted))
            named = np.array(chosen, np.intp)
            hidden = np.setdiff1d(np.arange(min(kept, rows)), named)
            if kept <= rows:
                new["value"][hidden] = told["value"][hidden]
            log.append(new, {"value": named[named < rows]})
            told = {**new, "value": new["value"].copy()}
            assert_same(newest(folder), told)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 700),
    width=st.integers(1, 300),
    kind=st.sampled_from(["u1", "<f8"]),
    seed=st.integers(0, 2**31),
    share=st.sampled_from([0.0, 0.002, 0.1]),
)
def test_of_columns_of_any_shape_every_row_that_changed_is_found(
    rows: int, width: int, kind: str, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    before = rng.integers(0, 3, (rows, width)).astype(kind)
    after = np.where(rng.random((rows, width)) < share, before + np.ones((), kind), before).astype(kind)
    with tempfile.TemporaryDirectory() as name:
        log = StateLog(Path(name), "a")
        for column in (before, after, before, after):
            log.append({"column": column})
            assert_same(newest(Path(name)), {"column": column})
        log.close()


def test_what_the_system_takes_in_pieces_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = os.writev
    monkeypatch.setattr(os, "writev", lambda file, parts: written(file, [bytes(parts[0])[:7]]))
    many = {f"column{i}": np.arange(i % 5) for i in range(2 * state_log.PARTS_PER_WRITE)}
    for state in (many, {**many, "column4": np.array([7, 8, 9, 1])}):
        log = StateLog(tmp_path, "a")
        log.append(state)
        log.close()
        assert_same(newest(tmp_path), state)
    monkeypatch.undo()
    log = StateLog(tmp_path, "a")
    log.append(many)
    log.close()
    assert_same(newest(tmp_path), many)


@pytest.mark.parametrize("rows", [40, 40_000])
def test_an_append_that_failed_says_where_and_the_next_one_writes_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Into the file that is there, and into one that is begun."""
    log = StateLog(tmp_path, "a")
    log.append(state_of(40, 1))

    def full(file: int, parts: Sequence[Part]) -> None:
        os.write(file, bytes(parts[0])[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(StateError, match=r"a\.\d\.log: \d+ bytes .* No space left"):
        patch.setattr(state_log, "_write_all", full)
        log.append(state_of(rows, 2))
    log.append(state_of(40, 3))
    log.close()
    assert_same(newest(tmp_path), state_of(40, 3))


def test_a_log_of_another_version_is_refused(tmp_path: Path) -> None:
    log = StateLog(tmp_path, "a")
    log.append(state_of(1, 1))
    [path] = files(tmp_path)
    path.write_bytes(b"TWSL\x09" + path.read_bytes()[5:])
    with pytest.raises(StateError, match="layout version"):
        StateLog(tmp_path, "a").restore(anything)


@pytest.mark.parametrize("head", [bytes(8), b"TWSL\0\0\0\0", b"TW\0\0\0\0\0\0", b"TWSL\x01\x7f\x1a\xc3", b"garbage!"])
def test_a_head_that_a_power_cut_left_is_damage_and_no_other_version(tmp_path: Path, head: bytes) -> None:
    log = StateLog(tmp_path, "a")
    log.append(state_of(1, 1))
    log.close()
    [path] = files(tmp_path)
    path.write_bytes(head + path.read_bytes()[8:])
    again = StateLog(tmp_path, "a")
    restored = again.restore(anything)
    assert restored.state is None
    assert restored.damaged == f"{path}: the head is damaged"
    again.append(state_of(2, 3))
    assert_same(newest(tmp_path), state_of(2, 3))
