"""Anomalies fold into alarms: one raised, one returned, whatever the cuts; ids stay the same."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import SECOND, DetectorSpec, Signal, TwinType
from operators.detect import Detect
from operators.episodes import Episodes
from operators.rules import Alert
from operators.types import F64, I32, Batch, Scores, State

TWIN = TwinType("probe", 1, (Signal("a", unit="l/min"), Signal("b")))
SPECS = tuple(DetectorSpec(f"d{i}", "far", "samples", ("a", "b"), clear_after_ns=5 * SECOND) for i in range(2))
NAMES = ("p0", "p1")


class Far:
    """Scores a value by its distance from 0."""

    def score(self, device: I32, x: F64, /) -> Scores:
        return Scores(np.abs(x[:, 0]), np.ones(len(x), np.bool_), np.ones((len(x), 1)))

    def snapshot(self) -> State:
        return {}

    def restore(self, state: State) -> None:
        assert state == {}


ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 3), st.sampled_from([0.0, 0.0, 4.0, 9.0])), min_size=1, max_size=40
)


def run(rows: list[tuple[int, int, float]], cuts: list[int], *, resume: bool = False) -> list[Alert]:
    detect = Detect(TWIN, SPECS, lambda spec, features: Far())
    episodes = Episodes(detect)
    device = np.array([r[0] for r in rows], np.int32)
    ts = np.cumsum([r[1] for r in rows]).astype(np.int64) * SECOND
    value = np.array([r[2] for r in rows])
    events: list[Alert] = []
    bounds = sorted({0, len(rows), *(c % len(rows) for c in cuts)})
    for start, stop in itertools.pairwise(bounds):
        part = slice(start, stop)
        batch = Batch.of(series=device[part] * 2, ts=ts[part], value=value[part], offset=np.arange(start, stop))
        found = detect.on_samples(batch)
        events += episodes.push(device[part], ts[part], batch.offset, found, NAMES)
        if resume:
            state = episodes.snapshot()
            episodes = Episodes(detect)
            episodes.restore(state)
    return events


def by_source(events: list[Alert]) -> dict[tuple[str, str], list[Alert]]:
    lanes: dict[tuple[str, str], list[Alert]] = {}
    for event in events:
        lanes.setdefault((event.device, event.rule), []).append(event)
    return lanes


def naive(rows: list[tuple[int, int, float]], device: int) -> list[tuple[str, int]]:
    """(state, ts) of one detector and device, by a plain loop."""
    events: list[tuple[str, int]] = []
    now, last, active = 0, 0, False
    for who, step, value in rows:
        now += step * SECOND
        if who != device:
            continue
        if value > 3.0:
            if not active:
                events.append(("raised", now))
            active, last = True, max(now, last) if active else now
        elif active and now - last > 5 * SECOND:
            events.append(("returned", last + 5 * SECOND))
            active = False
    return events


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 100), max_size=6))
def test_cuts_and_restarts_change_nothing_and_a_plain_loop_agrees(
    rows: list[tuple[int, int, float]], cuts: list[int]
) -> None:
    whole = by_source(run(rows, []))
    assert by_source(run(rows, cuts)) == whole
    assert by_source(run(rows, cuts, resume=True)) == whole
    for device, name in enumerate(NAMES):
        expect = naive(rows, device)
        for spec in SPECS:
            assert [(e.state, e.ts_ns) for e in whole.get((name, spec.id), [])] == expect


def test_an_alarm_that_lasts_is_told_once_and_its_return_carries_the_same_id() -> None:
    rows = [(0, 1, 9.0)] * 10 + [(0, 6, 0.0)]
    raised, returned = by_source(run(rows, []))[("p0", "d0")]
    assert (raised.state, returned.state) == ("raised", "returned")
    assert raised.id == returned.id
    assert raised.severity == "alarm"
    assert raised.ranked == (("a", 1.0),)
    assert "A 9 l/min" in raised.message or "a 9 l/min" in raised.message


def test_two_detectors_and_two_devices_have_alarms_of_their_own() -> None:
    events = [e for e in run([(0, 0, 9.0), (1, 0, 4.0)], []) if e.state == "raised"]
    assert len({e.id for e in events}) == 4
    assert {e.severity for e in events if e.device == "p1"} == {"warn"}
