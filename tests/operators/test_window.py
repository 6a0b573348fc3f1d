from collections.abc import Iterable
from dataclasses import fields, replace
from fractions import Fraction
from itertools import pairwise
from math import isnan, nan, sqrt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import SECOND, WindowSpec
from operators.errors import StateError
from operators.types import NO_TIME, TICK, Batch
from operators.window import Window, WindowOutput

SIGNALS, IDLE = 2, 60
Sample = tuple[int, float]
Emission = tuple[int, int, int, int, bool, int, list[Sample]]
"""series, start, end, revision, is_final, offset, samples of the window."""
Events = list[tuple[int, int, int]]
EVENTS = st.lists(
    st.tuples(
        st.integers(TICK, 5), st.one_of(st.integers(-60, 10), st.sampled_from([-5_000, 900])), st.integers(0, 15)
    ),
    max_size=70,
)
"""Per row: series, event time against a running clock, pause before it."""
SPECS = st.sampled_from(
    [
        WindowSpec(length_ns=10, hop_ns=10, wait_ns=20),
        WindowSpec(length_ns=10, hop_ns=10, wait_ns=0, allowed_lateness_ns=15),
        WindowSpec(length_ns=10, hop_ns=3, wait_ns=7, allowed_lateness_ns=0),
        WindowSpec(length_ns=12, hop_ns=4, wait_ns=5, allowed_lateness_ns=25),
        WindowSpec(length_ns=1, hop_ns=1, wait_ns=0),
    ]
)


def batch_of(events: Events) -> Batch:
    now = np.cumsum([e[2] for e in events], dtype=np.int64) + 100
    return Batch.of(
        series=[e[0] for e in events],
        ts=now + np.array([e[1] for e in events], np.int64),
        arrival=now,
        value=[(7 * i * i + 3 * e[1]) % 23 - 11.0 for i, e in enumerate(events)],
        offset=np.arange(len(events)) // 2 + 50,
    )


def joined(parts: Iterable[WindowOutput]) -> WindowOutput:
    held = list(parts)
    return WindowOutput(*(np.concatenate([getattr(part, f.name) for part in held]) for f in fields(WindowOutput)))


def run(core: Window, parts: Iterable[Batch]) -> WindowOutput:
    return joined([*(core.push(part) for part in parts), core.finish()])


def cut(batch: Batch, at: list[int]) -> list[Batch]:
    bounds = [0, *sorted(min(i, len(batch)) for i in at), len(batch)]
    return [batch.take(slice(a, b)) for a, b in pairwise(bounds)]


def assert_same(a: WindowOutput, b: WindowOutput) -> None:
    for f in fields(WindowOutput):
        x, y = getattr(a, f.name), getattr(b, f.name)
        np.testing.assert_array_equal(x.view(np.uint8), y.view(np.uint8), err_msg=f.name)
        assert x.dtype == y.dtype, f.name


class Oracle:
    """The semantics as a plain loop that keeps every sample of every window."""

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self.w: dict[int, int] = {}
        self.heard: dict[int, int] = {}
        self.open: dict[tuple[int, int], list[Sample]] = {}  # (start, series)
        self.revision: dict[tuple[int, int], int] = {}
        self.out: list[Emission] = []
        self.taken: list[bool] = []
        self.late: list[bool] = []

    def emit(self, key: tuple[int, int], final: bool, offset: int) -> None:
        start, series = key
        end = start + self.spec.length_ns
        self.out.append((series, start, end, self.revision[key], final, offset, list(self.open[key])))

    def close(self, offset: int) -> None:
        for key in sorted(self.open):
            w, end = self.w[key[1] // SIGNALS], key[0] + self.spec.length_ns
            if w >= end + self.spec.allowed_lateness_ns:
                self.revision.setdefault(key, 0)
                self.emit(key, True, offset)
                del self.open[key], self.revision[key]
            elif w >= end and key not in self.revision:
                self.revision[key] = 0
                self.emit(key, False, offset)

    def push(self, series: int, ts: int, arrival: int, value: float, offset: int) -> None:
        if series == TICK:
            for d, heard in self.heard.items():
                if arrival - heard >= IDLE:
                    self.w[d] = max(self.w[d], arrival - self.spec.wait_ns)
            self.close(offset)
            self.taken.append(True)
            self.late.append(False)
            return
        d, spec = series // SIGNALS, self.spec
        self.heard[d] = arrival
        self.w[d] = max(self.w.get(d, NO_TIME), ts - spec.wait_ns)
        self.close(offset)
        first = (ts // spec.hop_ns - spec.length_ns // spec.hop_ns - 1) * spec.hop_ns
        keys = [(start, series) for start in range(first, ts + 1, spec.hop_ns) if start <= ts < start + spec.length_ns]
        keys = [key for key in keys if self.w[d] < key[0] + spec.length_ns + spec.allowed_lateness_ns]
        for key in keys:
            self.open.setdefault(key, []).append((ts, value))
            if self.w[d] >= key[0] + spec.length_ns:
                self.revision[key] = self.revision.get(key, -1) + 1
                self.emit(key, False, offset)
        self.taken.append(bool(keys))
        self.late.append(ts < self.w[d])

    def finish(self, offset: int) -> None:
        for key in sorted(self.open):
            self.revision.setdefault(key, 0)
            self.emit(key, True, offset)


def statistics(samples: list[Sample]) -> tuple[float, float, float, float, float, float]:
    """mean, sd, min, max, slope, rms, in exact fractions up to the last step."""
    n = len(samples)
    x, t = [Fraction(v) for _, v in samples], [Fraction(at, SECOND) for at, _ in samples]
    mean, mean_t = sum(x, Fraction(0)) / n, sum(t, Fraction(0)) / n
    spread = sum(((a - mean_t) ** 2 for a in t), Fraction(0))
    together = sum(((a - mean_t) * (b - mean) for a, b in zip(t, x, strict=True)), Fraction(0))
    variance = sum(((b - mean) ** 2 for b in x), Fraction(0)) / n
    square = sum((b * b for b in x), Fraction(0)) / n
    slope = float(together / spread) if spread else nan
    return float(mean), sqrt(variance), float(min(x)), float(max(x)), slope, sqrt(square)


@given(events=EVENTS, spec=SPECS)
@settings(max_examples=60, deadline=None)
def test_every_emission_is_that_of_a_plain_loop(events: Events, spec: WindowSpec) -> None:
    batch, oracle = batch_of(events), Oracle(spec)
    columns = (batch.series, batch.ts, batch.arrival, batch.value, batch.offset)
    for series, ts, arrival, value, offset in zip(*(c.tolist() for c in columns), strict=True):
        oracle.push(series, ts, arrival, value, offset)
    oracle.finish(int(batch.offset[-1]) if events else -1)
    out = run(Window(SIGNALS, spec, IDLE), [batch])
    assert out.taken.tolist() == oracle.taken
    assert out.late.tolist() == oracle.late
    emitted = (out.series, out.start_ns, out.end_ns, out.revision, out.is_final, out.offset, out.count)
    assert list(zip(*(c.tolist() for c in emitted), strict=True)) == [(*e[:6], len(e[6])) for e in oracle.out]
    for i, emission in enumerate(oracle.out):
        mean, sd, low, high, slope, rms = statistics(emission[6])
        assert (out.min[i], out.max[i]) == (low, high)
        assert (out.mean[i], out.sd[i], out.rms[i]) == pytest.approx((mean, sd, rms), rel=1e-12, abs=1e-12)
        assert isnan(out.slope[i]) if isnan(slope) else out.slope[i] == pytest.approx(slope, rel=1e-9, abs=1e-3)


@given(events=EVENTS, spec=SPECS, at=st.lists(st.integers(0, 70), max_size=6))
@settings(max_examples=60, deadline=None)
def test_cutting_the_stream_into_batches_changes_nothing(events: Events, spec: WindowSpec, at: list[int]) -> None:
    batch = batch_of(events)
    assert_same(run(Window(SIGNALS, spec, IDLE), cut(batch, at)), run(Window(SIGNALS, spec, IDLE), [batch]))


@given(events=EVENTS, spec=SPECS)
@settings(max_examples=20, deadline=None)
def test_a_replay_is_identical(events: Events, spec: WindowSpec) -> None:
    once, again = (run(Window(SIGNALS, spec, IDLE), [batch_of(events)]) for _ in range(2))
    assert_same(once, again)


@given(events=EVENTS, spec=SPECS, at=st.integers(0, 70))
@settings(max_examples=60, deadline=None)
def test_resuming_from_a_snapshot_equals_an_uninterrupted_run(events: Events, spec: WindowSpec, at: int) -> None:
    first, second = cut(batch_of(events), [at])
    before, after = Window(SIGNALS, spec, IDLE), Window(SIGNALS, spec, IDLE)
    head = before.push(first)
    state = {name: column.copy() for name, column in before.snapshot().items()}
    before.push(second)
    after.restore(state)
    again = after.snapshot()
    for name, column in state.items():
        np.testing.assert_array_equal(again[name], column, err_msg=name)
    tail = run(after, [second])
    assert_same(joined([head, tail]), run(Window(SIGNALS, spec, IDLE), [first, second]))


def fleet(n: int, *, disorder: float) -> Batch:
    """Four devices with two signals at 100 Hz at a real instant; values near 1e9."""
    rng = np.random.default_rng(7)
    series = np.tile(np.arange(8, dtype=np.int32), n // 8)
    arrival = 1_720_000_000 * SECOND + 123_456_789 + (np.arange(series.size) // 8) * (SECOND // 100)
    back = rng.integers(1, SECOND, series.size) * (rng.random(series.size) < disorder)
    return Batch.of(series=series, ts=arrival - back, arrival=arrival, value=1e9 + rng.normal(0, 0.3, series.size))


IN_REVISIONS = WindowSpec(wait_ns=0, allowed_lateness_ns=2 * SECOND)
HOPPING = WindowSpec(length_ns=3 * SECOND, hop_ns=SECOND)


@pytest.mark.parametrize(
    ("disorder", "spec"), [(0.0, WindowSpec()), (0.01, WindowSpec()), (0.5, IN_REVISIONS), (0.01, HOPPING)]
)
def test_the_last_revision_of_every_window_agrees_with_polars(disorder: float, spec: WindowSpec) -> None:
    batch = fleet(40_000, disorder=disorder)
    out = run(Window(2, spec, IDLE * SECOND), cut(batch, [11_111, 11_112]))
    assert out.taken.all()
    copies = pl.concat(
        pl.DataFrame({"series": batch.series, "ts": batch.ts, "value": batch.value}).with_columns(
            start=(pl.col("ts") // spec.hop_ns - back) * spec.hop_ns
        )
        for back in range(spec.length_ns // spec.hop_ns)
    )
    t = (pl.col("ts") - pl.col("start")) / SECOND
    d = pl.col("value") - 1e9  # exact; of the plain values polars' own sd is off by 2e-7
    expected = (
        copies.group_by("series", "start")
        .agg(
            count=pl.len(),
            mean=pl.col("value").mean(),
            sd=d.std(ddof=0),
            low=pl.col("value").min(),
            high=pl.col("value").max(),
            slope=pl.cov(t, d, ddof=0) / t.var(ddof=0),
        )
        .sort("start", "series")
    )
    ours = (
        pl.DataFrame({f.name: getattr(out, f.name) for f in fields(WindowOutput) if f.name not in ("taken", "late")})
        .filter("is_final")
        .sort("start_ns", "series")
    )
    for mine, theirs in (("series", "series"), ("start_ns", "start"), ("count", "count"), ("min", "low")):
        assert ours[mine].to_list() == expected[theirs].to_list()
    assert ours["max"].to_list() == expected["high"].to_list()
    np.testing.assert_allclose(ours["mean"], expected["mean"], rtol=1e-12)
    np.testing.assert_allclose(ours["sd"], expected["sd"], rtol=1e-9)
    np.testing.assert_allclose(ours["slope"], expected["slope"], rtol=1e-9, atol=1e-9 * 0.3)


def push(core: Window, *rows: tuple[int, int], arrival: int | None = None) -> list[tuple[int, int, int, bool]]:
    """(start, count, revision, is_final) after rows of (series, ts)."""
    out = core.push(
        Batch.of(series=[r[0] for r in rows], ts=[r[1] for r in rows], arrival=arrival, value=[0.0] * len(rows))
    )
    return list(zip(*(c.tolist() for c in (out.start_ns, out.count, out.revision, out.is_final)), strict=True))


def test_a_window_closes_when_the_watermark_reaches_its_end() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=5), IDLE)
    assert push(core, (0, 0), (0, 9), (0, 14)) == []
    assert push(core, (0, 15)) == [(0, 2, 0, True)]


def test_a_signal_closes_the_windows_of_all_signals_of_its_device_and_of_no_other() -> None:
    core = Window(2, WindowSpec(length_ns=10, hop_ns=10, wait_ns=0), IDLE)
    out = core.push(Batch.of(series=[1, 2, 0, 0], ts=[1, 1, 1, 30], value=[0.0] * 4))
    assert out.series.tolist() == [0, 1]


def test_samples_within_allowed_lateness_revise_and_finality_is_one_more_emission() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=0, allowed_lateness_ns=20), IDLE)
    assert push(core, (0, 1), (0, 12)) == [(0, 1, 0, False)]
    assert push(core, (0, 2)) == [(0, 2, 1, False)]
    assert push(core, (0, 3)) == [(0, 3, 2, False)]
    assert push(core, (0, 30)) == [(0, 3, 2, True), (10, 1, 0, False)]


def test_a_watermark_that_passes_end_and_finality_at_once_makes_one_emission() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=0, allowed_lateness_ns=20), IDLE)
    assert push(core, (0, 1), (0, 100)) == [(0, 1, 0, True)]


def test_a_late_sample_may_open_a_window_that_is_not_final_yet() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=0, allowed_lateness_ns=20), IDLE)
    assert push(core, (0, 25), (0, 5)) == [(0, 1, 0, False)]
    assert push(core, (0, 30)) == [(0, 1, 0, True), (20, 1, 0, False)]


def test_a_sample_too_late_for_every_window_is_not_taken_even_if_none_was_open() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=5, wait_ns=0), IDLE)
    out = core.push(Batch.of(series=[0, 0, 0], ts=[20, 9, 16], value=[0.0] * 3))
    assert out.taken.tolist() == [True, False, True]
    assert out.late.tolist() == [False, True, True]


def test_a_sample_far_ahead_closes_all_before_it_and_its_own_window_opens() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=5, wait_ns=7), IDLE)
    far = 4_000_000_000_000_000_000
    assert push(core, (0, 0), (0, 6), (0, far)) == [(-5, 1, 0, True), (0, 2, 0, True), (5, 1, 0, True)]
    assert core.finish().start_ns.tolist() == [far - 5, far]


def test_windows_before_the_epoch_are_aligned_like_all_others() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=0), IDLE)
    push(core, (0, -11), (0, -10), (0, -1))
    assert core.finish().start_ns.tolist() == [-10]


def test_a_tick_closes_windows_of_silent_devices_by_end_then_series_under_its_own_offset() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=5), 100)
    push(core, (0, 11), (1, 1), (1, 12), (2, 1), arrival=0)
    core.push(Batch.of(series=[3], ts=[1], arrival=[50], value=[0.0]))
    out = core.push(Batch.of(series=[TICK], ts=[0], arrival=[100], value=[0.0], offset=[77]))
    assert out.end_ns.tolist() == [10, 10, 20, 20]
    assert out.series.tolist() == [1, 2, 0, 1]
    assert set(out.offset.tolist()) == {77}
    assert (out.taken.tolist(), out.late.tolist()) == ([True], [False])


def test_the_end_of_input_makes_all_windows_final_with_the_revision_they_have() -> None:
    core = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=0, allowed_lateness_ns=50), IDLE)
    push(core, (0, 1), (0, 12), (0, 2))
    out = core.finish()
    assert (out.revision.tolist(), out.is_final.tolist()) == ([1, 0], [True, True])
    assert len(core.finish()) == 0


def test_more_emissions_than_the_buffer_holds_change_nothing() -> None:
    n = 3_000
    batch = Batch.of(series=[*range(n), *[TICK]], ts=[5] * n + [0], arrival=[5] * n + [1_000], value=[1.0] * (n + 1))
    out = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=0), IDLE).push(batch)
    assert out.series.tolist() == list(range(n))
    steady = Batch.of(series=[0] * n, ts=np.arange(n) * 10, value=np.ones(n))
    assert len(Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=0), IDLE).push(steady)) == n - 1


def test_the_slope_is_the_rise_per_second_of_event_time_and_unknown_at_one_time() -> None:
    core = Window(1, WindowSpec(), IDLE)
    t = 1_700_000_000 * SECOND + np.arange(10) * (SECOND // 10)
    core.push(Batch.of(series=[0] * 10, ts=t, value=1e9 + 0.25 * np.arange(10)))
    assert core.finish().slope.tolist() == pytest.approx([2.5], rel=1e-12)
    core.push(Batch.of(series=[2] * 3, ts=t[[0, 0, 0]], value=[1.0, 2.0, 4.0]))
    assert isnan(core.finish().slope[0])


def test_samples_a_microsecond_apart_keep_their_slope_and_sd() -> None:
    rng, n = np.random.default_rng(3), 500
    t = 1_700_000_000 * SECOND + 900_000_000 + np.arange(n) * 7
    x = 1e9 + rng.normal(0, 1e-3, n)
    core = Window(1, WindowSpec(), IDLE)
    core.push(Batch.of(series=[0] * n, ts=t, value=x))
    out = core.finish()
    mean, sd, _, _, slope, rms = statistics(list(zip(t.tolist(), x.tolist(), strict=True)))
    assert (out.mean[0], out.sd[0], out.rms[0]) == pytest.approx((mean, sd, rms), rel=1e-12)
    assert out.slope[0] == pytest.approx(slope, rel=1e-9)


def test_a_first_value_far_from_all_others_costs_no_digits_that_matter() -> None:
    x = np.concatenate([[-1e9], 5.0 + np.random.default_rng(1).normal(size=999)])
    t = np.arange(1000) * (SECOND // 1000)
    core = Window(1, WindowSpec(), IDLE)
    core.push(Batch.of(series=[0] * 1000, ts=t, value=x))
    out, expected = core.finish(), statistics(list(zip(t.tolist(), x.tolist(), strict=True)))
    assert (out.mean[0], out.sd[0], out.slope[0]) == pytest.approx((expected[0], expected[1], expected[4]), rel=1e-9)


def test_state_is_bounded_by_the_ring_whatever_comes() -> None:
    spec = WindowSpec(length_ns=10, hop_ns=5, wait_ns=20, allowed_lateness_ns=15)
    core, rng = Window(2, spec, IDLE), np.random.default_rng(5)
    for start in range(0, 5_000, 100):
        n = 200
        core.push(Batch.of(series=rng.integers(0, 6, n), ts=start + rng.integers(-80, 80, n), value=rng.normal(size=n)))
        state = core.snapshot()
        assert state["key"].shape == (3, 2, 9, 4)
        assert state["live"].tolist() == [int((device[..., 0] != NO_TIME).sum()) for device in state["key"]]


def test_read_only_and_strided_columns_are_taken_as_they_are() -> None:
    batch = batch_of([(0, 0, 5), (1, 1, 5), (0, 2, 5), (0, 3, 90)])
    for column in (batch.ts, batch.value):
        column.flags.writeable = False
    every = batch.take(slice(None, None, 2))
    spec = WindowSpec(length_ns=10, hop_ns=10, wait_ns=0)
    plain = batch.take(np.array([0, 2], np.intp))
    assert_same(run(Window(2, spec, IDLE), [every]), run(Window(2, spec, IDLE), [plain]))


def test_a_snapshot_of_another_spec_is_refused() -> None:
    spec = WindowSpec()
    state = Window(1, spec, IDLE).snapshot()
    with pytest.raises(StateError, match="definition it was taken under"):
        Window(1, replace(spec, length_ns=2 * SECOND, hop_ns=2 * SECOND), IDLE).restore(state)
    with pytest.raises(StateError, match="'acc'"):
        Window(1, spec, IDLE).restore({name: column for name, column in state.items() if name != "acc"})


@pytest.mark.parametrize(
    "spec", [WindowSpec(hop_ns=0), WindowSpec(length_ns=5, hop_ns=6), WindowSpec(allowed_lateness_ns=-1, wait_ns=-1)]
)
def test_times_that_make_no_sense_are_refused(spec: WindowSpec) -> None:
    with pytest.raises(ValueError, match=r"needs|must be"):
        Window(1, spec, IDLE)
