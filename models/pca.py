"""Principal components per device: how far a row lies from what the signals of that device usually do together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.pca_fit import Model, fit, new_models
from models.scores import ExpectedScores
from operators.compiled import kernel, part
from operators.errors import StateError
from operators.types import F64, I32, I64, Mask, State


class _Settings(NamedTuple):
    smooth: float
    follow: float
    give_up: int
    hold: float


class _Result(NamedTuple):
    value: F64
    ready: Mask
    rank: F64
    expected: F64
    sd: F64


class PcaResidual:
    """Residual (Q) and distance within the model (T2) of aligned rows, as standard deviations of normal rows.

    Args:
        features: signals of a row.
        components: share of the variance that the components explain, or how many there are when it is 1 or more.
        warmup: rows of a device before its model is fitted, once; none of them is scored.
        smooth: rows over which a row is averaged (exponentially) before it is judged; 1 judges single rows.
        t2: judge the distance within the model too; the score is the greater of both.
        follow: rows in which the centre follows a slow drift while the score is at most `hold`; 0 = never.
        give_up: after so many rows above `hold` without a break the recent level becomes the centre; 0 = never.
        hold: score above which nothing is learnt.

    Q and T2 each become z by g chi-squared(h) (Box 1954; moments of the warm-up) and the cube root of Wilson and
    Hilferty (1931), so a threshold of 3.0 means the tail of three standard deviations. A missing value (NaN) takes its
    centre and has no share; a row of missing values only is not ready and teaches nothing. A signal that stood still in
    the warm-up has no scale and no share. `rank` is the contribution by reconstruction (Alcala and Qin 2009); the
    expected value of a signal is the one that the other signals of the row call for.

    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(500, 1))
    >>> x = common + 0.1 * rng.normal(size=(500, 3))
    >>> x[499, 1] += 3.0
    >>> scores = PcaResidual(3).score(np.zeros(500, np.int32), x)
    >>> int(scores.rank[499].argmax()), bool(scores.value[499] > 10.0)
    (1, True)
    """

    def __init__(
        self,
        features: int,
        *,
        components: float = 0.9,
        warmup: int = 400,
        smooth: int = 1,
        t2: bool = True,
        follow: int = 200,
        give_up: int = 600,
        hold: float = 3.0,
    ) -> None:
        if features < 1 or warmup < 10 or smooth < 1:
            raise ValueError(f"features {features}, warmup {warmup}, smooth {smooth}: at least 1, 10 and 1")
        self.features, self.components, self.warmup, self.t2 = features, components, warmup, t2
        self._settings = _Settings(2.0 / (smooth + 1.0), 1.0 / follow if follow else 0.0, give_up, hold)
        self._models = new_models(0, features)
        self._warm: dict[int, list[F64]] = {}
        self._devices = 0

    def score(self, device: I32, x: F64, /) -> ExpectedScores:
        """Scores of x, float64[n, features]."""
        n, k = x.shape
        result = _Result(
            np.zeros(n), np.zeros(n, np.bool_), np.zeros((n, k)), np.full((n, k), np.nan), np.zeros((n, k))
        )
        if n:
            self._grow(int(device.max()) + 1)
            some: Mask = np.logical_not(np.isnan(x).all(axis=1))
            some[self._warm_up(device, x, some)] = False
            plain = np.ascontiguousarray(x)  # rows taken by column are not, and each layout would compile once more
            _score(device, plain, some, self._models, self._settings, np.empty((3, k)), result)
        return ExpectedScores(*result)

    def snapshot(self) -> State:
        """The models of the devices seen, and the rows of those that are still warming up."""
        state: State = {name: column[: self._devices].copy() for name, column in self._models._asdict().items()}
        warming = sorted(self._warm)
        rows = np.full((len(warming), self.warmup, self.features), np.nan)
        for i, d in enumerate(warming):
            rows[i, : len(self._warm[d])] = self._warm[d]
        counts = [len(self._warm[d]) for d in warming]
        return {**state, "warming": np.array([warming, counts], np.int64).T, "rows": rows}

    def restore(self, state: State) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it is not one of this detector with as many features.
        """
        empty = new_models(0, self.features)._asdict()
        shape = (self.warmup, self.features)
        if set(state) != {*empty, "warming", "rows"} or state["rows"].shape[1:] != shape:
            raise StateError(where="pca", detail="signals or warm-up have changed", fix="start the detector anew")
        self._models = Model(**{name: state[name].astype(empty[name].dtype) for name in empty})
        self._devices = len(self._models.fitted)
        self._warm = {
            int(d): [row.copy() for row in rows[:count]]
            for (d, count), rows in zip(state["warming"].tolist(), state["rows"], strict=True)
        }

    def _grow(self, devices: int) -> None:
        room = len(self._models.fitted)
        if devices > room:
            more = new_models(max(devices, 2 * room) - room, self.features)
            self._models = Model(*(np.concatenate(pair) for pair in zip(self._models, more, strict=True)))
        self._devices = max(self._devices, devices)

    def _warm_up(self, device: I32, x: F64, some: Mask) -> I64:
        """Rows taken by the warm-up of their devices; a device whose warm-up is full gets its model."""
        open_rows = np.flatnonzero(some & ~self._models.fitted[device])
        taken: list[I64] = []
        for d in np.unique(device[open_rows]).tolist():
            kept = self._warm.setdefault(d, [])
            rows = open_rows[device[open_rows] == d][: self.warmup - len(kept)]
            kept.extend(x[rows])
            taken.append(rows)
            if len(kept) == self.warmup:
                fit(self._models, d, np.array(self._warm.pop(d)), self.components, self._settings.smooth, self.t2)
        return np.concatenate(taken) if taken else np.empty(0, np.int64)


@kernel
def _score(device: I32, x: F64, some: Mask, m: Model, p: _Settings, scratch: F64, out: _Result) -> None:
    k = x.shape[1]
    z, y, own = scratch[0], scratch[1], scratch[2]
    for i in range(device.size):
        d = device[i]
        if not (some[i] and m.fitted[d]):
            continue
        for j in range(k):
            z[j] = 0.0
            if not np.isnan(x[i, j]) and m.scale[d, j] > 0.0:
                m.level[d, j] += p.smooth * (x[i, j] - m.level[d, j])
                z[j] = (m.level[d, j] - m.centre[d, j]) / m.scale[d, j]
        q = t2 = 0.0
        for j in range(k):
            inside = scaled = 0.0
            for other in range(k):
                inside += m.projection[d, j, other] * z[other]
                scaled += m.inverse[d, j, other] * z[other]
            y[j] = z[j] - inside if m.scale[d, j] > 0.0 and not np.isnan(x[i, j]) else 0.0
            own[j] = z[j] * scaled
            q += y[j] * y[j]
            t2 += own[j]
        z_q = _as_z(q, m.limit[d, 0], m.limit[d, 1])
        z_t = _as_z(t2, m.limit[d, 2], m.limit[d, 3])
        out.ready[i] = True
        out.value[i] = max(z_q, z_t, 0.0)
        _explain(d, x[i], z, y, own, z_q >= z_t, m, out, i)
        _follow(d, x[i], out.value[i], m, p)


@part
def _as_z(s: float, mean: float, freedom: float) -> float:
    if mean <= 0.0:
        return 0.0
    spread = 2.0 / (9.0 * freedom)
    return float(((s / mean) ** (1.0 / 3.0) - 1.0 + spread) / np.sqrt(spread))


@part
def _explain(d: int, x: F64, z: F64, y: F64, own: F64, by_residual: bool, m: Model, out: _Result, i: int) -> None:
    total = 0.0
    for j in range(x.size):
        if m.scale[d, j] <= 0.0 or np.isnan(x[j]):
            continue
        if by_residual:
            free = max(1.0 - m.projection[d, j, j], 0.05)
            share = y[j] * y[j] / free
            out.expected[i, j] = m.centre[d, j] + m.scale[d, j] * (z[j] - y[j] / free)
            out.sd[i, j] = m.scale[d, j] * m.noise[d, j] / free
        else:
            share = max(own[j], 0.0)
            out.expected[i, j] = m.centre[d, j]
            out.sd[i, j] = m.scale[d, j]
        out.rank[i, j] = share
        total += share
    if total > 0.0:
        for j in range(x.size):
            out.rank[i, j] /= total


@part
def _follow(d: int, x: F64, score: float, m: Model, p: _Settings) -> None:
    m.alarmed[d] = m.alarmed[d] + 1 if score > p.hold else 0
    accept = p.give_up > 0 and m.alarmed[d] >= p.give_up
    for j in range(x.size):
        if np.isnan(x[j]):
            continue
        m.recent[d, j] += 0.02 * (x[j] - m.recent[d, j])
        if accept:
            m.centre[d, j] = m.recent[d, j]
        elif score <= p.hold:
            m.centre[d, j] += p.follow * (x[j] - m.centre[d, j])
    if accept:
        m.alarmed[d] = 0
