"""EwmaZ: the plain recursion against polars and a loop, and what the robust one does with spikes and new levels."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ewma import EwmaZ
from operators.errors import StateError
from operators.types import F64

ALPHA = 0.05


def test_the_plain_scores_are_those_of_polars() -> None:
    x = np.random.default_rng(1).normal(20.0, 2.0, 5000)
    column = pl.Series(x)
    mean = column.ewm_mean(alpha=ALPHA, adjust=False).shift(1).to_numpy()
    sd = column.ewm_std(alpha=ALPHA, adjust=False, bias=True).shift(1).to_numpy()
    scores = EwmaZ(alpha=ALPHA, robust=False).score(np.zeros(5000, np.int32), x[:, None])
    assert scores.value[20:] == pytest.approx((np.abs(x - mean)[20:] / sd[20:]), rel=1e-9)
    assert scores.expected[20:, 0] == pytest.approx(mean[20:], rel=1e-12)
    assert scores.ready.tolist() == [False] * 20 + [True] * 4980


def plain_loop(x: list[float], warmup: int) -> list[float]:
    """The recursion word by word."""
    mean, var, n, out = 0.0, 0.0, 0, []
    for value in x:
        if n == 0:
            mean, var, n = value, 0.0, 1
            out.append(0.0)
            continue
        d, z = value - mean, 0.0
        if n >= warmup:
            sd = var**0.5
            z = abs(d) / sd if sd > 1e-9 else 0.0
        out.append(z)
        inc = ALPHA * d
        mean += inc
        var = (1 - ALPHA) * (var + d * inc)
        n += 1
    return out


@settings(max_examples=40, deadline=None)
@given(x=st.lists(st.floats(-1e6, 1e6), max_size=60), warmup=st.integers(1, 30))
def test_the_plain_scores_are_those_of_a_plain_loop(x: list[float], warmup: int) -> None:
    scores = EwmaZ(alpha=ALPHA, robust=False, warmup=warmup).score(np.zeros(len(x), np.int32), np.array(x)[:, None])
    assert scores.value.tolist() == plain_loop(x, warmup)


def test_a_constant_series_scores_zero_and_is_ready() -> None:
    scores = EwmaZ().score(np.zeros(30, np.int32), np.full((30, 1), 4.0))
    assert not scores.value.any() and scores.ready[20:].all()


def noisy(n: int = 2000, seed: int = 2) -> F64:
    return np.random.default_rng(seed).normal(20.0, 1.0, n)


def values(x: F64, *, robust: bool) -> F64:
    return EwmaZ(robust=robust).score(np.zeros(x.size, np.int32), x[:, None]).value


def test_a_second_spike_after_the_first_is_seen_only_by_the_robust_one() -> None:
    x = noisy()
    x[1000] += 100.0
    x[1005] += 15.0
    assert values(x, robust=True)[1005] > 8.0
    assert values(x, robust=False)[1005] < 3.0


def test_a_level_that_holds_becomes_normal_after_thirty_rows() -> None:
    x = noisy()
    x[1000:] += 30.0
    z = values(x, robust=True)
    assert (z[1000:1030] > 3.0).all()
    assert np.mean(z[1031:1200] > 3.0) < 0.1 and np.mean(z[1200:] > 3.0) < 0.03


def test_noise_that_grew_is_followed() -> None:
    x = noisy()
    x[1000:] = 20.0 + 10.0 * (x[1000:] - 20.0)
    z = values(x, robust=True)
    assert np.mean(z[1000:1040] > 3.0) > 0.3
    assert np.mean(z[1200:] > 3.0) < 0.03


def test_the_false_alarm_rate_on_normal_noise_is_small() -> None:
    assert np.mean(values(noisy(50_000), robust=True) > 3.0) < 0.02


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0])
def test_an_alpha_outside_zero_to_one_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        EwmaZ(alpha=alpha)


def test_a_snapshot_of_another_detector_is_refused() -> None:
    with pytest.raises(StateError, match="ewma"):
        EwmaZ().restore({"other": np.zeros(3)})
