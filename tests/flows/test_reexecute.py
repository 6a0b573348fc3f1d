"""From any state that is kept the same code says the same, byte for byte; what cannot be worked out again says why."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import checkpoints as checkpoints_module
from flows.checkpoints import Checkpoints
from flows.reexecute import Target, reexecute
from tests.flows.kept_flow import COUNT, PARTITION, STRICTER, Flow, Log
from tests.flows.mixed_input import FLEET

CUTS = st.lists(st.integers(1, COUNT - 1), min_size=1, max_size=12, unique=True).map(sorted)


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    return Flow(tmp_path)


@settings(max_examples=3, deadline=None)
@given(cuts=CUTS)
def test_from_any_checkpoint_the_same_bytes_come_out(cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow(Path(folder))
        flow.run(None, [*cuts, COUNT])
        outcomes, records = flow.again()
        assert len(outcomes) > 20
        assert {o.verdict for o in outcomes} == {"identical"}
        assert {o.target.said[0] for o in outcomes} == {"alerts", "command-requests"}
        assert records <= COUNT
        for target in flow.told[::12]:  # one by one each starts at its own checkpoint
            [alone], few = reexecute(Log(), flow.starts(), [target])
            assert alone.made == target.value
            assert few <= target.offset + 1 - max((c for c in [0, *cuts] if c <= target.offset), default=0)


def test_what_a_flow_says_after_a_kill_is_worked_out_from_the_checkpoints_of_both_lives(flow: Flow) -> None:
    flow.run(None, [300, 800])
    flow.run(700, [900, COUNT])  # 300 is the newest state that is not ahead of what was committed
    assert {o.verdict for o in flow.again()[0]} == {"identical"}


def test_decisions_are_worked_out_with_the_definition_of_then(flow: Flow) -> None:
    flow.run(None, [300, 600], FLEET)
    flow.run(600, [800, 1100], STRICTER)
    flow.run(1100, [COUNT], FLEET)
    assert len({t.definition for t in flow.told}) == 2
    outcomes, records = flow.again(now=STRICTER)
    assert {o.verdict for o in outcomes} == {"identical"}
    assert records <= COUNT


def test_input_that_is_gone_is_said_to_have_expired(flow: Flow) -> None:
    flow.run(None, [1000, COUNT])
    outcomes, _ = flow.again(first=500)
    by_offset = {o.target.offset < 1000: o.verdict for o in outcomes}
    assert by_offset == {True: "expired", False: "identical"}
    assert all("have expired: the topic starts at 500" in o.why for o in outcomes if o.verdict == "expired")


def test_a_state_that_was_given_up_is_said_to_be_missing_where_the_input_is_not_whole(flow: Flow) -> None:
    flow.run(None, [1000, COUNT])
    flow.state.forget()
    assert {o.verdict for o in flow.again()[0]} == {"identical"}  # from the very first record
    outcomes, _ = flow.again(first=1)
    assert {o.verdict for o in outcomes} == {"no_state"}


def test_a_decision_that_was_changed_is_found_out(flow: Flow) -> None:
    flow.run(None, [COUNT])
    first = flow.told[0]
    forged = first.value.replace(b"is above its limit", b"is below its limit")
    flow.told = [Target.of("alerts", PARTITION, forged), *flow.told[1:]]
    outcomes, _ = flow.again()
    assert [o.target.value for o in outcomes if o.verdict == "different"] == [forged]


@given(st.lists(st.integers(1, 200), min_size=3, max_size=60), st.integers(3, 8))
@settings(max_examples=25, deadline=None)
def test_checkpoints_stay_few_and_lie_closer_the_younger_they_are(steps: list[int], most: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints_module, "MOST", most)
        kept = Checkpoints(Path(folder), "03gb", every=1)
        offsets = np.cumsum(steps).tolist()
        for offset in offsets:
            assert kept.note({"at": np.array([offset])}, offset, "ab" * 32)
        left = [c.offset for c in kept.listed()]
        assert len(left) == min(most, len(offsets))
        assert (left[0], left[-1]) == (offsets[0], offsets[-1])
        assert [kept.read(c) for c in kept.listed()] == [{"at": np.array([o])} for o in left]


def test_a_checkpoint_is_not_due_before_its_bytes_are_little_beside_the_input(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "03gb", every=10)
    kept.keep({"x": np.zeros(16_000)}, 0, "ab" * 32)
    assert [kept.due(offset) for offset in (10, 1999, 2100)] == [False, False, True]
    assert Checkpoints(tmp_path, "03gb", every=10).due(2100)


def test_a_damaged_checkpoint_is_passed_over(flow: Flow) -> None:
    flow.run(None, [1000, COUNT])
    [damaged] = flow.state.checkpoints.glob("*@1000@*.log")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    outcomes, records = flow.again()
    assert {o.verdict for o in outcomes} == {"identical"}
    assert records > 1000
