"""Results as Arrow tables: the columns people, files, topics and the history see, the same ones everywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from operators.align import AlignOutput
from operators.definition import TwinType
from operators.detect import Anomalies, Detect
from operators.types import I32, Batch, Mask
from operators.window import WindowOutput
from operators.windows import Named

TEXT = pa.dictionary(pa.int32(), pa.string())
WINDOW_KEY = ("device", "signal", "window_start_ns", "revision")
NAMED_KEY = ("window", *WINDOW_KEY)


FEW = 64
"""Up to so many codes a plain loop is faster than columns."""


def _text(codes: NDArray[Any], names: Sequence[str]) -> pa.Array:
    """A text column from codes, with a dictionary of the names in use only."""
    if not codes.size:
        return pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
    if codes.size <= FEW:
        place_of: dict[int, int] = {}
        few = [place_of.setdefault(code, len(place_of)) for code in codes.tolist()]
        return pa.DictionaryArray.from_arrays(
            pa.array(few, pa.int32()), pa.array([names[code] for code in place_of], pa.string())
        )
    low, high = int(codes.min()), int(codes.max())
    if high - low > 4 * codes.size + 1000:  # few codes, far apart: sorting them is cheaper than counting
        used, places = np.unique(codes, return_inverse=True)
    else:
        used = np.flatnonzero(np.bincount(codes - low)) + low
        place = np.zeros(high - low + 1, np.int32)
        place[used - low] = np.arange(used.size)
        places = place[codes - low]
    dictionary = pa.array([names[i] for i in used.tolist()], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), dictionary)


def device_and_signal(series: I32, twin: TwinType, names: Sequence[str]) -> dict[str, pa.Array]:
    """The columns `device` and `signal` of a series column."""
    signals = [s.name for s in twin.signals]
    return {"device": _text(series // len(signals), names), "signal": _text(series % len(signals), signals)}


def windows_table(out: WindowOutput, twin: TwinType, names: Sequence[str]) -> pa.Table:
    """device, signal, window [start, end) ns, count, mean, sd, min, max, slope /s, rms, revision, is_final, offset."""
    columns = ("count", "mean", "sd", "min", "max", "slope", "rms", "revision", "is_final", "offset")
    return pa.table(
        device_and_signal(out.series, twin, names)
        | {"window_start_ns": pa.array(out.start_ns), "window_end_ns": pa.array(out.end_ns)}
        | {name: pa.array(getattr(out, name)) for name in columns}
    )


def named_windows_table(named: Named, twin: TwinType, names: Sequence[str]) -> pa.Table:
    """As `windows_table`, with `window`, the id in the type, and `statistics`, a map of what else it was asked for."""
    spec, out = named
    table = windows_table(out, twin, names)
    columns = spec.columns
    offsets = pa.array(np.arange(len(out) + 1, dtype=np.int32) * np.int32(len(columns)))
    keys = pa.array(list(columns) * len(out), pa.string())
    statistics = pa.MapArray.from_arrays(offsets, keys, pa.array(out.extra.reshape(-1)))
    table = table.add_column(2, "window", _text(np.zeros(len(out), np.int32), [spec.id]))
    return table.add_column(table.num_columns - 1, "statistics", statistics)


def rows_table(out: AlignOutput, twin: TwinType, names: Sequence[str]) -> pa.Table:
    """device, ts_ns, one column per signal (null where not valid), skew_ns, degraded, offset."""
    signals = {
        s.name: pa.array(np.ascontiguousarray(out.value[:, i]), mask=~out.valid[:, i])
        for i, s in enumerate(twin.signals)
    }
    return pa.table(
        {"device": _text(out.device, names), "ts_ns": pa.array(out.ts_ns)}
        | signals
        | {
            "skew_ns": pa.array(out.skew_ns),
            "degraded": pa.array(out.degraded),
            "offset": pa.array(out.offset),
        }
    )


def anomalies_table(found: Anomalies, detect: Detect, twin: TwinType, names: Sequence[str]) -> pa.Table:
    """device, signal, detector, ts_ns, score, threshold, severity 0-1, level, cause, ranked (JSON), offset."""
    signals = [s.name for s in twin.signals]
    ranked = [
        json.dumps([[signals[i], round(x, 4)] for i, x in zip(ids, shares, strict=True) if i >= 0])
        for ids, shares in zip(found.ranked.tolist(), found.share.tolist(), strict=True)
    ]
    thresholds = np.array([spec.threshold for spec in detect.specs] or [0.0])
    return pa.table(
        {
            "device": _text(found.device, names),
            "signal": _text(found.signal, signals),
            "detector": _text(found.detector, [spec.id for spec in detect.specs]),
            "ts_ns": pa.array(found.ts_ns),
            "score": pa.array(found.score),
            "threshold": pa.array(thresholds[found.detector]),
            "severity": pa.array(found.severity),
            "level": _text(found.alarm.astype(np.int32), ("warn", "alarm")),
            "cause": pa.array(detect.causes(found), pa.string()),
            "ranked": pa.array(ranked, pa.string()),
            "offset": pa.array(found.offset),
        }
    )


def samples_table(batch: Batch, twin: TwinType, names: Sequence[str]) -> pa.Table:
    """device, signal, ts_ns, arrival_ns, value, quality, seq, offset of the given samples."""
    return pa.table(
        device_and_signal(batch.series, twin, names)
        | {
            "ts_ns": pa.array(batch.ts),
            "arrival_ns": pa.array(batch.arrival),
            "value": pa.array(batch.value),
            "quality": pa.array(batch.quality),
            "seq": pa.array(batch.seq),
            "offset": pa.array(batch.offset),
        }
    )


def latest_revisions(windows: pa.Table, key: Sequence[str] = WINDOW_KEY) -> pa.Table:
    """One row per window and revision: where a revision was told again as final, the final one stays."""
    if not windows.num_rows:
        return windows
    order = pc.sort_indices(plain(windows), [*((k, "ascending") for k in key), ("is_final", "ascending")])
    ordered = windows.take(order)
    same: Mask = np.ones(ordered.num_rows - 1, np.bool_)
    for name in key:
        kind = ordered.schema.field(name).type
        column = ordered[name].cast(pa.string()) if pa.types.is_dictionary(kind) else ordered[name]
        same &= pc.equal(column.slice(1), column.slice(0, ordered.num_rows - 1)).to_numpy()
    return ordered.filter(pa.array(np.append(~same, True)))


def plain(table: pa.Table) -> pa.Table:
    """The same table with text columns as text, in one chunk each."""
    columns = [c.cast(pa.string()) if pa.types.is_dictionary(c.type) else c for c in table.columns]
    return pa.table(columns, names=table.column_names).combine_chunks()


def table_hash(table: pa.Table, keys: Sequence[str], *, without: Sequence[str] = ()) -> str:
    """sha256 of the rows in the order of `keys`, whatever order, chunks and text encoding they came in.

    >>> a = pa.table({"k": [2, 1], "v": [0.5, None]})
    >>> table_hash(a, ["k"]) == table_hash(a.take([1, 0]), ["k"])
    True
    """
    kept = plain(table.drop_columns([c for c in without if c in table.column_names]))
    ordered = kept.take(pc.sort_indices(kept, [(k, "ascending") for k in keys])).combine_chunks()
    digest = hashlib.sha256(",".join(f"{f.name}:{f.type}" for f in ordered.schema).encode())
    for column in ordered.columns:
        if pa.types.is_map(column.type):
            digest.update(str(column.to_pylist()).encode())
            continue
        digest.update(np.packbits(pc.is_valid(column).to_numpy()).tobytes())
        filled = pc.fill_null(column, "" if pa.types.is_string(column.type) else _zero(column.type))
        if pa.types.is_string(filled.type):
            digest.update("\0".join(filled.to_pylist()).encode())
        else:
            digest.update(np.ascontiguousarray(filled.to_numpy()).tobytes())
    return digest.hexdigest()


def _zero(kind: pa.DataType) -> pa.Scalar:
    return pa.scalar(False) if pa.types.is_boolean(kind) else pa.scalar(0).cast(kind)
