"""A history of 10,000 twins x 10 signals, a reading each 10 s, made by the engine itself; questions to it are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from connectors.clickhouse import ClickHouse
from connectors.history_asof import canonical, values_at
from connectors.history_reader import HistoryReader
from flows.history_snapshots import EVERY_ROWS, Snapshots

TWINS, SIGNALS, PARTITIONS = 10_000, 10, 12
SERIES = TWINS * SIGNALS
EVERY_NS = 10_000_000_000
HOUR_NS = 3_600_000_000_000
CHUNK = 50
"""Readings of all series in one insert: 5 M rows."""
SNAPSHOTS = 60
"""Snapshots of each partition up to the end; instants are asked for where they are."""

_LOAD = """
INSERT INTO {table} (twin_type, device, signal, ts_ns, known_ns, value, quality, seq, {offset} kp, ko, kr)
SELECT 'machine', concat('twin-', leftPad(toString(twin), 5, '0')), concat('s', toString(number % 10)) AS signal,
       {start} + step * {every} + cityHash64(number) % 40 * 1000000 AS ts,
       ts + 5000000 + cityHash64(number, 1) % 55 * 1000000,
       round(50 + 20 * sin(step / 30 + twin) + randNormal(0, 1), 2), 0, step, {values} twin % 12 AS kp, step AS ko,
       toUInt32(intDiv(twin, 12) * 10 + number % 10)
FROM (SELECT number, intDiv(number, {series}) AS step, intDiv(number % {series}, 10) AS twin
      FROM numbers({first}, {count}))
"""


@dataclass(frozen=True, slots=True)
class Past:
    """What was made: `rows` in all, readings at start_ns + step * EVERY_NS for 0 <= step < steps."""

    rows: int
    start_ns: int
    steps: int
    load_secs: float
    snapshot_ms: float


def load(client: ClickHouse, rows: int) -> Past:
    """Fill samples and samples_recent as the writer would, in the order of the log, snapshots as they fall due."""
    steps = rows // SERIES
    start_ns = time.time_ns() // EVERY_NS * EVERY_NS - steps * EVERY_NS
    every = EVERY_ROWS * PARTITIONS // SERIES
    first = max(every, steps - SNAPSHOTS * every)
    begun = time.monotonic()
    snapshots, took = Snapshots(), list[float]()

    def filled(since: int, until: int) -> None:
        for at in range(since, until, CHUNK):
            count = min(CHUNK, until - at) * SERIES
            for table, offset, values in (("samples", "source_offset,", "step,"), ("samples_recent", "", "")):
                text = _LOAD.format(
                    table=table,
                    offset=offset,
                    values=values,
                    start=start_ns,
                    every=EVERY_NS,
                    series=SERIES,
                    first=at * SERIES,
                    count=count,
                )
                client.run(text, settings={"max_insert_threads": 2})

    def taken(step: int) -> None:
        for kp in range(PARTITIONS):
            at = time.monotonic()
            snapshots.make(client, kp, step)
            took.append((time.monotonic() - at) * 1e3)

    filled(0, every)
    taken(every)
    filled(every, first)
    taken(first)
    took.clear()
    for step in range(first, steps, every):
        filled(step, min(step + every, steps))
        taken(min(step + every, steps))
    return Past(steps * SERIES, start_ns, steps, time.monotonic() - begun, float(np.median(took or [0.0])))


def asked(client: ClickHouse, past: Past, questions: int) -> dict[str, float]:
    """Latencies in ms over random instants, twins and hours, each question new to the engine."""
    reader, random = HistoryReader(client), np.random.default_rng(2)
    every = EVERY_ROWS * PARTITIONS // SERIES
    earliest = max(every, past.steps - (SNAPSHOTS - 1) * every)
    end_ns = past.start_ns + past.steps * EVERY_NS

    def instant() -> int:
        return int(random.integers(past.start_ns + earliest * EVERY_NS, end_ns))

    def values() -> None:
        table = values_at(client, instant())
        assert table.num_rows == TWINS, table.num_rows
        assert pc.sum(pc.list_value_length(table["values"])).as_py() == SERIES

    def whole() -> None:
        canonical(reader.asof(at := instant(), at))

    def hour() -> None:
        since = int(random.integers(past.start_ns, max(past.start_ns + 1, end_ns - HOUR_NS)))
        twin, signal = f"twin-{random.integers(TWINS):05}", f"s{random.integers(SIGNALS)}"
        found = reader.series(twin, [signal], since, since + HOUR_NS)[signal]
        assert found.t.size >= min(359, past.steps - 1), found.t.size

    return {
        **_timed("asof", values, questions),
        **_timed("asof_as_json", whole, max(5, questions // 4)),
        **_timed("one_twin", lambda: reader.asof(at := instant(), at, f"twin-{random.integers(TWINS):05}"), questions),
        **_timed("one_hour", hour, questions),
    }


def _timed(name: str, ask: Callable[[], object], times: int) -> dict[str, float]:
    """Median and 95th percentile after two that warm up."""
    took = []
    for _ in range(times + 2):
        begun = time.perf_counter()
        ask()
        took.append((time.perf_counter() - begun) * 1e3)
    p50, p95 = np.percentile(took[2:], [50, 95])
    return {f"{name}_p50_ms": round(float(p50), 1), f"{name}_p95_ms": round(float(p95), 1)}
