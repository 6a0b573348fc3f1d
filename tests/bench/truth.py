"""What the reference job must give: windows and anomalies by the polars baseline, rows by the oracle of our align."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from operators.definition import TwinType
from tests.bench import oracle
from tests.bench.jobs import BASELINES, environment
from tests.bench.stage import Stage

NEAR = 1e-9
"""Largest relative deviation of a figure that two programs compute."""
SIGNALS = {"imu": "imu.0", "odom": "odom.0", "lidar": "lidar.0", "temp": "temp"}
SECOND = 1_000_000_000
JOB_SECS = 300


class Deviation(Exception):
    """A table is not what it must be: which, where first, how often."""


@dataclass(frozen=True)
class Truth:
    """Frames with the columns, names and order of our tables.

    Attributes:
        windows: device, signal, window_start_ns, count, mean, sd.
        anomalies: device, signal, ts_ns, score.
        rows: device, ts_ns, one column per signal, skew_ns, degraded.
        newest: newest event time by device, ns.
        bad: messages that are no JSON.
    """

    windows: pl.DataFrame
    anomalies: pl.DataFrame
    rows: pl.DataFrame
    newest: pl.DataFrame
    bad: int

    def save(self, folder: Path) -> None:
        """Keep it, for runs over the same topic."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in FRAMES:
            getattr(self, name).write_parquet(folder / f"{name}.parquet")
        (folder / "bad").write_text(str(self.bad))

    @staticmethod
    def saved(folder: Path) -> Truth | None:
        """What `save` kept there."""
        if not (folder / "bad").exists():
            return None
        frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in FRAMES}
        return Truth(**frames, bad=int((folder / "bad").read_text()))


FRAMES = ("windows", "anomalies", "rows", "newest")


def truth(stage: Stage, topic: str, n: int, twin: TwinType) -> Truth:
    """Of the messages of a topic; the offline baseline runs as it is and writes its results to a topic."""
    out = stage.output("polars")
    given = environment(stage, topic, out, n)
    command = [sys.executable, str(BASELINES / "jobs" / "polars_offline.py")]
    subprocess.run(command, env=os.environ | given, check=True, timeout=JOB_SECS, stdout=subprocess.DEVNULL)
    lines = list(stage.values(out))
    stage.delete(out)
    samples, bad = samples_of(stage.values(topic))
    return Truth(
        windows=_frame(lines, b'"w":').select(
            "device",
            _signal(),
            window_start_ns=pl.col("w") * SECOND,
            count=pl.col("n").cast(pl.Int64),
            mean="mean",
            sd="std",
        ),
        anomalies=_frame(lines, b'"z":').select("device", _signal(), ts_ns="ts", score="z"),
        rows=oracle.rows(samples, twin),
        newest=samples.group_by("device").agg(newest=pl.col("ts").max()),
        bad=bad,
    )


def _signal() -> pl.Expr:
    return pl.col("sensor").replace_strict(SIGNALS).alias("signal")


def _frame(lines: Iterable[bytes], mark: bytes) -> pl.DataFrame:
    return pl.read_ndjson(io.BytesIO(b"\n".join(line for line in lines if mark in line)))


def samples_of(values: Iterable[bytes]) -> tuple[pl.DataFrame, int]:
    """device, signal, ts, value of the first element; and how many values are cut off."""
    scalars, vectors, bad = [], [], 0
    for value in values:
        if not value.endswith(b"}"):
            bad += 1
        elif b'"v":[' in value:
            vectors.append(value)
        else:
            scalars.append(value)
    parts = [
        pl.read_ndjson(
            io.BytesIO(b"\n".join(lines)),
            schema={"device": pl.String, "sensor": pl.String, "ts": pl.Int64, "v": kind},
        ).select("device", _signal(), "ts", value=value)
        for lines, kind, value in (
            (vectors, pl.List(pl.Float64), pl.col("v").list.first()),
            (scalars, pl.Float64(), pl.col("v")),
        )
    ]
    return pl.concat(parts), bad


def compare(tables: Mapping[str, pa.Table], true: Truth, twin: TwinType, *, closed: bool) -> dict[str, object]:
    """Row counts and the largest deviation of our tables from the truth.

    Args:
        tables: `windows`, `rows`, `anomalies`, as collected from the topics.
        true: what they must be.
        twin: the type.
        closed: ticks have closed everything; without, windows and rows that the watermark has not passed may be
            missing, and only they.

    Raises:
        Deviation: a row is missing, too many, or wrong.
    """
    assert twin.align is not None
    names = [s.name for s in twin.signals]
    settle = max(gap for gap, linear in zip(twin.align.max_gap_ns, twin.align.linear, strict=True) if linear)
    wait, length = twin.window.wait_ns, twin.window.length_ns
    largest: dict[str, float] = {}
    counts: dict[str, int] = {}
    ends = {
        "windows": pl.col("window_start_ns") + length,
        "rows": pl.col("ts_ns") + settle,
        "anomalies": pl.lit(0),
    }
    exact = {"windows": ["count"], "rows": ["skew_ns", "degraded"], "anomalies": []}
    near = {"windows": ["mean", "sd"], "rows": names, "anomalies": ["score"]}
    keys = {
        "windows": ["device", "signal", "window_start_ns"],
        "rows": ["device", "ts_ns"],
        "anomalies": ["device", "signal", "ts_ns"],
    }
    for name, expected in (("windows", true.windows), ("rows", true.rows), ("anomalies", true.anomalies)):
        ours = pl.from_arrow(tables[name])
        assert isinstance(ours, pl.DataFrame)
        passed = expected
        if not closed:
            marks = expected.join(true.newest, on="device", how="left").with_columns(mark=pl.col("newest") - wait)
            passed = marks.filter(ends[name] < pl.col("mark")).select(expected.columns)
        _same_keys(name, ours, passed, expected, keys[name])
        both = expected.join(ours, on=keys[name], how="inner", suffix="_ours")
        for column in exact[name]:
            wrong = both.filter(pl.col(column).ne_missing(pl.col(f"{column}_ours")))
            if wrong.height:
                raise Deviation(f"{name}.{column}: {wrong.height} of {both.height} differ, first {wrong.row(0)}")
        for column in near[name]:
            largest[f"{name}.{column}"] = _deviation(name, column, both)
        counts[name] = ours.height
    return {**counts, "largest_deviation": largest}


def _same_keys(name: str, ours: pl.DataFrame, must: pl.DataFrame, may: pl.DataFrame, keys: list[str]) -> None:
    twice = ours.height - ours.select(keys).n_unique()
    extra = ours.join(may, on=keys, how="anti")
    missing = must.join(ours, on=keys, how="anti")
    if twice or extra.height or missing.height:
        some = (extra if extra.height else missing).select(keys).head(1).rows()
        raise Deviation(
            f"{name}: {missing.height} of {must.height} missing, {extra.height} too many, {twice} twice, first {some}"
        )


def _deviation(name: str, column: str, both: pl.DataFrame) -> float:
    ours, theirs = both[f"{column}_ours"], both[column]
    if not ours.is_null().equals(theirs.is_null()):
        raise Deviation(f"{name}.{column}: valid in other rows")
    a, b = ours.drop_nulls().to_numpy(), theirs.drop_nulls().to_numpy()
    off = np.abs(a - b) / np.maximum(1.0, np.abs(b))
    found = float(off.max(initial=0.0))
    if not found <= NEAR:
        raise Deviation(f"{name}.{column}: off by {found:g} of its value, {int((off > NEAR).sum())} of {off.size} rows")
    return found
