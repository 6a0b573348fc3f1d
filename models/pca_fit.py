"""Fits the model of `models.pca` from the warm-up rows of one device: once, robustly, the same at any batch cut."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.types import F64, I64, Mask

CLIP = 5.0
"""Warm-up values are cut to so many robust standard deviations."""


class Model(NamedTuple):
    """Columns over devices d of k signals.

    Attributes:
        fitted: bool[d].
        centre, scale: float64[d, k], of the signal; scale 0 = the signal takes no part.
        level, recent: float64[d, k], smoothed value, and the level of the last 50 rows or so.
        projection: float64[d, k, k], onto the components.
        inverse: float64[d, k, k], T2 = z' inverse z; zeros where T2 is not wanted.
        noise: float64[d, k], sd of the residual of each signal, in scales.
        limit: float64[d, 4], mean and degrees of freedom of Q and of T2.
        alarmed: int64[d], rows above `hold` without a break.
    """

    fitted: Mask
    centre: F64
    scale: F64
    level: F64
    recent: F64
    projection: F64
    inverse: F64
    noise: F64
    limit: F64
    alarmed: I64


def new_models(devices: int, features: int) -> Model:
    """Columns for so many devices, none fitted."""
    flat, square = (devices, features), (devices, features, features)
    return Model(
        fitted=np.zeros(devices, np.bool_),
        centre=np.zeros(flat),
        scale=np.zeros(flat),
        level=np.zeros(flat),
        recent=np.zeros(flat),
        projection=np.zeros(square),
        inverse=np.zeros(square),
        noise=np.zeros(flat),
        limit=np.zeros((devices, 4)),
        alarmed=np.zeros(devices, np.int64),
    )


def fit(m: Model, d: int, rows: F64, components: float, smooth: float, t2: bool) -> None:
    """Fit device d from its warm-up rows, float64[warmup, k], NaN = missing."""
    x, level = _smoothed(rows, smooth)
    centre, scale = _robust_scale(x)
    z = np.zeros_like(x)
    np.divide(x - centre, scale, out=z, where=scale > 0.0)
    z = np.clip(np.nan_to_num(z), -CLIP, CLIP)
    shift = z.mean(axis=0)
    z -= shift
    active = int(np.count_nonzero(scale))
    variance, axes = np.linalg.eigh(z.T @ z / len(z))
    variance, axes = np.maximum(variance[::-1], 0.0), axes[:, ::-1]
    kept = _components(variance, components, active)
    axes, variance = axes[:, :kept], variance[:kept]
    m.projection[d] = axes @ axes.T
    m.inverse[d] = (axes / variance) @ axes.T if t2 else 0.0
    residual = z - z @ m.projection[d]
    m.limit[d, :2] = _box(np.sum(residual**2, axis=1))
    m.limit[d, 2:] = _box(np.sum((z @ m.inverse[d]) * z, axis=1))
    m.noise[d] = residual.std(axis=0)
    m.centre[d], m.scale[d] = centre + shift * scale, scale
    m.level[d] = np.where(np.isnan(level), centre, level)
    m.recent[d] = m.centre[d]
    m.alarmed[d] = 0
    m.fitted[d] = True


def _smoothed(rows: F64, smooth: float) -> tuple[F64, F64]:
    """Each value averaged exponentially with those before it; a missing one stays missing. Also the last averages."""
    out, level = np.empty_like(rows), np.full(rows.shape[1], np.nan)
    for i, row in enumerate(rows):
        step = np.where(np.isnan(level), row, level + smooth * (row - level))
        level = np.where(np.isnan(row), level, step)
        out[i] = np.where(np.isnan(row), np.nan, level)
    return out, level


def _robust_scale(x: F64) -> tuple[F64, F64]:
    """Median and 1.4826 MAD of each column; the sd where more than half are equal; 0 where nothing moves."""
    centre, scale = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for j in range(x.shape[1]):
        column = x[~np.isnan(x[:, j]), j]
        if column.size:
            centre[j] = np.median(column)
            mad, sd = 1.4826 * np.median(np.abs(column - centre[j])), column.std()
            best = mad if mad > 0.1 * sd else sd
            scale[j] = best if best > 1e-9 * max(1.0, abs(centre[j])) else 0.0
    return centre, scale


def _components(variance: F64, wanted: float, active: int) -> int:
    """How many components to keep, leaving at least one direction for the residual."""
    most = int(np.count_nonzero(variance > 1e-9))
    if wanted >= 1.0:
        return min(int(wanted), active - 1, most) if active > 1 else 0
    share = np.cumsum(variance) / max(float(variance.sum()), 1e-300)
    return max(min(int(np.searchsorted(share, wanted)) + 1, active - 1, most), 0)


def _box(s: F64) -> tuple[float, float]:
    """Mean and degrees of freedom of the g chi-squared(h) with the moments of s."""
    mean, var = float(s.mean()), float(s.var())
    return (mean, min(max(2.0 * mean * mean / var, 0.5), 1e6)) if mean > 1e-12 and var > 0.0 else (0.0, 1.0)
