"""Roll-ups of samples: count, sum, min, max per series and 1 s, 1 min, 1 h, added up insert by insert.

An insert carries the sums of its own rows and their largest ko, so the roll-up table knows its position like every
other table, and a restart adds nothing twice. At the start the counts are compared with the samples themselves; hours
that do not agree are made anew.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.clickhouse import ClickHouse
from flows.tables import TEXT
from operators.types import I64

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
    samples = samples.filter(pc.is_finite(samples["value"])).unify_dictionaries()
    device, signal = (samples[name].combine_chunks() for name in ("device", "signal"))
    if not pa.types.is_dictionary(device.type):
        device, signal = device.dictionary_encode(), signal.dictionary_encode()
    ts = samples["ts_ns"].to_numpy()
    columns = samples.select(["kp", "ko", "known_ns", "value"])
    columns = columns.append_column("device", device.indices).append_column("signal", signal.indices)
    parts = []
    for step in STEPS_SECS:
        start = pa.array(ts // (step * 1_000_000_000) * (step * 1_000_000_000), pa.int64())
        parts.append(_grouped(columns.append_column("start_ns", start), step))
    found = pa.concat_tables(parts).combine_chunks()
    for name, coded in (("device", device), ("signal", signal)):
        text = pa.DictionaryArray.from_arrays(found[name].combine_chunks().cast(pa.int32()), coded.dictionary)
        found = found.set_column(found.column_names.index(name), name, text.cast(TEXT))
    return found


def _grouped(columns: pa.Table, step: int) -> pa.Table:
    keys = ["device", "signal", "start_ns", "kp"]
    wanted = [("ko", "max"), ("known_ns", "max"), ("value", "count"), ("value", "sum"), ("value", "min")]
    table = columns.group_by(keys, use_threads=False).aggregate([*wanted, ("value", "max")])
    new = {"ko_max": "ko", "known_ns_max": "known_ns", **{f"value_{n}": n for n in ("count", "sum", "min", "max")}}
    table = table.rename_columns([new.get(name, name) for name in table.column_names])
    return table.append_column("step_s", pa.array(np.full(table.num_rows, step, np.uint16)))


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
