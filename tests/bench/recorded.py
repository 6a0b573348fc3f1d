"""Public recordings as samples of the history, as if their devices had sent them live.

Each is a table of times, devices and numbers; a message is a row of it. What the recording does not say is made up as a
broker and telemetry make it: arrival 5 to 60 ms later in whole ms, a sequence number per device, the offset of the
message, blocks of one second of arrival.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from connectors.recordings.recording import open_recording
from flows.settings import TWINS
from operators.definition_yaml import load_fleet

MS, SECOND = 1_000_000, 1_000_000_000
SINCE = 1_700_000_000 * SECOND
"""Start of recordings that count from nothing."""
MOST = 600_000
"""Samples of one recording that are taken, from its beginning."""


def samples_of(name: str, folder: Path) -> pa.Table:
    """Rows of the table `samples`: one recording, NaN and empty cells left out."""
    wide = RECORDINGS[name](folder).sort("ts_ns")
    signals = [c for c in wide.columns if c not in ("ts_ns", "device")]
    n, k = wide.height, len(signals)
    random = np.random.default_rng(1)
    known = np.maximum.accumulate((wide["ts_ns"].to_numpy() // MS + random.integers(5, 60, n)) * MS)
    message = {
        "device": wide["device"],
        "ts_ns": wide["ts_ns"],
        "known_ns": known,
        "seq": wide.select(pl.int_range(pl.len()).over("device").alias("seq"))["seq"],
        "source_offset": np.arange(n),
        "ko": np.cumsum(np.append(0, np.diff(known // SECOND) != 0)).astype(np.uint64),
    }
    rows = pl.DataFrame(message).select(pl.all().repeat_by(k).explode())
    rows = rows.with_columns(
        pl.Series("signal", np.tile(np.array(signals, object), n).tolist()),
        pl.Series("value", wide.select(pl.col(signals).cast(pl.Float64)).to_numpy().reshape(-1)),
        pl.lit(0, pl.UInt8).alias("quality"),
        pl.lit(3, pl.UInt8).alias("kp"),
        pl.lit(name).alias("twin_type"),
    )
    rows = rows.filter(pl.col("value").is_not_nan() & pl.col("value").is_not_null()).head(MOST)
    return rows.with_columns(pl.int_range(pl.len()).over("ko").cast(pl.UInt32).alias("kr")).to_arrow()


def _numbers(table: pl.DataFrame, time: pl.Expr, device: pl.Expr, leave_out: tuple[str, ...] = ()) -> pl.DataFrame:
    kept = [c for c, kind in table.schema.items() if kind.is_numeric() and c not in leave_out]
    return table.select(time.alias("ts_ns"), device.alias("device"), pl.col(kept).cast(pl.Float64))


def _instant(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Datetime("ns")).dt.timestamp("ns")


def _text_instant(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime(time_unit="ns").dt.timestamp("ns")


def _skab(folder: Path) -> pl.DataFrame:
    tables = []
    for path in sorted(folder.glob("skab/data/*/*.csv")):
        table = pl.read_csv(path, separator=";")
        device = pl.lit(f"pump-{path.parent.name}-{path.stem}")
        tables.append(_numbers(table, _text_instant("datetime"), device, ("anomaly", "changepoint")))
    return pl.concat(tables)


def _nab(folder: Path) -> pl.DataFrame:
    read = {
        p.stem: pl.read_csv(p, schema_overrides={"value": pl.Float64}) for p in sorted(folder.glob("nab/data/*/*.csv"))
    }
    return pl.concat([_numbers(t, _text_instant("timestamp"), pl.lit(name)) for name, t in read.items()])


def _beijing(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "beijing_air" / "2013-03_2016-02.parquet")
    return _numbers(table, _instant("time"), pl.col("station"))


def _occupancy(folder: Path) -> pl.DataFrame:
    tables = [pl.read_csv(folder / "occupancy" / f"{name}.csv") for name in ("datatest", "datatraining")]
    kept = ["date", "Temperature", "Humidity", "Light", "CO2", "HumidityRatio"]
    return pl.concat([_numbers(t.select(kept), _text_instant("date"), pl.lit("room")) for t in tables])


def _traffic(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "traffic_i94" / "until_2017-09.parquet")
    time = _text_instant("date_time") if table["date_time"].dtype == pl.String else _instant("date_time")
    return _numbers(table, time, pl.lit("i94"))


def _car(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "carobd" / "trips_dev.parquet")
    trip = (pl.col("trip").rank("dense").cast(pl.Int64) * 10_000 + pl.col("row").cast(pl.Int64)) * SECOND + SINCE
    return _numbers(table, trip, pl.lit("car-1"), ("trip", "row"))


def _imu(folder: Path) -> pl.DataFrame:
    table = pl.read_csv(gzip.decompress((folder / "imu_fusion" / "sensor_data.csv.gz").read_bytes()))
    time = table.columns[0]
    us = (pl.col(time) * 1e6).round().cast(pl.Int64) * 1000
    return _numbers(table, us + SINCE, pl.lit("imu-1"), (time,))


def _robots(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "mrclam1" / "odometry.parquet")
    time = (pl.col("t") * 1000).round().cast(pl.Int64) * MS
    return _numbers(table, time, pl.col("robot").cast(pl.String), ("t", "robot"))


def _person(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "gps_traces" / "geolife_001.parquet")
    time = _text_instant("datetime") if table["datetime"].dtype == pl.String else _instant("datetime")
    return _numbers(table.select("datetime", "lat", "lng"), time, pl.lit("person-1"))


def _homes(folder: Path) -> pl.DataFrame:
    tables = []
    for path in sorted(folder.glob("citylearn2022/Building_*.csv.gz")):
        table = pl.read_csv(gzip.decompress(path.read_bytes()))
        tables.append(_numbers(table, pl.int_range(pl.len()) * 3600 * SECOND + SINCE, pl.lit(path.name[:10])))
    return pl.concat(tables)


def _bearings(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "femto" / "learning_features.parquet")
    time = pl.col("t_s").cast(pl.Int64) * SECOND + SINCE
    return _numbers(table, time, pl.col("bearing"), ("set", "snapshot", "t_s", "clock_s", "rows"))


def _husky(folder: Path) -> pl.DataFrame:
    fleet = load_fleet(TWINS / "fleet.yaml", TWINS)
    recording = open_recording(folder / "ros_husky" / "husky.mcap", device="husky-1", type_of=fleet.type_of)
    rows = []
    for piece in recording.pieces():
        for ts, body in zip(piece.ts.tolist(), piece.body, strict=True):
            row = {"ts_ns": ts, "device": "husky-1"}
            for name, value in json.loads(f"{{{body}}}").items():
                row |= {f"{name}.{i}": v for i, v in enumerate(value)} if isinstance(value, list) else {name: value}
            rows.append(row)
    return pl.from_dicts(rows, infer_schema_length=None)


RECORDINGS: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    "skab": _skab,
    "nab": _nab,
    "citylearn2022": _homes,
    "ros_husky": _husky,
    "beijing_air": _beijing,
    "occupancy": _occupancy,
    "traffic_i94": _traffic,
    "carobd": _car,
    "imu_fusion": _imu,
    "mrclam1": _robots,
    "gps_traces": _person,
    "femto": _bearings,
}
"""By the name of their folder: ts_ns, device and a column per signal."""
