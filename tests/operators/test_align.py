from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.align import Align, AlignOutput
from operators.definition import AlignSpec
from operators.errors import StateError
from operators.types import F64, NO_SEQ, TICK, Batch
from tests.operators.naive_align import Row, groups, row_by_row, whole

SIGNALS = 3
LAWS = settings(max_examples=60, deadline=None)


@st.composite
def specs(draw: st.DrawFn) -> AlignSpec:
    some = st.lists(st.booleans(), min_size=SIGNALS, max_size=SIGNALS)
    gaps = st.lists(st.sampled_from([0, 3, 10, 25, 200]), min_size=SIGNALS, max_size=SIGNALS)
    leader = draw(st.sampled_from([-1, -1, 0, 2]))
    return AlignSpec(
        every_ns=draw(st.sampled_from([1, 5, 10, 40])) if leader < 0 else 1,
        leader=leader,
        linear=tuple(draw(some)),
        max_gap_ns=tuple(draw(gaps)),
        required=tuple(draw(some)),
        max_skew_ns=draw(st.sampled_from([None, 0, 4])),
    )


@st.composite
def grouped(draw: st.DrawFn) -> AlignSpec:
    members = tuple(draw(st.sampled_from([(True, True, True), (True, False, True), (False, True, False)])))
    span, skew = draw(st.sampled_from([1, 5, 20])), draw(st.sampled_from([None, 3]))
    return AlignSpec(1, (False,) * 3, (0,) * 3, members, skew, group_ns=span)


@st.composite
def streams(draw: st.DrawFn) -> Batch:
    """Rows of three devices: forwards in time, with disorder, long silences, equal times, and ticks."""
    clock, columns = 1000, []
    for _ in range(draw(st.integers(1, 60))):
        clock += draw(st.sampled_from([0, 0, 1, 3, 5, 10, 10, 150]))
        series = draw(st.integers(-1, 3 * SIGNALS - 1))
        back = draw(st.sampled_from([0, 0, 0, 2, 10, 30, 100]))
        columns.append((series, clock - back, clock, draw(st.integers(-1, 2)), draw(st.integers(-50, 50))))
    series_, ts, arrival, seq, value = zip(*columns, strict=True)
    return Batch.of(series=series_, ts=ts, arrival=arrival, seq=seq, value=value)


WAITS = st.sampled_from([0, 5, 20, 100])
IDLES = st.sampled_from([1, 50])


def rows(out: AlignOutput) -> list[Row]:
    columns = out.device.tolist(), out.ts_ns.tolist(), map(tuple, out.value.tolist()), out.skew_ns.tolist()
    assert (np.isnan(out.value) == ~out.valid).all()
    return list(zip(*columns, out.degraded.tolist(), strict=True))


def same(left: list[Row], right: list[Row]) -> None:
    assert [(r[0], r[1], *r[3:]) for r in left] == [(r[0], r[1], *r[3:]) for r in right]
    np.testing.assert_allclose([r[2] for r in left], [r[2] for r in right], rtol=1e-9, atol=1e-9)


def joined(parts: list[AlignOutput]) -> dict[str, bytes]:
    return {
        name: np.concatenate([getattr(p, name) for p in parts]).tobytes() for name in AlignOutput.__dataclass_fields__
    }


def cuts(batch: Batch, at: list[int]) -> list[Batch]:
    edges = [0, *sorted(x % (len(batch) + 1) for x in at), len(batch)]
    return [batch.take(slice(a, b)) for a, b in pairwise(edges)]


def spec_of(method: str, every: int = 10, gap: int = 40, max_skew: int | None = None) -> AlignSpec:
    """One letter per signal: l(inear) or p(revious); capital letters are required."""
    return AlignSpec(
        every_ns=every,
        linear=tuple(c in "lL" for c in method),
        max_gap_ns=(gap,) * len(method),
        required=tuple(c.isupper() for c in method),
        max_skew_ns=max_skew,
    )


@LAWS
@given(batch=streams(), spec=specs(), wait=WAITS, idle=IDLES)
def test_every_release_late_sample_and_tick_is_as_spelt_out_row_by_row(
    batch: Batch, spec: AlignSpec, wait: int, idle: int
) -> None:
    out = Align(spec, wait, idle).push(batch)
    expected, taken = row_by_row(batch, spec, wait, idle)
    same(rows(out), [row for _, row in expected])
    assert out.offset.tolist() == [row for row, _ in expected]
    assert out.taken.tolist() == taken


@LAWS
@given(batch=streams(), spec=specs())
def test_with_disorder_within_the_wait_the_rows_are_those_of_the_whole_sorted_recording(
    batch: Batch, spec: AlignSpec
) -> None:
    samples = batch.take(batch.series != TICK)
    align = Align(spec, wait_ns=101, idle_timeout_ns=10**9)
    out = align.push(samples)
    assert out.taken.all()
    same(sorted(rows(out) + rows(align.finish()), key=lambda r: r[:2]), whole(samples, spec))


@LAWS
@given(batch=streams(), spec=grouped(), wait=WAITS, idle=IDLES)
def test_groups_and_those_that_lack_a_member_are_as_spelt_out_row_by_row(
    batch: Batch, spec: AlignSpec, wait: int, idle: int
) -> None:
    out = Align(spec, wait, idle).push(batch)
    expected, dropped = groups(batch, spec, wait, idle)
    same(rows(out), [row for _, row in expected])
    assert out.offset.tolist() == [row for row, _ in expected]
    assert out.incomplete.tolist() == dropped


@LAWS
@given(
    batch=streams(),
    spec=st.one_of(specs(), grouped()),
    wait=WAITS,
    idle=IDLES,
    at=st.lists(st.integers(0, 60), max_size=5),
)
def test_cutting_the_stream_into_batches_changes_nothing(
    batch: Batch, spec: AlignSpec, wait: int, idle: int, at: list[int]
) -> None:
    one, many = Align(spec, wait, idle), Align(spec, wait, idle)
    assert joined([one.push(batch), one.finish()]) == joined([*map(many.push, cuts(batch, at)), many.finish()])


@LAWS
@given(batch=streams(), spec=st.one_of(specs(), grouped()), wait=WAITS)
def test_the_same_input_replays_to_the_same_bytes(batch: Batch, spec: AlignSpec, wait: int) -> None:
    runs = [Align(spec, wait, 50) for _ in range(2)]
    first, second = (joined([run.push(batch), run.finish()]) for run in runs)
    assert first == second
    states = [run.snapshot() for run in runs]
    assert {k: v.tobytes() for k, v in states[0].items()} == {k: v.tobytes() for k, v in states[1].items()}


@LAWS
@given(batch=streams(), spec=st.one_of(specs(), grouped()), wait=WAITS, at=st.integers(0, 60))
def test_resuming_from_a_snapshot_equals_running_through(batch: Batch, spec: AlignSpec, wait: int, at: int) -> None:
    through, stopped, resumed = (Align(spec, wait, 50) for _ in range(3))
    first, second = cuts(batch, [at])
    expected = joined([through.push(first), through.push(second), through.finish()])
    before = stopped.push(first)
    resumed.push(batch)  # what it held is forgotten
    state = stopped.snapshot()
    stopped.push(second)  # a snapshot is a copy
    resumed.restore(state)
    assert joined([before, resumed.push(second), resumed.finish()]) == expected


def test_linear_rows_are_those_of_numpy_interp() -> None:
    rng = np.random.default_rng(1)
    ts = np.sort(rng.choice(10**6, 3000, replace=False))
    x = rng.standard_normal(ts.size)
    align = Align(spec_of("L", every=100, gap=10**9), wait_ns=0, idle_timeout_ns=1)
    batch = Batch.of(series=np.zeros(ts.size), ts=ts, value=x)
    out = [align.push(batch), align.finish()]
    g = np.concatenate([o.ts_ns for o in out])
    np.testing.assert_array_equal(g, np.arange(-(-ts[0] // 100) * 100, ts[-1] + 1, 100))
    np.testing.assert_allclose(np.concatenate([o.value for o in out])[:, 0], np.interp(g, ts, x), rtol=1e-9, atol=1e-9)


def test_previous_rows_are_those_of_a_polars_as_of_join() -> None:
    rng = np.random.default_rng(2)
    ts = np.sort(rng.choice(10**6, 3000, replace=False))
    x = rng.standard_normal(ts.size)
    order = np.argsort(ts + rng.integers(0, 5000, ts.size), kind="stable")
    align = Align(spec_of("P", every=100, gap=700), wait_ns=5000, idle_timeout_ns=1)
    out = [align.push(Batch.of(series=np.zeros(ts.size), ts=ts[order], value=x[order])), align.finish()]
    grid = pl.DataFrame({"g": np.arange(-(-ts[0] // 100) * 100, ts[-1] + 1, 100)})
    samples = pl.DataFrame({"t": ts, "x": x})
    expected = grid.join_asof(samples, left_on="g", right_on="t", strategy="backward", tolerance=700).drop_nulls("x")
    assert np.concatenate([o.ts_ns for o in out]).tolist() == expected["g"].to_list()
    assert np.concatenate([o.value[:, 0] for o in out]).tolist() == expected["x"].to_list()


def test_of_samples_of_equal_time_the_larger_seq_counts_then_the_later_row() -> None:
    def value(seqs: list[int]) -> float:
        align = Align(spec_of("p"), wait_ns=0, idle_timeout_ns=1)
        align.push(Batch.of(series=[0] * len(seqs), ts=[10] * len(seqs), seq=seqs, value=range(len(seqs))))
        return float(align.finish().value[0, 0])

    assert value([5, 7, 6]) == 1
    assert value([5, 5]) == 1
    assert value([5, NO_SEQ]) == 0
    assert value([NO_SEQ, NO_SEQ, NO_SEQ]) == 2


def test_a_sample_at_the_last_released_instant_is_taken_and_serves_later_rows_an_older_one_is_not() -> None:
    align = Align(spec_of("p"), wait_ns=0, idle_timeout_ns=1)
    assert align.push(Batch.of(series=[0, 0], ts=[10, 15], value=[1.0, 2.0])).ts_ns.tolist() == [10]
    out = align.push(Batch.of(series=[0, 0], ts=[9, 10], value=[8.0, 9.0]))
    assert out.taken.tolist() == [False, True] and len(out) == 0
    assert align.push(Batch.of(series=[0], ts=[21], value=[3.0])).value.tolist() == [[2.0]]


def test_a_silent_linear_signal_holds_an_instant_back_for_its_max_gap_and_no_longer() -> None:
    align = Align(spec_of("Lp", gap=40), wait_ns=0, idle_timeout_ns=1)
    assert len(align.push(Batch.of(series=[1] * 4, ts=[10, 30, 40, 49], value=[1.0] * 4))) == 0
    out = align.push(Batch.of(series=[1], ts=[50], value=[1.0]))
    assert out.ts_ns.tolist() == [10] and out.degraded.tolist() == [True]


def test_no_instant_after_the_newest_sample_is_released_however_late_the_tick() -> None:
    align = Align(spec_of("p", gap=10**6), wait_ns=5, idle_timeout_ns=100)
    tick = Batch.of(series=[TICK], ts=[0], arrival=[10_000], value=[0.0])
    align.push(Batch.of(series=[0], ts=[20], value=[1.0]))
    assert align.push(tick).ts_ns.tolist() == [20]
    assert align.push(tick).ts_ns.tolist() == []
    assert align.push(Batch.of(series=[0], ts=[41], value=[2.0])).ts_ns.tolist() == [30, 40]


def test_skew_is_the_greatest_distance_to_a_sample_used_and_degrades_over_max_skew() -> None:
    align = Align(spec_of("Lp", gap=20, max_skew=7), wait_ns=50, idle_timeout_ns=1)
    align.push(Batch.of(series=[0, 1, 0, 1, 0, 0], ts=[8, 9, 18, 20, 20, 28], value=range(6)))
    out = align.finish()
    assert out.ts_ns.tolist() == [10, 20]
    assert out.skew_ns.tolist() == [8, 0] and out.degraded.tolist() == [True, False]


def test_a_silence_of_a_year_is_jumped_over_and_a_held_value_over_it_comes_out_in_full() -> None:
    year = 365 * 86_400 * 10**9
    align = Align(spec_of("Lp", every=1_000, gap=50_000_000), wait_ns=0, idle_timeout_ns=1)
    batch = Batch.of(series=[0, 1, 0, 1], ts=[1_000, 1_000, year, year + 500], value=[1.0] * 4)
    out = align.push(batch)
    held = list(range(1_000, 50_002_000, 1_000))  # previous holds for max_gap: more rows than the output buffer has
    assert out.ts_ns.tolist() == [*held, year]
    assert len(align.finish()) == 0


def test_memory_is_bounded_by_wait_and_grid_however_fast_the_samples_come() -> None:
    align = Align(spec_of("l", every=1_000, gap=2_000), wait_ns=5_000, idle_timeout_ns=1)
    for start in range(0, 100_000, 10_000):
        align.push(Batch.of(series=[0] * 10_000, ts=np.arange(start, start + 10_000), value=[0.0] * 10_000))
    assert align.snapshot()["ring_value"].size <= 2 * (5 + 2 + 2)


def test_a_snapshot_of_another_definition_is_refused() -> None:
    align = Align(spec_of("lp"), wait_ns=0, idle_timeout_ns=1)
    align.push(Batch.of(series=[0], ts=[1], value=[1.0]))
    with pytest.raises(StateError, match="2 series are not 1 devices of 3 signals"):
        Align(spec_of("lpp"), wait_ns=0, idle_timeout_ns=1).restore(align.snapshot())
    with pytest.raises(StateError, match="misses lane"):
        align.restore({"ring_count": np.zeros(0)} | {k: v for k, v in align.snapshot().items() if k != "lane"})


TURN = AlignSpec(1, (True,) * 4, (100,) * 4, (True,) * 4, turns=(0,))


def rotation(axis: F64, angle: float) -> list[float]:
    """Unit quaternion x, y, z, w of a turn about an axis."""
    return [*(np.sin(angle / 2) * axis / np.linalg.norm(axis)), np.cos(angle / 2)]


def turned(first: list[float], second: list[float], at: int) -> AlignOutput:
    """Two orientations, 100 ns apart, and the rows between them; instants are multiples of `at`."""
    align = Align(dataclasses.replace(TURN, every_ns=at), wait_ns=0, idle_timeout_ns=10**9)
    align.push(Batch.of(series=[0, 1, 2, 3] * 2, ts=[0] * 4 + [100] * 4, value=[*first, *second]))
    return align.finish()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), angle=st.floats(0.0, 3.1), flip=st.booleans(), size=st.floats(0.999, 1.001))
def test_slerp_turns_by_an_even_share_of_the_angle_along_the_shorter_arc(
    seed: int, angle: float, flip: bool, size: float
) -> None:
    axis = np.random.default_rng(seed).normal(size=3)
    start, end = rotation(axis, 0.4), rotation(axis, 0.4 + angle)
    end = [-x for x in end] if flip else end  # the same orientation
    out = turned([size * x for x in start], end, 25)
    assert out.ts_ns.tolist() == [25, 50, 75, 100]
    for share, found in zip((0.25, 0.5, 0.75), out.value, strict=False):
        wanted = np.array(rotation(axis, 0.4 + share * angle))
        assert min(abs(found - wanted).max(), abs(found + wanted).max()) < 1e-9
        assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-12)
    assert out.value[3].tolist() == end


def test_an_orientation_of_which_one_element_is_missing_is_not_valid_at_all() -> None:
    align = Align(dataclasses.replace(TURN, every_ns=25), wait_ns=0, idle_timeout_ns=10**9)
    align.push(Batch.of(series=[0, 1, 2, 3, 0, 1, 2], ts=[0] * 4 + [100] * 3, value=[0.0, 0, 0, 1, 0, 0, 1]))
    assert len(align.finish()) == 0


def test_with_a_leader_there_is_one_row_per_sample_of_it_and_none_elsewhere() -> None:
    spec = dataclasses.replace(spec_of("pl", every=1), leader=0)
    align = Align(spec, wait_ns=0, idle_timeout_ns=10**9)
    out = align.push(Batch.of(series=[1, 0, 0, 1, 1], ts=[0, 7, 3, 10, 20], value=[0.0, 70.0, 30.0, 10.0, 20.0]))
    assert (out.ts_ns.tolist(), out.value.tolist()) == ([3, 7], [[30.0, 3.0], [70.0, 7.0]])


def test_a_row_that_a_late_sample_of_the_leader_would_have_made_stays_away_and_the_sample_is_not_taken() -> None:
    align = Align(dataclasses.replace(spec_of("pp", every=1), leader=0), wait_ns=0, idle_timeout_ns=10**9)
    out = align.push(Batch.of(series=[0, 0, 1, 0], ts=[5, 10, 20, 7], value=0.0))
    assert (out.ts_ns.tolist(), out.taken.tolist()) == ([5, 10], [True, True, True, False])


def test_rows_of_a_leader_are_those_of_a_polars_as_of_join_with_max_gap_as_tolerance() -> None:
    rng = np.random.default_rng(11)
    n, wait = 3000, 50
    arrival = np.cumsum(rng.integers(1, 20, n))
    batch = Batch.of(
        series=rng.integers(0, 2, n), ts=arrival - rng.integers(0, wait, n), arrival=arrival, value=np.arange(n)
    )
    align = Align(dataclasses.replace(spec_of("pp", every=1, gap=15), leader=0), wait, 10**9)
    found = rows(align.push(batch)) + rows(align.finish())
    frame = pl.DataFrame({"series": batch.series, "t": batch.ts, "x": batch.value, "row": np.arange(n)})
    left, right = (
        frame.filter(pl.col("series") == s).sort("t", "row").unique("t", keep="last", maintain_order=True)
        for s in (0, 1)
    )
    wanted = left.join_asof(right.select("t", y="x"), on="t", strategy="backward", tolerance=15)
    assert [r[1] for r in found] == wanted["t"].to_list()
    assert [r[2][0] for r in found] == wanted["x"].to_list()
    assert [None if np.isnan(r[2][1]) else r[2][1] for r in found] == wanted["y"].to_list()
    assert wanted["y"].null_count() > 100
