"""What windows and rows must be, computed offline over the whole recording: polars and numpy, no streaming."""

from __future__ import annotations

import numpy as np
import polars as pl

from operators.definition import TwinType
from operators.types import F64, I64
from tests.bench.generated import Recording

SECOND = 1_000_000_000


def frame(recording: Recording) -> pl.DataFrame:
    """The good samples as a frame (device, signal, ts, value)."""
    good = ~recording.bad
    names = [f"probe-{d:03d}" for d in range(int(recording.device.max()) + 1)]
    return pl.DataFrame(
        {
            "device": np.array(names)[recording.device[good]],
            "signal": np.array(["a", "b"])[recording.signal[good]],
            "ts": recording.ts[good],
            "value": recording.value[good],
        }
    )


def windows(samples: pl.DataFrame) -> pl.DataFrame:
    """1 s tumbling windows, sorted by device, signal, start."""
    return (
        samples.group_by("device", "signal", (pl.col("ts") // SECOND * SECOND).alias("window_start_ns"))
        .agg(
            pl.len().cast(pl.Int64).alias("count"),
            pl.col("value").mean().alias("mean"),
            pl.col("value").std(ddof=0).alias("sd"),
            pl.col("value").min().alias("min"),
            pl.col("value").max().alias("max"),
        )
        .sort("device", "signal", "window_start_ns")
    )


def _linear(t: I64, x: F64, grid: I64, max_gap: int) -> tuple[F64, I64]:
    """Value between neighbours at most `max_gap` apart, the sample itself where it lies on the grid; and the skew."""
    after = np.searchsorted(t, grid, side="left").clip(0, t.size - 1)
    before = (np.searchsorted(t, grid, side="right") - 1).clip(0)
    exact = t[after] == grid
    span = t[after] - t[before]
    inside = (t[before] < grid) & (grid < t[after]) & (span <= max_gap)
    share = np.where(inside, (grid - t[before]) / np.maximum(span, 1), 0.0)
    value = np.where(exact, x[after], np.where(inside, x[before] + share * (x[after] - x[before]), np.nan))
    skew = np.where(inside & ~exact, np.maximum(grid - t[before], t[after] - grid), 0)
    return value, skew


def _previous(t: I64, x: F64, grid: I64, max_gap: int) -> tuple[F64, I64]:
    before = np.searchsorted(t, grid, side="right") - 1
    near = (before >= 0) & (grid - t[before.clip(0)] <= max_gap)
    return np.where(near, x[before.clip(0)], np.nan), np.where(near, grid - t[before.clip(0)], 0)


def rows(samples: pl.DataFrame, twin: TwinType) -> pl.DataFrame:
    """Aligned rows of a type of which no sample is late, sorted by device, ts_ns; null where a signal is not valid."""
    assert twin.align is not None
    spec, names = twin.align, [s.name for s in twin.signals]
    parts = []
    for (device,), part in samples.sort("ts").group_by("device", maintain_order=True):
        ts = part["ts"].to_numpy()
        grid = np.arange(-(-ts[0] // spec.every_ns) * spec.every_ns, ts[-1] + 1, spec.every_ns)
        columns = {}
        skew = np.zeros(grid.size, np.int64)
        for name, linear, max_gap in zip(names, spec.linear, spec.max_gap_ns, strict=True):
            one = part.filter(pl.col("signal") == name).unique("ts", keep="last").sort("ts")
            if not one.height:
                columns[name] = np.full(grid.size, np.nan)
                continue
            method = _linear if linear else _previous
            columns[name], distance = method(one["ts"].to_numpy(), one["value"].to_numpy(), grid, max_gap)
            skew = np.maximum(skew, distance)
        valid = ~np.isnan(np.column_stack([columns[name] for name in names]))
        degraded = ~valid[:, np.array(spec.required)].all(axis=1)
        if spec.max_skew_ns is not None:
            degraded |= skew > spec.max_skew_ns
        told = {"device": [device] * grid.size, "ts_ns": grid, **columns, "skew_ns": skew, "degraded": degraded}
        parts.append(pl.DataFrame(told).filter(valid.any(axis=1)))
    return pl.concat(parts).sort("device", "ts_ns").with_columns(pl.col(name).fill_nan(None) for name in names)
