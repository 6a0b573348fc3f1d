"""Exponentially weighted mean and variance per series; the score is the distance from the mean in sd."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.scores import ExpectedScores
from operators.compiled import kernel, part
from operators.errors import StateError
from operators.touched import Changed, Touched
from operators.types import F64, I32, I64, Mask, State


class _Settings(NamedTuple):
    alpha: float
    warmup: int
    robust: bool
    clip: float
    relearn: int
    min_sd: float


class EwmaZ:
    """|x - mean| / sd of each series, scored before the row is learnt.

    Args:
        alpha: weight of the newest row, in (0, 1).
        warmup: rows of a series before its score counts.
        robust: hold back what excursions teach, see below; False is the plain recursion, to the letter.
        clip: robust only: beyond so many standard deviations a row is an excursion.
        relearn: robust only: so many excursions in a row on one side are a new level, which is then taken over.
        min_sd: at or below it the series counts as constant: the score is 0.

    Raises:
        ValueError: alpha is not in (0, 1).

    Plain: the first row sets mean = x, var = 0, n = 1. Later d = x - mean; the score is |d| / sqrt(var) when
    n >= warmup and sqrt(var) > min_sd; inc = alpha d; mean += inc; var = (1 - alpha)(var + d inc); n += 1 (Finch,
    Incremental calculation of weighted mean and variance, 2009). That is polars' `ewm_mean` and `ewm_std(bias=True)`
    with `adjust=False`, one row back.

    Robust: the first 1 / alpha rows weigh alike, so the first one has no more say than the others. Once warm, an
    excursion teaches as if it lay clip / 2 standard deviations away, so one spike does not blind the detector, while
    noise that grew is followed within some 1 / alpha rows. `relearn` excursions in a row on one side set mean and
    variance to those of these rows: a level that holds is normal from then on. NaN is no row: not ready, learns
    nothing.

    >>> x = np.array([[1.0], [2.0], [1.0], [2.0], [9.0]])
    >>> bool(EwmaZ(warmup=3).score(np.zeros(5, np.int32), x).value[-1] > 3.0)
    True
    """

    def __init__(
        self,
        *,
        alpha: float = 0.05,
        warmup: int = 20,
        robust: bool = True,
        clip: float = 3.0,
        relearn: int = 30,
        min_sd: float = 1e-9,
    ) -> None:
        if not 0.0 < alpha < 1.0:
            raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
        self._settings = _Settings(alpha, warmup, robust, clip, relearn, min_sd)
        self._level = np.zeros((0, 4))  # mean, variance; mean and squares of the present excursion
        self._rows = np.zeros((0, 2), np.int64)  # rows learnt; rows of the excursion, negative below the mean
        self._series = 0
        self._touched = Touched()

    def score(self, device: I32, x: F64, /) -> ExpectedScores:
        """Scores of x, float64[n, 1]; `device` is the series. The value is in standard deviations."""
        n = device.size
        if n:
            self._grow(int(device.max()) + 1)
        self._touched.mark(device)
        value, ready = np.zeros(n), np.zeros(n, np.bool_)
        expected, sd = np.full((n, 1), np.nan), np.zeros((n, 1))
        _score(device, x[:, 0], self._level, self._rows, self._settings, value, ready, expected[:, 0], sd[:, 0])
        return ExpectedScores(value, ready, (value > 0.0).astype(np.float64)[:, None], expected, sd)

    def snapshot(self) -> State:
        """Copies of both columns, cut to the series seen."""
        return {"level": self._level[: self._series].copy(), "rows": self._rows[: self._series].copy()}

    def changed(self) -> Changed:
        """Rows of both columns that may have changed since this was last asked."""
        return dict.fromkeys(("level", "rows"), self._touched.take())

    def restore(self, state: State) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is not one of this detector.
        """
        if set(state) != {"level", "rows"} or state["level"].shape[1:] != (4,) or state["rows"].shape[1:] != (2,):
            raise StateError(where="ewma", detail="columns differ from this version's", fix="start the detector anew")
        self._level, self._rows = state["level"].astype(np.float64), state["rows"].astype(np.int64)
        self._series = len(self._level)

    def _grow(self, series: int) -> None:
        more = max(series, 2 * len(self._level)) - len(self._level)
        if series > len(self._level):
            self._level = np.concatenate([self._level, np.zeros((more, 4))])
            self._rows = np.concatenate([self._rows, np.zeros((more, 2), np.int64)])
        self._series = max(self._series, series)


@kernel
def _score(
    series: I32, x: F64, level: F64, rows: I64, p: _Settings, value: F64, ready: Mask, expected: F64, spread: F64
) -> None:
    for i in range(x.size):
        s, v = series[i], x[i]
        if np.isnan(v):
            continue
        n = rows[s, 0]
        rows[s, 0] = n + 1
        if n == 0:
            level[s, 0] = v
            continue
        d = v - level[s, 0]
        sd = np.sqrt(level[s, 1])
        if n >= p.warmup:
            ready[i] = True
            expected[i], spread[i] = level[s, 0], sd
            if sd > p.min_sd:
                value[i] = abs(d) / sd
                if p.robust:
                    d = _held_back(level, rows, s, v, d, sd, p)
        alpha = max(p.alpha, 1.0 / (n + 1.0)) if p.robust else p.alpha
        inc = alpha * d
        level[s, 0] += inc
        level[s, 1] = (1.0 - alpha) * (level[s, 1] + d * inc)


@part
def _held_back(level: F64, rows: I64, s: int, v: float, d: float, sd: float, p: _Settings) -> float:
    """What the row teaches as a distance from the mean; 0 where its excursion just became the new level."""
    if abs(d) <= p.clip * sd:
        rows[s, 1] = 0
        return float(d)
    side = 1 if d > 0.0 else -1
    length = rows[s, 1] * side
    if length <= 0:
        length = 0
        level[s, 2] = level[s, 3] = 0.0
    length += 1
    before = v - level[s, 2]
    level[s, 2] += before / length
    level[s, 3] += before * (v - level[s, 2])
    rows[s, 1] = length * side
    if length < p.relearn:
        return float(side * 0.5 * p.clip * sd)
    rows[s, 1] = 0
    level[s, 0] = level[s, 2]
    variance = level[s, 3] / length
    if variance > p.min_sd * p.min_sd:
        level[s, 1] = variance / (1.0 - max(p.alpha, 1.0 / rows[s, 0]))
    return 0.0
