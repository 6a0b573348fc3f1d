"""Quantiles, crest and bands: numpy as oracle, the error the sketch states, the three laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import SECOND, NamedWindow, WindowSpec
from operators.types import F64, Batch
from operators.window import Window, WindowOutput
from operators.window_extra import ExtraState
from tests.operators.test_window import EVENTS, SPECS, Events, assert_same, batch_of, cut, joined

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
SIGNALS = ("a", "b")
ALL = NamedWindow("w", "time", ("b",), WindowSpec(wait_ns=0), 0, QUANTILES, crest=True, bands=((1, 5), (5, 40)))
ONCE = WindowSpec(length_ns=10**6, hop_ns=10**6, wait_ns=0)


def window(spec: NamedWindow, times: WindowSpec | None = None) -> Window:
    return Window(len(spec.signals), times or spec.times, 60, ExtraState(spec, SIGNALS))


def run(core: Window, parts: list[Batch]) -> WindowOutput:
    return joined([*(core.push(part) for part in parts), core.finish()])


def sketched(x: F64) -> tuple[list[float], float]:
    spec = NamedWindow("w", "time", ("b",), ONCE, quantiles=QUANTILES)
    out = run(window(spec), [Batch.of(series=1, ts=np.arange(len(x)), value=x)])
    return out.extra[0, :-1].tolist(), float(out.extra[0, -1])


VALUES = st.lists(
    st.one_of(st.floats(-1e308, 1e308), st.floats(-3, 3), st.sampled_from([0.0, -0.0, 5e-324, 1e9])), min_size=1
)


@given(values=VALUES, copies=st.integers(1, 30), seed=st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_a_quantile_is_a_sample_of_that_rank_within_the_stated_error_in_any_order(
    values: list[float], copies: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = np.concatenate([np.array(values) * (1 + 1e-3 * rng.random(len(values))) for _ in range(copies)])
    x = np.clip(x, -1.7e308, 1.7e308)
    found, error = sketched(x)
    truth = [float(np.sort(x)[int(np.floor(q * (len(x) - 1)))]) for q in QUANTILES]
    for mine, true in zip(found, truth, strict=True):
        assert abs(mine - true) <= error * abs(true) * (1 + 1e-9) + 5e-324
    assert (found[0], found[-1]) == (truth[0], truth[-1])
    assert sketched(rng.permutation(x)) == (found, error)


def test_up_to_256_different_values_the_error_is_a_millionth_and_then_follows_their_spread() -> None:
    rng = np.random.default_rng(3)
    assert sketched(rng.normal(50, 1, 256))[1] == pytest.approx(1e-6)
    narrow, wide = sketched(rng.uniform(59, 61, 20_000))[1], sketched(rng.uniform(1, 100, 20_000))[1]
    assert narrow < 2e-4
    assert wide < 2e-2
    outlier = sketched(np.append(rng.uniform(59, 61, 20_000), 1e12))[1]
    assert outlier <= 2 * narrow


def test_the_power_in_bands_is_that_of_a_fourier_transform() -> None:
    rng, rate = np.random.default_rng(2), 100
    t = np.arange(5 * rate)
    x = 9.81 + np.sin(2 * np.pi * 7 * t / rate) + 0.3 * rng.normal(size=t.size)
    out = run(window(ALL), [Batch.of(series=1, ts=t * (SECOND // rate), value=x)])
    assert ALL.columns[-2:] == ("band_1_5", "band_5_40")
    for i in range(5):
        part = x[i * rate : (i + 1) * rate]
        f, power = np.fft.rfftfreq(rate, 1 / rate), 2 * np.abs(np.fft.rfft(part - part.mean()) / rate) ** 2
        wanted = [power[(f >= low) & (f < high)].sum() for low, high in ALL.bands]
        np.testing.assert_allclose(out.extra[i, -2:], wanted, rtol=1e-9)


def test_all_bands_together_are_the_variance() -> None:
    x = np.random.default_rng(4).normal(1e6, 1.0, 101)
    spec = NamedWindow("w", "time", ("b",), WindowSpec(wait_ns=0), bands=((0, 50.9),))
    out = run(window(spec), [Batch.of(series=1, ts=np.arange(101) * SECOND // 101, value=x)])
    np.testing.assert_allclose(out.extra[:, 0], out.sd**2, rtol=1e-6)


def test_the_crest_is_the_greatest_size_over_the_rms() -> None:
    spec = NamedWindow("w", "time", ("b",), ONCE, crest=True)
    out = run(window(spec), [Batch.of(series=[1, 1, 1, 0], ts=[0, 1, 2, 3], value=[1.0, -3.0, 1.0, 99.0])])
    assert out.extra[0, 0] == pytest.approx(3 / np.sqrt(11 / 3))
    assert out.series.tolist() == [1]


def test_a_signal_that_is_not_of_the_window_moves_its_watermark_all_the_same() -> None:
    core = window(NamedWindow("w", "time", ("b",)), WindowSpec(length_ns=10, hop_ns=10, wait_ns=0))
    out = core.push(Batch.of(series=[1, 0], ts=[1, 10], value=0.0))
    assert (out.series.tolist(), out.taken.tolist()) == ([1], [True, False])


@given(events=EVENTS, times=SPECS, at=st.lists(st.integers(0, 70), max_size=5))
@settings(max_examples=40, deadline=None)
def test_cutting_replaying_and_resuming_change_nothing(events: Events, times: WindowSpec, at: list[int]) -> None:
    spec = NamedWindow("w", "time", SIGNALS, times, quantiles=(0.5,), crest=True, bands=((1e8, 4e8),))
    batch = batch_of(events)
    whole = run(window(spec), [batch])
    assert_same(run(window(spec), [batch]), whole)
    assert_same(run(window(spec), cut(batch, at)), whole)
    core, found = window(spec), list[WindowOutput]()
    for part in cut(batch, at):
        found.append(core.push(part))
        state, core = core.snapshot(), window(spec)
        core.restore(state)
    assert_same(joined([*found, core.finish()]), whole)
    plain = run(Window(2, times, 60), [batch])
    for name in ("series", "start_ns", "count", "mean", "sd", "slope", "revision", "is_final", "taken", "late"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(plain, name), err_msg=name)
