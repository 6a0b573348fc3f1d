"""Points for a chart: raw where there are few, else least, mean and greatest per pixel column, so that peaks stay."""

from __future__ import annotations

import msgspec
import numpy as np

from operators.types import F64, I64


class Points(msgspec.Struct, omit_defaults=True):
    """One signal: `t` in ns UTC, of the sample or the start of its bucket; `v` the sample or the mean; `lo`, `hi` only
    for buckets."""

    t: list[int]
    v: list[float]
    lo: list[float] | None = None
    hi: list[float] | None = None


def reduced(t: I64, v: F64, *, from_ns: int, to_ns: int, points: int) -> Points:
    """Points of [from_ns, to_ns], raw up to 2 * points of them.

    Args:
        t: int64[n], ascending. v: float64[n].
        points: buckets, such as the pixel columns of a chart.

    >>> reduced(np.arange(8), np.arange(8.0), from_ns=0, to_ns=7, points=2).hi
    [3.0, 7.0]
    """
    rows = slice(int(np.searchsorted(t, from_ns)), int(np.searchsorted(t, to_ns, side="right")))
    t, v = t[rows], v[rows]
    if t.size <= 2 * points:
        return Points(t.tolist(), v.tolist())
    width = max((to_ns - from_ns) // points + 1, 1)
    bucket = (t - from_ns) // width
    starts = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
    counts = np.diff(np.append(starts, t.size))
    return Points(
        t=(from_ns + bucket[starts] * width).tolist(),
        v=(np.add.reduceat(v, starts) / counts).tolist(),
        lo=np.minimum.reduceat(v, starts).tolist(),
        hi=np.maximum.reduceat(v, starts).tolist(),
    )
