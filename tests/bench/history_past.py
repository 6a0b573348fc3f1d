"""A history of 10,000 twins x 10 signals, a reading each 10 s, made by the engine itself; questions to it are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.compute as pc

from connectors.clickhouse import ClickHouse
from connectors.history_asof import canonical, values_at
from connectors.history_reader import HistoryReader
from flows.history_snapshots import EVERY_ROWS, Snapshots
from flows.history_store import ONE_BLOCK

TWINS, SIGNALS, PARTITIONS = 10_000, 10, 12
SERIES = TWINS * SIGNALS
EVERY_NS = 10_000_000_000
HOUR_NS = 3_600_000_000_000
SNAPSHOTS = 60
"""Snapshots of each partition up to the end; instants are asked for where they are."""
STEPS_OF_SNAPSHOT = EVERY_ROWS * PARTITIONS // SERIES
CHUNK_ROWS = 5_000_000

_ROWS = """
SELECT 'machine', concat('twin-', leftPad(toString(intDiv(series, 10)), 5, '0')), concat('s', toString(series % 10)),
       {start} + step * {every} + intHash64(series * 1000003 + step) % 40 * 1000000 AS ts,
       ts + 5000000 + intHash64(series * 1000003 - step) % 55 * 1000000,
       round(50 + 20 * sin(step / 30 + series) + intHash64(series + step * 1000003) % 1000 / 250, 2), 0, step, step,
       intDiv(series, 10) % 12 AS kp, step AS ko, toUInt32(intDiv(series, 120) * 10 + series % 10)
"""
_SAMPLES = f"""
INSERT INTO samples (twin_type, device, signal, ts_ns, known_ns, value, quality, source_offset, seq, kp, ko, kr) {_ROWS}
FROM (SELECT {{first}} + intDiv(number, {{steps}}) AS series, {{since}} + number % {{steps}} AS step
      FROM numbers({{count}}))
"""
_RECENT = f"""
INSERT INTO samples_recent (twin_type, device, signal, ts_ns, known_ns, value, quality, seq, kp, ko, kr)
SELECT * EXCEPT source FROM ({_ROWS.replace("step, step,", "step AS source, step AS seq,")}
FROM (SELECT number % {SERIES} AS series, {{since}} + intDiv(number, {SERIES}) AS step FROM numbers({{count}})))
"""


class Past(msgspec.Struct, frozen=True):
    """Readings of all series at start_ns + step * EVERY_NS for 0 <= step < steps."""

    start_ns: int
    steps: int

    @property
    def rows(self) -> int:
        return self.steps * SERIES


def load(client: ClickHouse, note: Path, rows: int) -> Past:
    """Fill samples and samples_recent, snapshots as they fall due; what a run before this one did is not done again."""
    if not note.exists():
        start_ns = time.time_ns() // EVERY_NS * EVERY_NS - rows // SERIES * EVERY_NS
        note.write_bytes(msgspec.json.encode(Past(start_ns, rows // SERIES)))
    past = msgspec.json.decode(note.read_bytes(), type=Past)
    first = STEPS_OF_SNAPSHOT
    if not client.rows("SELECT count() FROM twin_snapshots")[0][0]:
        for table in ("samples", "samples_recent", "twin_snapshots"):
            client.run(f"TRUNCATE TABLE {table}")
        _samples(client, past, 0, SERIES, 0, first)
        _recent(client, past, first)
    steps = past.steps - first
    for series in range(0, SERIES, chunk := CHUNK_ROWS // steps // SIGNALS * SIGNALS):
        device = f"twin-{series // SIGNALS:05}"
        if not client.rows(f"SELECT count() FROM samples WHERE device = '{device}' AND ko >= {first}")[0][0]:
            _samples(client, past, series, min(chunk, SERIES - series), first, steps)
    _recent(client, past, past.steps)
    return past


def _samples(client: ClickHouse, past: Past, first: int, series: int, since: int, steps: int) -> None:
    """Rows of some series in the order of the table, as one part."""
    span = {"first": first, "since": since, "steps": steps, "count": series * steps}
    client.run(_SAMPLES.format(start=past.start_ns, every=EVERY_NS, **span), settings=ONE_BLOCK)


def _recent(client: ClickHouse, past: Past, until: int) -> None:
    """Rows of all series behind those that are there, in the order of the log, and snapshots of the last hour."""
    [(newest, there)] = client.rows("SELECT max(ko), count() FROM samples_recent")
    at, asked_from = int(newest) + 1 if there else 0, past.steps - SNAPSHOTS * STEPS_OF_SNAPSHOT
    snapshots = Snapshots()
    while at < until:
        chunk = STEPS_OF_SNAPSHOT if at >= asked_from or until <= STEPS_OF_SNAPSHOT else CHUNK_ROWS // SERIES
        steps = min(chunk, until - at)
        span = {"since": at, "count": steps * SERIES}
        client.run(_RECENT.format(start=past.start_ns, every=EVERY_NS, **span), settings=ONE_BLOCK)
        at += steps
        if chunk == STEPS_OF_SNAPSHOT:
            for kp in range(PARTITIONS):
                snapshots.make(client, kp, at)


def asked(client: ClickHouse, past: Past, questions: int) -> dict[str, float]:
    """Latencies in ms over random instants, twins and hours, each question new to the engine."""
    reader, random = HistoryReader(client), np.random.default_rng(2)
    earliest = max(STEPS_OF_SNAPSHOT, past.steps - (SNAPSHOTS - 1) * STEPS_OF_SNAPSHOT)
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
