"""rules: limits, hysteresis, debounce, silence, words and ids; a plain loop as oracle; the three laws."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import RuleSpec, Signal, TwinType
from operators.errors import StateError
from operators.rules import Alert, Rules, alert_id
from operators.types import TICK, Batch, Quality

HOT = RuleSpec("hot", "temp", "above", limit=90.0, hysteresis=5.0, severity="alarm", command="stop")
LOW = RuleSpec("low", "level", "below", limit=1.0, hysteresis=0.5, debounce_ns=20)
GONE = RuleSpec("gone", "level", "absent", after_ns=100)
SIGNALS = (Signal("temp", "degC"), Signal("level", "m"))
NAMES = [f"P-{i}" for i in range(9)]


def rules(*specs: RuleSpec) -> Rules:
    return Rules(TwinType("tank", 1, SIGNALS, rules=specs or (HOT, LOW, GONE)))


def alerts(core: Rules, rows: list[tuple[int, int, float]], **columns: Any) -> list[Alert]:
    """Rows (series, ts, value), arriving at their ts."""
    series, ts, value = zip(*rows, strict=True)
    return core.alerts(core.push(Batch.of(series=series, ts=ts, value=value, **columns)), NAMES)


def changes(found: list[Alert]) -> list[tuple[str, str, int]]:
    return [(a.rule, a.state, a.ts_ns) for a in found]


def test_a_limit_is_raised_beyond_it_and_returns_past_the_hysteresis() -> None:
    found = alerts(rules(HOT), [(0, 1, 90.0), (0, 2, 90.1), (0, 3, 95.0), (0, 4, 86.0), (0, 5, 85.0), (0, 6, 91.0)])
    assert changes(found) == [("hot", "raised", 2), ("hot", "returned", 5), ("hot", "raised", 6)]


def test_a_breach_must_hold_for_the_debounce_without_a_break() -> None:
    broken = [(1, 0, 0.5), (1, 10, 0.5), (1, 15, 1.0), (1, 25, 0.5), (1, 44, 0.5)]
    assert alerts(rules(LOW), broken) == []
    assert changes(alerts(rules(LOW), [*broken, (1, 45, 0.5)])) == [("low", "raised", 45)]


def test_a_sample_older_than_the_newest_changes_nothing() -> None:
    assert alerts(rules(HOT), [(0, 10, 20.0), (0, 5, 99.0)]) == []


@pytest.mark.parametrize("flag", [Quality.SENTINEL, Quality.DENORMAL, Quality.LATE])
def test_a_sample_that_is_no_reading_changes_nothing(flag: Quality) -> None:
    assert alerts(rules(HOT), [(0, 1, 9999.0)], quality=int(flag)) == []


def test_not_a_number_changes_nothing() -> None:
    found = alerts(rules(HOT), [(0, 1, 99.0), (0, 2, float("nan")), (0, 3, 80.0)])
    assert changes(found) == [("hot", "raised", 1), ("hot", "returned", 3)]


def test_silence_is_raised_by_other_rows_of_the_device_and_returned_by_the_next_sample() -> None:
    found = alerts(rules(GONE), [(1, 0, 2.0), (0, 99, 20.0), (0, 100, 20.0), (0, 150, 20.0), (1, 160, 2.0)])
    assert changes(found) == [("gone", "raised", 100), ("gone", "returned", 160)]
    assert [a.message for a in found] == ["No sample of level for 1e-07 s", "Level reports again: 2 m"]


def test_silence_is_raised_by_a_tick_for_every_device_that_was_seen() -> None:
    rows = [(1, 0, 2.0), (0, 50, 20.0), (3, 50, 2.0), (TICK, 120, 0.0), (TICK, 200, 0.0)]
    found = alerts(rules(GONE), rows)
    assert [(a.device, a.ts_ns) for a in found] == [("P-0", 100), ("P-1", 150)]


def test_a_signal_that_never_came_is_missed_from_the_first_row_of_its_device_on() -> None:
    assert changes(alerts(rules(GONE), [(0, 7, 20.0), (0, 106, 20.0), (0, 107, 20.0)])) == [("gone", "raised", 107)]


def test_the_return_carries_the_id_of_its_alert_and_the_next_alert_another() -> None:
    found = alerts(rules(HOT), [(0, 1, 95.0), (0, 2, 80.0), (0, 3, 95.0)])
    assert found[0].id == found[1].id != found[2].id
    assert re.fullmatch("[0-9a-f]{32}", found[0].id)
    assert found[0].id == alert_id("hot", "P-0", 1, 0)


def test_a_command_is_requested_only_when_the_alert_is_raised() -> None:
    found = alerts(rules(HOT), [(0, 1, 95.0), (0, 2, 80.0)])
    assert [a.command for a in found] == ["stop", ""]
    assert [a.severity for a in found] == ["alarm", "alarm"]


def test_the_sentence_has_value_unit_and_limit_after_the_rule_s_own_words() -> None:
    loud = dataclasses.replace(HOT, message="Bearing hot")
    found = alerts(rules(loud, dataclasses.replace(LOW, debounce_ns=0)), [(0, 1, 95.25), (1, 1, 0.5), (1, 2, 1.5)])
    assert [a.message for a in found] == [
        "Bearing hot: temp 95.25 degC is above its limit of 90 degC",
        "Level 0.5 m is below its limit of 1 m",
        "Level 1.5 m is back at 1.5 m",
    ]


def test_more_events_than_there_is_room_for_at_once_are_all_found() -> None:
    n = 5000
    value = np.where(np.arange(n) % 2 == 0, 95.0, 80.0)
    out = rules(HOT).push(Batch.of(series=np.zeros(n), ts=np.arange(n), value=value))
    assert out.row.tolist() == list(range(n))


def test_a_type_without_rules_and_an_empty_batch_give_nothing() -> None:
    assert len(Rules(TwinType("tank", 1, SIGNALS)).push(Batch.of(series=[0], ts=[1], value=[1.0]))) == 0
    assert len(rules().push(Batch.of(series=[], ts=[], value=[]))) == 0


def test_a_rule_that_is_new_in_the_definition_starts_anew_and_the_others_go_on() -> None:
    old = rules(HOT)
    alerts(old, [(0, 1, 95.0)])
    new = rules(LOW, HOT)
    new.restore(old.snapshot())
    assert changes(alerts(new, [(0, 2, 80.0)])) == [("hot", "returned", 2)]


def test_a_snapshot_of_something_else_is_refused() -> None:
    with pytest.raises(StateError, match="rules"):
        rules().restore({"rules": np.zeros(1, np.uint8)})


def plain_limits(rows: list[tuple[int, int, float]]) -> list[tuple[str, str, int]]:
    """HOT and LOW of one device, word by word."""
    found, raised, run, newest = [], {0: False, 1: False}, dict[int, int](), {0: -1, 1: -1}
    for series, ts, value in rows:
        if ts < newest[series]:
            continue
        newest[series] = ts
        broken, back = (value > 90.0, value <= 85.0) if series == 0 else (value < 1.0, value >= 1.5)
        name, hold = (HOT.id, 0) if series == 0 else (LOW.id, 20)
        if raised[series]:
            if back:
                raised[series] = False
                run.pop(series, None)
                found.append((name, "returned", ts))
        elif not broken:
            run.pop(series, None)
        elif ts - run.setdefault(series, ts) >= hold:
            raised[series] = True
            found.append((name, "raised", ts))
    return found


ROW = st.one_of(
    st.tuples(st.just(0), st.integers(0, 200), st.sampled_from([80.0, 85.0, 88.0, 90.0, 95.0])),
    st.tuples(st.just(1), st.integers(0, 200), st.sampled_from([0.5, 1.0, 1.2, 1.5, 2.0])),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=40))
def test_limits_are_those_of_a_plain_loop(rows: list[tuple[int, int, float]]) -> None:
    assert changes(alerts(rules(HOT, LOW), rows)) == plain_limits(rows)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 150), max_size=5))
def test_cutting_replaying_and_resuming_change_nothing(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    batch = Batch.of(
        series=rng.integers(-1, 6, 150),
        ts=np.arange(150) * 5 + rng.integers(-20, 20, 150),
        arrival=np.arange(150) * 5,
        value=rng.choice([0.5, 1.2, 80.0, 88.0, 95.0, np.nan], 150),
        quality=rng.choice([0, 0, 0, int(Quality.SENTINEL)], 150),
    )

    def run(edges: list[int], *, resume: bool) -> str:
        core, found = rules(), list[Alert]()
        for a, b in pairwise(edges):
            found.extend(core.alerts(core.push(batch.take(slice(a, b))), NAMES))
            if resume:
                state, core = core.snapshot(), rules()
                core.restore(state)
        return repr(found)

    whole = run([0, 150], resume=False)
    assert run([0, 150], resume=False) == whole
    assert run([0, *sorted(cuts), 150], resume=False) == whole
    assert run([0, *sorted(cuts), 150], resume=True) == whole
