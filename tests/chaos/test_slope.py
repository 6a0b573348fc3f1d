"""The slope test tells growth from noise, saws, spikes and a warm start."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.chaos.scenario import faults
from tests.chaos.slope import FEWEST, MOST, Trend, trend
from tests.chaos.soak import Series, judge

HOURS = np.linspace(0, 1, 240)
NOISE = np.random.default_rng(7).normal(0, 3, HOURS.size)
SAW = 40 * (HOURS * 17 % 1)


def judged(values: NDArray[np.float64], tolerance: float = 2.0) -> Trend:
    found = trend(HOURS, values, tolerance)
    assert found.judged
    assert found.low <= found.per_hour <= found.high
    return found


@pytest.mark.parametrize(
    "values",
    [
        np.full(HOURS.size, 100.0),
        100 + NOISE,
        100 + SAW,
        100 + NOISE + 500 * (np.arange(HOURS.size) % 40 == 0),
        100 - 30 * HOURS + NOISE,
        np.round(12 + NOISE / 10),
        100 + 1.0 * HOURS,
    ],
    ids=["constant", "noise", "saw", "spikes", "falling", "whole numbers", "within the tolerance"],
)
def test_what_does_not_grow_is_flat(values: NDArray[np.float64]) -> None:
    assert judged(values).flat


@pytest.mark.parametrize(
    "values",
    [100 + 10 * HOURS + NOISE, 100 + 30 * HOURS + SAW, 20 + np.floor(6 * HOURS), 100 + 50 * np.sqrt(HOURS)],
    ids=["noisy leak", "leak under a saw", "a handle every ten minutes", "slowing leak"],
)
def test_what_grows_is_not_flat(values: NDArray[np.float64]) -> None:
    assert not judged(values).flat


def test_the_slope_is_per_hour_and_as_large_as_the_growth() -> None:
    assert judged(100 + 10 * HOURS).per_hour == pytest.approx(10)
    assert trend(HOURS / 4, 100 + 10 * HOURS, 1.0).per_hour == pytest.approx(40)


def test_too_few_samples_judge_nothing() -> None:
    few = trend(HOURS[: FEWEST - 1], 1000 * HOURS[: FEWEST - 1], 1.0)
    assert (few.judged, few.flat) == (False, True)
    assert trend([], [], 1.0).flat
    assert trend([0.5], [3.0], 1.0).median == 3.0


def test_a_long_series_is_thinned_and_keeps_its_slope() -> None:
    hours = np.linspace(0, 24, 20_000)
    found = trend(hours, 50 + 3 * hours + np.random.default_rng(1).normal(0, 5, hours.size), 1.0)
    assert found.samples == MOST
    assert found.per_hour == pytest.approx(3, rel=0.05)
    assert not found.flat


def test_a_process_that_leaks_memory_or_handles_fails_a_soak_and_a_short_one_judges_nothing() -> None:
    series = Series()
    for second in range(0, 3600, 10):
        sound = {"rss_mb/kafka": 400.0 + second % 70, "lag": float(second % 90)}
        series.add(second, sound | {"rss_mb/telemetry": 200 + second / 100, "handles/telemetry": 50.0 + second // 600})
    figures = judge(series, hours=1.0)
    assert figures["growing"] == ["rss_mb/telemetry", "handles/telemetry"]
    assert faults(figures) == {"flat": False}
    assert faults(judge(series, hours=0.01)) == {}
    assert judge(series, hours=0.01)["judged"] is False
