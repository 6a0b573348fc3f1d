"""The estimators that were compared for clock_correct, each as one plain function over the points seen so far.

A point is (t, y): device time and arrival - device time, in seconds. Each returns the level of the clock at t[-1].
`python -m tests.bench.clock_estimators` prints the table of docs/decisions/clock.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from operators.types import F64, I64
from tests.bench.clock import CASES, simulate

Estimator = Callable[[F64, F64], float]


def seconds(ns: I64) -> F64:
    """Nanoseconds as seconds."""
    return ns.astype(np.float64) * 1e-9


def hull(t: F64, y: F64) -> tuple[F64, F64]:
    """Lower convex hull, left to right."""
    kept: list[int] = []
    for i in range(t.size):
        while len(kept) >= 2:
            a, b = kept[-2], kept[-1]
            if (y[b] - y[a]) * (t[i] - t[a]) < (y[i] - y[a]) * (t[b] - t[a]):
                break
            kept.pop()
        kept.append(i)
    return t[kept], y[kept]


def least_squares(t: F64, y: F64) -> float:
    """The line through the middle of the points: carries the mean delay."""
    return float(np.polyfit(t - t[-1], y, 1)[1])


def two_minima(t: F64, y: F64) -> float:
    """The line through the lowest point of the first and of the last third."""
    third = max(t.size // 3, 1)
    a, b = int(np.argmin(y[:third])), t.size - third + int(np.argmin(y[-third:]))
    return float(y[b] + (y[b] - y[a]) / (t[b] - t[a]) * (t[-1] - t[b]))


def newest_edge(t: F64, y: F64) -> float:
    """The hull itself at the newest point."""
    return float(hull(t, y)[1][-1])


def middle_line(t: F64, y: F64) -> float:
    """The hull's edge over the mean time: the linear programme that minimises the sum of distances."""
    ht, hy = hull(t, y)
    k = min(max(int(np.searchsorted(ht, t.mean())), 1), ht.size - 1)
    return float(hy[k] + (hy[k] - hy[k - 1]) / (ht[k] - ht[k - 1]) * (t[-1] - ht[k]))


def ridge_line(t: F64, y: F64, *, sd: float = 50e-6, bias: float = 0.0) -> float:
    """The linear programme with a normal prior on drift; `bias` mean gaps over n are taken off."""
    ht, hy = hull(t, y)
    delay, mean_t = 0.02, t.mean()
    drift = level = 0.0
    for _ in range(5):
        edges = np.append(np.diff(hy) / np.diff(ht), np.inf)
        best = sd**2 * t.size / delay * (mean_t - ht)
        k = int(np.argmax(best <= edges))
        drift = max(best[k], edges[k - 1]) if k else best[k]
        level = float(np.min(hy - drift * ht))
        delay = (max(float(y.mean() - level - drift * mean_t), 0.0) * t.size + 0.06) / (t.size + 1)
    return float(level + drift * t[-1] - bias * delay / t.size)


def ridge_less_bias(t: F64, y: F64) -> float:
    """`ridge_line` less the two mean gaps over n by which it lies too high on average."""
    return ridge_line(t, y, bias=2.0)


ESTIMATORS: dict[str, Estimator] = {
    "least squares": least_squares,
    "two minima": two_minima,
    "hull, newest edge": newest_edge,
    "hull at mean time = LP": middle_line,
    "LP + ridge on drift": ridge_line,
    "LP + ridge - bias": ridge_less_bias,
}


def table(seeds: int = 20) -> str:
    """Root mean square error in ms over seeds and instants, at 3 to 5 s and at 50 to 60 s."""
    lines = ["| estimator | " + " | ".join(CASES) + " |", "|---|" + "---:|" * len(CASES)]
    for name, estimate in ESTIMATORS.items():
        cells = []
        for case in CASES.values():
            early: list[float] = []
            late: list[float] = []
            for seed in range(seeds):
                true, device, arrival = simulate(case, seed)
                t, y, error = seconds(device - device[0]), seconds(arrival - device), seconds(true - device)
                for errors, ends in ((early, (3, 4, 5)), (late, (50, 52, 54, 56, 58, 60))):
                    for second in ends:
                        n = second * 50
                        errors.append(estimate(t[:n], y[:n]) - error[n - 1])
            cells.append(" / ".join(f"{1e3 * np.sqrt(np.mean(np.square(e))):.3f}" for e in (early, late)))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
