"""The live view decides by a clock that is handed in: what is old, who is silent, which alarm is worst."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.live_arena import SLOT_NS, Arena
from connectors.live_series import reduced
from connectors.live_view import LiveView, Status
from dashboards.api.alarms import listed
from dashboards.api.twins import overview, rows, with_ages
from dashboards.api.words import cause
from flows.documents import document
from flows.encode import to_bytes
from operators.types import Quality
from tests.api.serving import EVENTS, FLEET, SECOND, alert, arrived, live

T0 = 1_800_000_000 * SECOND


class Clock:
    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> int:
        return self.now


def new_view() -> tuple[LiveView, Clock]:
    clock = Clock()
    return LiveView(FLEET, clock=clock, arena=Arena(points=4096)), clock


def status_of(view: LiveView, name: str) -> Status:
    status = view.status(name)
    assert status is not None
    return status


def test_a_twin_is_offline_after_five_seconds_of_silence_or_three_periods_of_its_fastest_signal() -> None:
    view, clock = new_view()
    view.take([arrived(r) for r in live("pump-1", [("flow", T0, 30.0), ("temp", T0, 70.0)])])
    clock.now = T0 + 5 * SECOND
    assert status_of(view, "pump-1").state == "ok"
    clock.now += 1
    silent = status_of(view, "pump-1")
    assert (silent.state, silent.since_ns) == ("offline", T0 + 5 * SECOND)
    clock.now = T0 + 12 * SECOND
    assert cause(silent, clock.now).startswith("Last sample 12 s ago.")
    view.take([arrived(r) for r in live("pump-1", [("temp", clock.now, 70.0)])])
    back = status_of(view, "pump-1")
    assert (back.state, back.since_ns) == ("ok", clock.now)


def test_a_type_without_rates_is_offline_after_its_idle_timeout() -> None:
    view, clock = new_view()
    view.take([arrived(r) for r in live("button-1", [("pressed", T0, 1.0)], twin=EVENTS)])
    clock.now = T0 + 60 * SECOND
    assert status_of(view, "button-1").state == "ok"
    clock.now += 1
    assert status_of(view, "button-1").state == "offline"


def test_age_is_that_of_arrival_so_a_replay_of_old_times_is_live() -> None:
    view, clock = new_view()
    view.take([arrived(r) for r in live("pump-1", [("flow", 5 * SECOND, 30.0)], arrival=T0 - SECOND // 5)])
    [row] = with_ages(rows(view), clock())
    assert (row.state, row.age_ms) == ("ok", 200)


def test_the_state_is_the_worst_open_alarm_and_the_list_is_worst_first() -> None:
    view, _ = new_view()
    for name in ("pump-1", "pump-2", "pump-3", "pump-4"):
        view.take([arrived(r) for r in live(name, [("flow", T0, 30.0)], arrival=T0 - (name == "pump-4") * 9 * SECOND)])
    view.take([arrived(alert("w", "pump-2", "raised", T0 - 5, severity="warn", cause="Flow is low"))])
    view.take([arrived(alert("w2", "pump-3", "raised", T0 - 9, severity="warn"))])
    view.take([arrived(alert("a", "pump-3", "raised", T0 - 7))])
    found = rows(view)
    assert [(r.id, r.state) for r in found] == [
        ("pump-3", "alarm"), ("pump-2", "warn"), ("pump-4", "offline"), ("pump-1", "ok"),
    ]  # fmt: skip
    assert (found[0].since_ns, found[0].unacked, found[1].cause) == (T0 - 7, 2, "Flow is low")
    view.take([arrived(alert("a", "pump-3", "returned", T0))])
    assert status_of(view, "pump-3").state == "warn"


def test_alerts_that_are_told_twice_or_out_of_order_fold_into_one_alarm() -> None:
    view, _ = new_view()
    events = [alert("a", "pump-1", "raised", T0 - 9), alert("a", "pump-1", "returned", T0 - 3, cause="cool again")]
    view.take([arrived(r) for r in [*events, *events]])
    view.take([arrived(alert("b", "pump-1", "raised", T0 - 2))])
    [opened, closed] = listed(view)
    assert (opened.id, opened.count, opened.state) == ("b", 2, "open")
    assert (closed.raised_ns, closed.returned_ns, closed.returned) == (T0 - 9, T0 - 3, "cool again")
    detected = alert("d", "pump-1", "raised", T0, source="detector", score=9.5, ranked=[["temp", 0.8]])
    view.take([arrived(detected)])
    assert [(a.id, a.priority) for a in listed(view, state="open")] == [("b", "P1"), ("d", "P2")]


def test_a_stand_in_for_no_reading_is_a_sign_of_life_and_no_value() -> None:
    view, _ = new_view()
    view.take([arrived(r) for r in live("pump-1", [("temp", T0 - 5, 70.0)])])
    view.take([arrived(r) for r in live("pump-1", [("temp", T0, -9999.0)], quality=int(Quality.SENTINEL))])
    [row] = rows(view)
    assert row.value is not None
    assert (row.value.value, row.heard_ns) == (70.0, T0)


def test_a_value_older_than_the_newest_does_not_replace_it() -> None:
    view, _ = new_view()
    view.take([arrived(r) for r in live("pump-1", [("temp", T0, 1.0), ("temp", T0 - 5, 2.0), ("temp", T0 - 9, 3.0)])])
    view.take([arrived(r) for r in live("pump-1", [("temp", T0 - 1, 4.0)])])
    [row] = rows(view)
    assert row.value is not None
    assert row.value.value == 1.0


def test_what_cannot_be_read_is_counted_and_costs_only_itself() -> None:
    view, _ = new_view()
    junk = document("alerts", "pump-1", {"id": 7}, partition=0)
    block = live("pump-1", [("flow", T0, 1.0)])[0]
    lacking = to_bytes(pa.table({"device": ["pump-1"]}))
    view.take([
        arrived(junk), arrived(block)._replace(value=b"no arrow"), arrived(block)._replace(value=lacking),
        arrived(block)._replace(value=None), arrived(block),
    ])  # fmt: skip
    assert (view.unreadable, len(rows(view))) == ({"alerts": 1, "twin-live": 3}, 1)


def test_a_type_that_the_fleet_does_not_know_has_the_signals_of_its_block() -> None:
    view, _ = new_view()
    headers = {"twin-type": "thing", "shard": "00bg"}
    for name, signals in (("thing-1", ["mode"]), ("thing-2", ["mode", "flow"]), ("thing-1", ["temp", "flow"])):
        [block] = live(name, [(s, T0, float(len(s) + i)) for i, s in enumerate(signals)])
        view.take([arrived(block)._replace(headers=headers)])
    latest = [view.latest(name) for name in ("thing-1", "thing-2")]
    assert [sorted(x.value.tolist()) for x in latest if x is not None] == [[4.0, 4.0, 5.0], [4.0, 5.0]]
    assert view.values.unknown_signals == 0


def test_a_stored_state_shows_a_twin_that_is_silent_since_long() -> None:
    view, _ = new_view()
    reported = {
        "flow": {"value": 3.0, "unit": "l/min", "ts_ns": T0 - 99 * SECOND, "arrival_ns": T0 - 98 * SECOND, "quality": 0}
    }
    state = {"device": "pump-9", "twin_type": "pump", "revision": 4, "reported": reported, "report": {"site": "Dock 3"}}
    view.take([arrived(document("twin-states", "pump-9", state, partition=0))])
    [row] = rows(view)
    assert row.value is not None
    assert (row.state, row.value.value, row.site, row.heard_ns) == ("offline", 3.0, "Dock 3", T0 - 98 * SECOND)


def test_the_overview_changes_only_when_something_did() -> None:
    view, clock = new_view()
    view.take([arrived(r) for r in live("pump-1", [("temp", T0, 70.0)])])
    key, data = overview(view, b"")
    assert data is not None
    clock.now += 1_000_000
    assert overview(view, key) == (key, None)
    view.take([arrived(r) for r in live("pump-1", [("temp", clock.now, 70.0)])])
    assert overview(view, key)[1] is not None


def test_points_beyond_what_memory_holds_are_left_to_the_history() -> None:
    view, _ = new_view()
    view.covered_from_ns = T0 - 60 * SECOND
    view.take([arrived(r) for r in live("pump-1", [("flow", T0 - i * SECOND, float(i)) for i in range(9)])])

    def asked(back_secs: int) -> bool:
        return view.series("pump-1", ["flow"], from_ns=T0 - back_secs * SECOND, to_ns=T0, points=9) is not None

    assert (asked(8), asked(60), asked(61)) == (True, True, False)


CUTS = st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 400)), min_size=1, max_size=40), max_size=12)


@settings(max_examples=60, deadline=None)
@given(CUTS)
def test_the_arena_holds_the_newest_points_of_every_series_however_many_there_are(
    cuts: list[list[tuple[int, int]]],
) -> None:
    arena = Arena(points=256, least=16)
    kept: dict[int, list[tuple[int, int]]] = {}
    slots: dict[int, int] = {}
    for number, cut in enumerate(cuts):
        arena.hold(max(s for s, _ in cut) + 1)
        depth = arena._depth
        series, ts = np.array([s for s, _ in cut]), np.array([t * SLOT_NS // 4 for _, t in cut])
        arena.add(series, ts, np.full(len(cut), float(number)))
        for s, t in sorted(set(zip(series.tolist(), ts.tolist(), strict=True))):
            if slots.get(s) != t // SLOT_NS:
                kept.setdefault(s, []).append((t, number))
            slots[s] = t // SLOT_NS
        kept = {s: points[-depth:] for s, points in kept.items()}
    for s, points in kept.items():
        t, v = arena.read(s)
        expect = dict(points)
        assert (t.tolist(), v.tolist()) == (sorted(expect), [float(expect[x]) for x in sorted(expect)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=60), st.integers(1, 20))
def test_buckets_keep_every_peak_and_the_count_of_pixels(times: list[int], points: int) -> None:
    t = np.array(sorted(set(times)), np.int64)
    v = (t % 7).astype(float)
    out = reduced(t, v, from_ns=0, to_ns=1000, points=points)
    if t.size <= 2 * points:
        assert (out.t, out.v, out.lo) == (t.tolist(), v.tolist(), None)
    else:
        assert out.lo is not None
        assert out.hi is not None
        assert len(out.t) <= points
        assert (min(out.lo), max(out.hi)) == (v.min(), v.max())
        assert all(lo <= mean <= hi for lo, mean, hi in zip(out.lo, out.v, out.hi, strict=True))
