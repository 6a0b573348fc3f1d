from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import Signal, TwinType
from operators.errors import StateError
from operators.merge_patch import Json, merge
from operators.twin_state import StateOutput, TwinState
from operators.types import NO_SEQ, TICK, Batch, Quality, State

LAWS = settings(max_examples=60, deadline=None)
TYPE = TwinType("agv", 1, (Signal("x", "m"), Signal("v", "m/s"), Signal("y", "m")), velocity=("y", "x"), lookback_ns=20)
SIGNALS = 3


@st.composite
def streams(draw: st.DrawFn) -> Batch:
    clock, columns = 1000, []
    for offset in range(draw(st.integers(1, 50))):
        clock += draw(st.sampled_from([0, 1, 3, 5, 60]))
        back = draw(st.sampled_from([0, 0, 0, 2, 10, 40]))
        row = draw(st.integers(-1, 2 * SIGNALS - 1)), clock - back, clock, draw(st.integers(-1, 2))
        columns.append((*row, draw(st.integers(-9, 9)), draw(st.sampled_from([0, 2])), offset))
    series, ts, arrival, seq, value, quality, offsets = zip(*columns, strict=True)
    return Batch.of(series=series, ts=ts, arrival=arrival, seq=seq, value=value, quality=quality, offset=offsets)


def cuts(batch: Batch, at: list[int]) -> list[Batch]:
    edges = [0, *sorted(x % (len(batch) + 1) for x in at), len(batch)]
    return [batch.take(slice(a, b)) for a, b in pairwise(edges)]


def image(state: State) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (str(x.dtype), x.shape, x.tobytes()) for name, x in state.items()}


def oracle(batch: Batch) -> dict[int, tuple[int, int, float, int]]:
    """Reported (ts, arrival, value, quality) per series: of equal times the larger seq, then the later row."""
    best: dict[int, tuple[tuple[int, int, int], tuple[int, int, float, int]]] = {}
    columns = batch.series, batch.ts, batch.arrival, batch.seq, batch.value, batch.quality
    for row, (series, ts, arrival, seq, value, quality) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        if series != TICK and (series not in best or (ts, seq, row) > best[series][0]):
            best[series] = (ts, seq, row), (ts, arrival, value, quality)
    return {series: found for series, (_, found) in best.items()}


def speed(batch: Batch, series: int) -> float | None:
    """Per second between the newest sample and the oldest within the lookback, of everything sorted by time."""
    rows = [i for i in range(len(batch)) if batch.series[i] == series]
    by_time = {int(batch.ts[i]): float(batch.value[i]) for i in sorted(rows, key=lambda i: (batch.seq[i], i))}
    recent = [t for t in sorted(by_time) if t >= max(by_time) - TYPE.lookback_ns]
    if len(recent) < 2:
        return None
    return (by_time[recent[-1]] - by_time[recent[0]]) / ((recent[-1] - recent[0]) * 1e-9)


@LAWS
@given(batch=streams())
def test_the_state_is_that_of_the_newest_samples_and_velocity_of_all_in_the_lookback(batch: Batch) -> None:
    state = TwinState(TYPE)
    state.push(batch)
    expected = oracle(batch)
    for device in range(2):
        twin = state.read(device)
        reported: dict[str, Json] = {}
        speeds: dict[str, Json] = {}
        for s, signal in enumerate(TYPE.signals):
            if found := expected.get(device * SIGNALS + s):
                ts, arrival, value, quality = found
                reported[signal.name] = {
                    "value": value, "unit": signal.unit, "ts_ns": ts, "arrival_ns": arrival, "quality": quality
                }  # fmt: skip
                x = speed(batch, device * SIGNALS + s)
                if signal.name in TYPE.velocity and x is not None:
                    speeds[signal.name] = {"value": x, "unit": "m/s"}
        assert twin["reported"] == reported
        assert twin["derived"] == {"velocity": speeds}


@LAWS
@given(batch=streams())
def test_a_sample_is_applied_when_nothing_before_it_is_newer(batch: Batch) -> None:
    best: dict[int, tuple[int, int]] = {}
    applied = []
    for series, ts, seq in zip(batch.series.tolist(), batch.ts.tolist(), batch.seq.tolist(), strict=True):
        applied.append(series != TICK and (series not in best or (ts, seq) >= best[series]))
        if applied[-1]:
            best[series] = ts, seq
    out = TwinState(TYPE).push(batch)
    assert out.applied.tolist() == applied


@LAWS
@given(batch=streams(), at=st.lists(st.integers(0, 50), max_size=5))
def test_cutting_the_stream_into_batches_changes_nothing(batch: Batch, at: list[int]) -> None:
    one, many = TwinState(TYPE), TwinState(TYPE)
    whole, parts = one.push(batch), [many.push(x) for x in cuts(batch, at)]
    assert image(one.snapshot()) == image(many.snapshot())
    assert whole.applied.tolist() == np.concatenate([p.applied for p in parts]).tolist()
    devices = [d for p in parts for d in p.device.tolist()]
    assert whole.device.tolist() == list(dict.fromkeys(devices))
    assert dict(zip(*pairs(whole), strict=True)) == {d: r for p in parts for d, r in zip(*pairs(p), strict=True)}


def pairs(out: StateOutput) -> tuple[list[int], list[int]]:
    return out.device.tolist(), out.revision.tolist()


@LAWS
@given(batch=streams())
def test_replays_are_identical_and_the_order_of_arrival_does_not_change_the_values(batch: Batch) -> None:
    first, second, shuffled = TwinState(TYPE), TwinState(TYPE), TwinState(TYPE)
    first.push(batch), second.push(batch)
    assert image(first.snapshot()) == image(second.snapshot())
    unique = batch.replace(seq=np.arange(len(batch)))
    order = np.random.default_rng(len(batch)).permutation(len(batch))
    first.restore(TwinState(TYPE).snapshot())
    first.push(unique), shuffled.push(unique.take(order))
    for device in range(2):
        assert first.read(device) | {"revision": 0} == shuffled.read(device) | {"revision": 0}


@LAWS
@given(batch=streams(), at=st.integers(0, 50))
def test_resuming_from_a_snapshot_equals_running_through(batch: Batch, at: int) -> None:
    first, second = cuts(batch, [at])
    through, stopped, resumed = TwinState(TYPE), TwinState(TYPE), TwinState(TYPE)
    for state in (through, stopped):
        state.push(first)
        state.desire(1, "v", 2.0, at_ns=5)
        state.report(0, {"task": {"id": 1}}, ts_ns=7)
    resumed.push(batch)
    snapshot = {name: column.copy() for name, column in stopped.snapshot().items()}
    stopped.push(second)
    resumed.restore(snapshot)
    assert pairs(resumed.push(second)) == pairs(through.push(second))
    assert image(resumed.snapshot()) == image(through.snapshot())
    assert [resumed.read(d) for d in range(2)] == [through.read(d) for d in range(2)]


@LAWS
@given(
    reports=st.lists(
        st.tuples(
            st.integers(0, 5),
            st.integers(-1, 1),
            st.dictionaries(
                st.sampled_from("ab"), st.none() | st.integers(0, 3) | st.just({"k": 1}) | st.just({"l": None, "m": 2})
            ),
        ),
        max_size=8,
    )
)
def test_each_key_of_a_report_follows_event_time(reports: list[tuple[int, int, dict[str, Json]]]) -> None:
    state = TwinState(TYPE)
    expected: Json = {}
    at: dict[str, tuple[int, int]] = {}
    for ts, seq, patch in reports:
        fresh = {k: x for k, x in patch.items() if (ts, seq) >= at.get(k, (0, NO_SEQ))}
        assert state.report(0, patch, ts, seq) == bool(fresh)
        at |= dict.fromkeys(fresh, (ts, seq))
        expected = merge(expected, dict(fresh))
    assert state.read(0)["report"] == expected


def test_desired_values_follow_their_own_time_and_delta_is_what_is_missing() -> None:
    state = TwinState(TYPE)
    assert state.desire(0, "v", 2.0, at_ns=10)
    assert not state.desire(0, "v", 9.0, at_ns=9)
    assert state.delta(0) == {"v": None}
    state.push(Batch.of(series=[1], ts=[5], value=[0.5]))
    assert state.delta(0) == {"v": 1.5}
    assert state.read(0)["desired"] == {"v": {"value": 2.0, "at_ns": 10}}
    state.push(Batch.of(series=[1], ts=[6], value=[2.0]))
    assert state.delta(0) == {}
    assert state.desire(0, "v", None, at_ns=11)
    assert state.read(0)["desired"] == {} and state.read(0)["revision"] == 4
    with pytest.raises(KeyError):
        state.desire(0, "w", 1.0, at_ns=12)


def test_a_late_sample_may_move_the_velocity_but_not_the_reported_value() -> None:
    state = TwinState(TYPE)
    state.push(Batch.of(series=[0, 0], ts=[100, 110], value=[1.0, 2.0]))
    out = state.push(Batch.of(series=[0, 0], ts=[95, 80], value=[2.0, 7.0]))
    assert out.applied.tolist() == [False, False] and out.device.tolist() == [0] and out.revision.tolist() == [3]
    assert state.read(0)["derived"] == {"velocity": {"x": {"value": 0.0, "unit": "m/s"}}}


def test_a_twin_reads_as_json_also_before_anything_is_known_of_it() -> None:
    state = TwinState(TYPE)
    empty: dict[str, Json] = {"reported": {}, "derived": {"velocity": {}}, "desired": {}, "delta": {}, "report": {}}
    assert state.read(7) == {"device": 7, "revision": 0, **empty}
    assert state.snapshot()["revision"].size == 0
    state.push(Batch.of(series=[22], ts=[3], value=[np.nan], quality=[Quality.STUCK]))
    assert json.loads(json.dumps(state.read(7), allow_nan=False)) == state.read(7)


def test_changed_devices_come_as_columns() -> None:
    state = TwinState(TYPE)
    out = state.push(Batch.of(series=[6, 1, 7, TICK], ts=[1, 2, 3, 0], value=[4.0, 5.0, 6.0, 0.0]))
    table = state.table(out.device)
    assert out.device.tolist() == [2, 0] and table.revision.tolist() == [2, 1]
    np.testing.assert_array_equal(table.value, [[4.0, 6.0, np.nan], [np.nan, 5.0, np.nan]])
    assert np.isnan(table.velocity).all() and table.velocity.shape == (2, 2)


def test_a_snapshot_of_another_type_or_with_damage_is_refused() -> None:
    state = TwinState(TYPE)
    state.push(Batch.of(series=[0], ts=[3], value=[1.0]))
    state.report(0, {"a": 1}, ts_ns=1)
    good = state.snapshot()
    with pytest.raises(StateError, match="latest is"):
        TwinState(TwinType("other", 1, TYPE.signals[:2])).restore(good)
    with pytest.raises(StateError, match="misses value"):
        state.restore({k: x for k, x in good.items() if k != "value"})
    with pytest.raises(StateError, match="documents"):
        state.restore(good | {"doc_json": good["doc_json"][:-1]})
    assert image(state.snapshot()) == image(good)
