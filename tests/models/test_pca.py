"""PcaResidual: against the formulas written out, what it calls normal, what it names, how it follows drift."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pca import PcaResidual
from models.scores import ExpectedScores
from operators.errors import StateError
from operators.types import F64

ZEROS = np.zeros(20_000, np.int32)


def plant(rows: int, *, seed: int = 3, signals: int = 5) -> F64:
    """Two hidden causes seen by five signals, with noise."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(2, signals))
    return 50.0 + rng.normal(size=(rows, 2)) @ mixing + 0.2 * rng.normal(size=(rows, signals))


def scores_of(x: F64, **options: Any) -> ExpectedScores:
    return PcaResidual(x.shape[1], **options).score(ZEROS[: len(x)], x)


def test_q_and_t2_are_those_of_the_formulas_written_out() -> None:
    x = plant(600)
    detector = PcaResidual(5, components=2, follow=0)
    value = detector.score(ZEROS[:600], x).value
    m = detector.snapshot()
    z = (x[400:] - m["centre"][0]) / m["scale"][0]
    residual = z - z @ m["projection"][0]
    q, t2 = (residual**2).sum(axis=1), np.einsum("ij,jk,ik->i", z, m["inverse"][0], z)

    def as_z(s: F64, mean: float, h: float) -> F64:
        return np.asarray((np.cbrt(s / mean) - (1.0 - 2.0 / (9.0 * h))) / np.sqrt(2.0 / (9.0 * h)))

    limit = m["limit"][0]
    expect = np.maximum(np.maximum(as_z(q, limit[0], limit[1]), as_z(t2, limit[2], limit[3])), 0.0)
    assert value[400:] == pytest.approx(expect, rel=1e-9)
    assert np.linalg.matrix_rank(m["projection"][0]) == 2


def test_a_threshold_of_three_is_passed_by_about_as_many_normal_rows_as_the_tail_says() -> None:
    value = scores_of(plant(20_000), follow=0).value[400:]
    assert 0.0005 < np.mean(value > 3.0) < 0.012


@pytest.mark.parametrize("signal", range(5))
def test_a_signal_that_leaves_the_others_is_named_with_the_value_they_call_for(signal: int) -> None:
    x = plant(500)
    right = x[450, signal]
    x[450, signal] += 8.0
    scores = scores_of(x)
    assert scores.value[450] > 3.0
    assert int(scores.rank[450].argmax()) == signal
    assert scores.expected[450, signal] == pytest.approx(right, abs=2.0)


def test_outliers_in_the_warm_up_hardly_move_the_model() -> None:
    x = plant(500)
    x[450, 2] += 5.0
    clean = scores_of(x).value[450]
    x[40:50, 1] += 1000.0
    assert scores_of(x).value[450] > 0.5 * clean > 3.0


def test_a_slow_drift_is_followed_and_a_frozen_centre_is_not() -> None:
    x = plant(12_000)
    x += np.linspace(0.0, 15.0, 12_000)[:, None]
    assert np.mean(scores_of(x).value[6000:] > 3.0) < 0.05
    assert np.mean(scores_of(x, follow=0, give_up=0).value[6000:] > 3.0) > 0.5


def test_a_level_that_holds_is_accepted_after_give_up_rows() -> None:
    x = plant(3000)
    x[1000:, 0] += 8.0
    value = scores_of(x, give_up=300).value
    assert np.mean(value[1000:1300] > 3.0) > 0.95
    assert np.mean(value[1400:] > 3.0) < 0.05


def test_a_signal_that_stood_still_in_the_warm_up_takes_no_part() -> None:
    x = plant(500)
    x[:, 3] = 7.0
    x[450, 3] = 100.0
    scores = scores_of(x)
    assert not scores.rank[:, 3].any()
    assert scores.value[450] < 5.0


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 599), max_size=6), seed=st.integers(0, 100))
def test_cuts_through_the_warm_up_and_resuming_change_nothing(cuts: list[int], seed: int) -> None:
    x = plant(600, seed=seed)
    x[np.random.default_rng(seed).random(x.shape) < 0.02] = np.nan
    device = np.random.default_rng(seed).integers(0, 3, 600).astype(np.int32)
    whole = PcaResidual(5, warmup=100).score(device, x)
    core, values = PcaResidual(5, warmup=100), []
    edges = [0, *sorted(cuts), 600]
    for a, b in pairwise(edges):
        values.extend(core.score(device[a:b], x[a:b]).value.tolist())
        state, core = core.snapshot(), PcaResidual(5, warmup=100)
        core.restore(state)
    assert values == whole.value.tolist()


def test_a_snapshot_with_another_number_of_signals_is_refused() -> None:
    core = PcaResidual(5)
    core.score(ZEROS[:10], plant(10))
    with pytest.raises(StateError, match="pca"):
        PcaResidual(4).restore(core.snapshot())


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="warmup"):
        PcaResidual(3, warmup=1)
