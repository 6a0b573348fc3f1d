"""What windows and rows must be, computed offline over the whole recording: polars and numpy, no streaming."""

from __future__ import annotations

import numpy as np
import polars as pl

from operators.types import F64, I64
from tests.bench.generated import Recording

SECOND = 1_000_000_000
EVERY, MAX_GAP = SECOND // 10, 4 * SECOND // 10


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


def _linear(t: I64, x: F64, grid: I64) -> tuple[F64, I64]:
    """Value between neighbours at most MAX_GAP apart, the sample itself where it lies on the grid; and the skew."""
    after = np.searchsorted(t, grid, side="left").clip(0, t.size - 1)
    before = (np.searchsorted(t, grid, side="right") - 1).clip(0)
    exact = t[after] == grid
    span = t[after] - t[before]
    inside = (t[before] < grid) & (grid < t[after]) & (span <= MAX_GAP)
    share = np.where(inside, (grid - t[before]) / np.maximum(span, 1), 0.0)
    value = np.where(exact, x[after], np.where(inside, x[before] + share * (x[after] - x[before]), np.nan))
    skew = np.where(inside & ~exact, np.maximum(grid - t[before], t[after] - grid), 0)
    return value, skew


def _previous(t: I64, x: F64, grid: I64) -> tuple[F64, I64]:
    before = np.searchsorted(t, grid, side="right") - 1
    near = (before >= 0) & (grid - t[before.clip(0)] <= MAX_GAP)
    return np.where(near, x[before.clip(0)], np.nan), np.where(near, grid - t[before.clip(0)], 0)


def rows(samples: pl.DataFrame) -> pl.DataFrame:
    """100 ms grid rows of the probe type, sorted by device, ts_ns."""
    parts = []
    for (device,), part in samples.sort("ts").group_by("device", maintain_order=True):
        ts = part["ts"].to_numpy()
        grid = np.arange(-(-ts[0] // EVERY) * EVERY, ts[-1] + 1, EVERY)
        columns = {}
        skew = np.zeros(grid.size, np.int64)
        for name, method in (("a", _linear), ("b", _previous)):
            one = part.filter(pl.col("signal") == name).unique("ts", keep="last").sort("ts")
            columns[name], distance = method(one["ts"].to_numpy(), one["value"].to_numpy(), grid)
            skew = np.maximum(skew, distance)
        found = pl.DataFrame({"device": [device] * grid.size, "ts_ns": grid, **columns, "skew_ns": skew})
        parts.append(found.filter(pl.col("a").is_not_nan() | pl.col("b").is_not_nan()))
    table = pl.concat(parts).sort("device", "ts_ns")
    return table.with_columns(degraded=pl.col("a").is_nan(), a=pl.col("a").fill_nan(None), b=pl.col("b").fill_nan(None))
