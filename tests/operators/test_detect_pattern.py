"""Patterns of two conditions: a plain loop as oracle, order of arrival, ticks, words, the three laws."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import SECOND, PatternSpec, RuleSpec, Signal, TwinType
from operators.detect_pattern import DetectPattern
from operators.errors import StateError
from operators.rules import Alert
from operators.types import TICK, Batch

SIGNALS = (Signal("a", "A"), Signal("b", "l/min"))
ON = RuleSpec("", "a", "above", limit=4.0)
DRY = RuleSpec("", "b", "below", limit=15.0)
AFTER = PatternSpec("after", "followed_by", ON, DRY, within_ns=50)
LACKS = PatternSpec("lacks", "not_followed_by", ON, DRY, within_ns=50, severity="alarm", command="stop")
Row = tuple[int, int, float]
Change = tuple[str, str, int]


def core(*specs: PatternSpec) -> DetectPattern:
    return DetectPattern(TwinType("pump", 1, SIGNALS, patterns=specs or (AFTER, LACKS)))


def found(patterns: DetectPattern, rows: list[Row]) -> list[Alert]:
    """Rows (series, ts, value) that arrive at the newest ts so far."""
    series, ts, value = zip(*rows, strict=True)
    arrival = np.maximum.accumulate(ts)
    batch = Batch.of(series=series, ts=ts, value=value, arrival=arrival)
    return patterns.alerts(patterns.push(batch), ["P-0", "P-1", "P-2"])


def changes(alerts: list[Alert]) -> list[Change]:
    return [(a.rule, a.state, a.ts_ns) for a in alerts]


def test_the_second_within_the_time_after_the_first_raises_and_its_return_returns() -> None:
    told = found(core(AFTER), [(0, 10, 5.0), (1, 60, 14.0), (1, 70, 16.0)])
    assert changes(told) == [("after", "raised", 60), ("after", "returned", 70)]
    assert told[0].id == told[1].id


@pytest.mark.parametrize("rows", [[(0, 10, 5.0), (1, 61, 14.0)], [(1, 9, 14.0), (0, 10, 5.0)]])
def test_a_second_too_late_or_before_the_first_raises_nothing(rows: list[Row]) -> None:
    assert found(core(AFTER), rows) == []


def test_a_first_that_arrives_after_its_second_counts_by_its_time() -> None:
    assert changes(found(core(AFTER), [(1, 30, 14.0), (0, 20, 5.0)])) == [("after", "raised", 30)]


def test_an_absence_is_told_by_any_row_and_by_a_tick_and_returns_when_it_comes_at_last() -> None:
    rows = [(0, 10, 5.0), (0, 59, 5.0), (TICK, 60, 0.0), (0, 70, 5.0), (1, 80, 3.0)]
    told = found(core(LACKS), rows)
    assert changes(told) == [("lacks", "raised", 60), ("lacks", "returned", 80)]
    assert [a.command for a in told] == ["stop", ""]


@pytest.mark.parametrize(
    "rows", [[(1, 5, 3.0), (0, 10, 5.0), (0, 99, 5.0)], [(0, 10, 5.0), (1, 60, 3.0), (0, 99, 5.0)]]
)
def test_what_holds_already_or_comes_in_time_is_not_absent(rows: list[Row]) -> None:
    assert found(core(LACKS), rows) == []


def test_what_arrives_before_anybody_could_tell_but_is_too_late_by_its_own_time_is_an_absence_that_ends_at_once() -> (
    None
):
    batch = Batch.of(series=[0, 1], ts=[10, 70], value=[5.0, 3.0], arrival=[10, 20])
    patterns = core(LACKS)
    assert changes(patterns.alerts(patterns.push(batch), ["P-0"])) == [
        ("lacks", "raised", 60),
        ("lacks", "returned", 70),
    ]


def test_the_sentence_names_both_conditions_and_the_time() -> None:
    spec = PatternSpec("x", "not_followed_by", ON, DRY, within_ns=5 * SECOND, message="Valve")
    told = found(core(spec), [(0, 0, 5.0), (0, 5 * SECOND, 5.0), (1, 6 * SECOND, 2.0)])
    assert [a.message for a in told] == [
        "Valve: b is not below 15 l/min within 5 s after a was above 4 A",
        "Valve: b 2 l/min is below 15 l/min at last",
    ]


def test_an_alert_rests_on_the_records_of_both_conditions() -> None:
    patterns = core(AFTER)
    out = patterns.push(Batch.of(series=[0, 0, 1], ts=[1, 2, 3], value=[5.0, 5.0, 3.0], offset=[7, 8, 9]))
    assert (out.from_offset.tolist(), out.offset.tolist()) == ([7], [9])


def oracle(rows: list[Row]) -> list[Change]:
    """Both patterns for one device, word by word."""
    out: list[Change] = []
    level, newest = {0: False, 1: False}, {0: -1, 1: -1}
    first = second = None
    after = lacks = waits = False
    since, now = 0, -1
    for series, ts, value in rows:
        now = max(now, ts)
        counts = series >= 0 and ts >= newest[series]
        if waits and now - since >= 50 and first is not None:
            comes = counts and series == 1 and value < 15.0 and not level[1]
            if not comes or ts > first + 50:
                out.append(("lacks", "raised", first + 50))
                lacks, waits = True, False
        if not counts:
            continue
        newest[series] = ts
        true = value > 4.0 if series == 0 else value < 15.0
        # without hysteresis a limit returns at or within it, which is whenever it is not broken
        rose, fell = true and not level[series], level[series] and not true
        level[series] = true
        if fell and series == 1 and after:
            after = False
            out.append(("after", "returned", ts))
        if not rose:
            continue
        if series == 0:
            first, since = ts, now
        else:
            second = ts
        in_time = first is not None and second is not None and first <= second <= first + 50
        if in_time and not after and second is not None:
            after = True
            out.append(("after", "raised", second))
        if series == 0:
            waits = not (level[1] or in_time or lacks)
        else:
            if waits and first is not None and ts > first + 50:
                out.append(("lacks", "raised", first + 50))
                lacks = True
            waits = False
            if lacks:
                lacks = False
                out.append(("lacks", "returned", ts))
    return out


ROW = st.one_of(
    st.tuples(st.just(0), st.integers(-30, 20), st.sampled_from([1.0, 5.0])),
    st.tuples(st.just(1), st.integers(-30, 20), st.sampled_from([3.0, 20.0])),
    st.tuples(st.just(TICK), st.just(0), st.just(0.0)),
)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(ROW, min_size=1, max_size=40))
def test_patterns_are_those_of_a_plain_loop(steps: list[Row]) -> None:
    rows = [(series, 100 + 12 * i + back, value) for i, (series, back, value) in enumerate(steps)]
    told = changes(found(core(), rows))
    wanted = oracle(rows)
    for rule in ("after", "lacks"):
        assert [c for c in told if c[0] == rule] == [c for c in wanted if c[0] == rule]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 150), max_size=5))
def test_cutting_replaying_and_resuming_change_nothing(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    batch = Batch.of(
        series=rng.integers(-1, 6, 150),
        ts=np.arange(150) * 5 + rng.integers(-20, 20, 150),
        arrival=np.arange(150) * 5,
        value=rng.choice([1.0, 5.0, 3.0, 20.0], 150),
    )

    def run(edges: list[int], *, resume: bool) -> str:
        patterns, told = core(), list[Alert]()
        for a, b in pairwise(edges):
            told += patterns.alerts(patterns.push(batch.take(slice(a, b))), ["P-0", "P-1", "P-2"])
            if resume:
                state, patterns = patterns.snapshot(), core()
                patterns.restore(state)
        return repr(told)

    whole = run([0, 150], resume=False)
    assert run([0, 150], resume=False) == whole
    assert run([0, *sorted(cuts), 150], resume=False) == whole
    assert run([0, *sorted(cuts), 150], resume=True) == whole


def test_a_pattern_that_is_new_starts_anew_and_a_foreign_snapshot_is_refused() -> None:
    old = core(LACKS)
    found(old, [(0, 10, 5.0)])
    new = core(AFTER, LACKS)
    new.restore(old.snapshot())
    assert changes(found(new, [(0, 60, 5.0)])) == [("lacks", "raised", 60)]
    with pytest.raises(StateError, match="detect_pattern"):
        new.restore({"first": np.zeros(1)})
