"""Roll-ups of samples: count, sum, min, max per series and 1 s, 1 min, 1 h, added up insert by insert.

An insert carries the sums of its own rows and their largest ko, so the roll-up table knows its position like every
other table, and a restart adds nothing twice. At the start the counts are compared with the samples themselves; hours
that do not agree are made anew.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connectors.clickhouse import ClickHouse
from flows.tables import TEXT
from operators.types import I64, Mask

STEPS_SECS = (1, 60, 3600)
HOUR_NS = 3_600_000_000_000
CHECKED_NS = 2 * HOUR_NS
"""How far back from its newest hour the table is compared at the start."""

log = logging.getLogger("twinflow.history")


def rolled_up(samples: pa.Table) -> pa.Table:
    """Rows of the table `rollups` that the given samples add; values that are no number are left out.

    >>> row = {"device": ["p"], "signal": ["a"], "ts_ns": [61 * 10**9], "value": [2.0]}
    >>> table = rolled_up(pa.table(row | {"known_ns": [5], "kp": [0], "ko": [7]}))
    >>> table["step_s"].to_pylist(), table["start_ns"].to_pylist()
    ([1, 60, 3600], [61000000000, 60000000000, 0])
    """
    samples = samples.select(_READ).filter(pc.is_finite(samples["value"])).unify_dictionaries().combine_chunks()
    device, signal = (_coded(samples[name].combine_chunks()) for name in ("device", "signal"))
    series = device.indices.to_numpy().astype(np.int64) * len(signal.dictionary) + signal.indices.to_numpy()
    key = series << 8 | samples["kp"].to_numpy()
    order = np.lexsort((samples["ts_ns"].to_numpy(), key))
    columns = {name: samples[name].to_numpy()[order] for name in ("ko", "known_ns", "value")}
    value = columns.pop("value")
    columns |= {"count": np.ones(value.size, np.int64), "sum": value, "min": value, "max": value}
    columns |= {"key": key[order], "start_ns": samples["ts_ns"].to_numpy()[order]}
    parts = []
    for step in STEPS_SECS:
        columns = _grouped(columns, step)
        parts.append({"step_s": np.full(columns["key"].size, step, np.uint16), **columns})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    key = found.pop("key")
    series, found["kp"] = key >> 8, (key & 255).astype(np.uint8)
    text = {"device": (device, series // len(signal.dictionary)), "signal": (signal, series % len(signal.dictionary))}
    names = {
        name: pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), coded.dictionary).cast(TEXT)
        for name, (coded, codes) in text.items()
    }
    return pa.table(names | found)


_READ = ["device", "signal", "ts_ns", "known_ns", "value", "kp", "ko"]
_REDUCE = {
    **dict.fromkeys(("ko", "known_ns", "max"), np.maximum.reduceat),
    **dict.fromkeys(("count", "sum"), np.add.reduceat),
    "min": np.minimum.reduceat,
}


def _coded(texts: pa.Array) -> pa.DictionaryArray:
    return texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()


def _grouped(columns: Mapping[str, NDArray[Any]], step: int) -> dict[str, NDArray[Any]]:
    """Neighbours of one series and one step of time as one row each; the columns are in order of key and start."""
    ns = step * 1_000_000_000
    key, start = columns["key"], columns["start_ns"] // ns * ns
    changes: Mask = np.ones(key.size, np.bool_)
    changes[1:] = (key[1:] != key[:-1]) | (start[1:] != start[:-1])
    first = np.flatnonzero(changes)
    return {
        **{name: reduce(columns[name], first) for name, reduce in _REDUCE.items()},
        "key": key[first],
        "start_ns": start[first],
    }


_WRONG_HOURS = """
SELECT hour FROM (
    SELECT intDiv(start_ns, {hour:Int64}) AS hour, toInt64(count) AS rolled, 0 AS counted FROM rollups
    WHERE step_s = {step:UInt16} AND start_ns >= {since:Int64}
    UNION ALL
    SELECT intDiv(ts_ns, {hour:Int64}), 0, 1 FROM samples
    WHERE ts_ns >= {since:Int64} AND isFinite(value) AND ko < arrayElement({held:Array(UInt64)}, kp + 1)
) GROUP BY hour HAVING sum(rolled) != sum(counted)
"""
_REBUILD = """
INSERT INTO rollups (step_s, device, signal, start_ns, kp, ko, known_ns, count, sum, min, max)
SELECT {step:UInt16}, device, signal, intDiv(ts_ns, {ns:Int64}) * {ns:Int64} AS start, kp, max(ko), max(known_ns),
       count(), sum(value), min(value), max(value)
FROM samples FINAL
WHERE ts_ns >= {from:Int64} AND ts_ns < {to:Int64} AND isFinite(value)
      AND ko < arrayElement({held:Array(UInt64)}, kp + 1)
GROUP BY device, signal, start, kp
"""


def mended(client: ClickHouse, held: I64) -> list[int]:
    """Compare the newest hours of every step with the samples, make anew what differs; the hours that were.

    To be called while nobody writes. Dies it halfway, the next call finds the hour again.

    Args:
        client: as the writer.
        held: int64[256], next offset of the roll-up table by partition: later samples are not in it yet.
    """
    [(newest,)] = client.rows("SELECT max(start_ns) FROM rollups WHERE step_s = 3600")
    parameters: dict[str, Any] = {"since": int(newest) - CHECKED_NS, "hour": HOUR_NS, "held": held.tolist()}
    wrong: set[int] = set()
    for step in STEPS_SECS:
        wrong |= {int(hour) * HOUR_NS for (hour,) in client.rows(_WRONG_HOURS, {**parameters, "step": step})}
    for hour in sorted(wrong):
        _rebuild(client, hour, held)
        log.warning("roll-ups of hour %d did not agree with the samples and were made anew", hour)
    return sorted(wrong)


def _rebuild(client: ClickHouse, hour: int, held: I64) -> None:
    span = {"from": hour, "to": hour + HOUR_NS}
    client.run(
        "ALTER TABLE rollups DELETE WHERE start_ns >= {from:Int64} AND start_ns < {to:Int64}",
        span,
        settings={"mutations_sync": 1},
    )
    for step in STEPS_SECS:
        client.run(_REBUILD, {**span, "step": step, "ns": step * 1_000_000_000, "held": held.tolist()})
