"""The telemetry core over a bounded input: files in, the same tables as the live path out, nothing else needed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from flows.documents import raw_text
from flows.lane import LaneOutput
from flows.shard import Shard, ShardOutput
from flows.tables import (
    NAMED_KEY,
    anomalies_table,
    latest_revisions,
    named_windows_table,
    plain,
    rows_table,
    samples_table,
    table_hash,
    windows_table,
)
from flows.warm import made_up
from operators.definition import TwinType
from operators.frames import Frames
from operators.ledger import Ledger

KEYS: dict[str, tuple[str, ...]] = {
    "windows": ("device", "signal", "window_start_ns", "revision"),
    "named_windows": NAMED_KEY,
    "rows": ("device", "ts_ns"),
    "anomalies": ("device", "ts_ns", "signal", "detector"),
    "late": ("device", "ts_ns", "signal", "offset"),
    "dead_letters": ("offset", "reason"),
}
"""Natural key of each table: its rows stand in this order."""
LINEAGE = ("offset", "arrival_ns", "seq")
"""Columns that depend on where a sample stood in the log, not on what it says; left out of `hash_tables`."""
DEAD = pa.schema(
    [
        ("reason", pa.string()),
        ("raw", pa.string()),
        ("raw_base64", pa.string()),
        ("detail", pa.string()),
        ("offset", pa.int64()),
        ("samples", pa.int64()),
    ]
)


@dataclass(slots=True)
class Result:
    """Tables by name (see KEYS), the ledger, and how long it took."""

    tables: dict[str, pa.Table]
    ledger: Ledger
    seconds: float
    alerts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def samples_per_sec(self) -> float:
        """Samples in, by wall time of reading and computing."""
        return self.ledger.samples_in / self.seconds if self.seconds else 0.0


def backtest(messages: Iterable[Frames], definition: TwinType) -> Result:
    """Run one twin type over messages in log order; the definition holds for every device.

    >>> from operators.definition import Signal
    >>> lines = [b'{"device":"p","sensor":"a","ts":%d,"v":%d}' % (1_700_000_000 + i, i) for i in range(3)]
    >>> result = backtest([Frames.of(lines)], TwinType("probe", 1, (Signal("a"),)))
    >>> result.tables["windows"]["mean"].to_pylist(), result.ledger.balance
    ([0.0, 1.0, 2.0], 0)
    """
    started = time.perf_counter()
    shard = Shard(lambda device: definition)
    parts: dict[str, list[pa.Table]] = {name: [] for name in KEYS}
    ledger, alerts = Ledger(), list[dict[str, Any]]()
    for frames in messages:
        out = shard.push(frames)
        ledger += out.ledger
        parts["dead_letters"].append(_dead_table(out))
        for lane in out.lanes:
            _collect(parts, alerts, lane)
    for lane in shard.finish():
        _collect(parts, alerts, lane)
    tables = {name: _whole(name, tables) for name, tables in parts.items() if tables}
    tables["windows"] = latest_revisions(tables["windows"]) if "windows" in tables else pa.table({})
    if "named_windows" in tables:
        tables["named_windows"] = latest_revisions(tables["named_windows"], NAMED_KEY)
    return Result(tables, ledger, time.perf_counter() - started, alerts)


def warm(definition: TwinType) -> float:
    """Compile, or load from the cache, every kernel a definition needs; the seconds it took."""
    started = time.perf_counter()
    backtest([made_up(definition)], definition)
    return time.perf_counter() - started


def _collect(parts: dict[str, list[pa.Table]], alerts: list[dict[str, Any]], lane: LaneOutput) -> None:
    twin, names = lane.twin, lane.names
    parts["windows"].append(windows_table(lane.windows, twin, names))
    parts["named_windows"] += [named_windows_table(named, twin, names) for named in lane.named]
    parts["late"].append(samples_table(lane.late, twin, names))
    parts["anomalies"] += [anomalies_table(f.anomalies, f.detect, twin, names) for f in lane.found]
    if lane.rows is not None:
        parts["rows"].append(rows_table(lane.rows, twin, names))
    alerts += [msgspec.to_builtins(alert) for alert in lane.alerts]


def _dead_table(out: ShardOutput) -> pa.Table:
    dead = out.dead
    raw = [raw_text(r) for r in dead.raw]
    columns = [dead.reason, [r["raw"] for r in raw], [r["raw_base64"] for r in raw], dead.detail, dead.offset]
    return pa.table([*columns, dead.samples], schema=DEAD)


def _whole(name: str, tables: list[pa.Table]) -> pa.Table:
    whole = pa.concat_tables([plain(t) for t in tables if t.num_rows] or [plain(tables[0])])
    return whole.sort_by([(key, "ascending") for key in KEYS[name]])


def write(result: Result, folder: Path) -> dict[str, Path]:
    """Tables as Parquet files and `ledger.json`; the paths by name.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, table in result.tables.items():
        paths[name] = folder / f"{name}.parquet"
        pq.write_table(table, paths[name], compression="zstd")
    paths["ledger"] = folder / "ledger.json"
    paths["ledger"].write_text(json.dumps(result.ledger.to_dict(), indent=2) + "\n")
    return paths


def hash_tables(tables: dict[str, pa.Table]) -> dict[str, str]:
    """sha256 of what each table says, whatever the order of its rows and the place of its samples in a log."""
    return {
        name: table_hash(table, [k for k in KEYS[name] if k not in LINEAGE] or list(KEYS[name]), without=LINEAGE)
        for name, table in sorted(tables.items())
        if name in ("windows", "named_windows", "rows", "anomalies") and table.num_columns
    }


def read_inputs(paths: list[Path]) -> Iterator[Frames]:
    """Messages of all files (NDJSON, or a recording that replay reads), with offsets counted on from file to file."""
    from connectors.ndjson import read_ndjson
    from connectors.recordings.recording import is_recording, read_recording

    offset = 0
    for path in paths:
        read = read_recording if is_recording(path) else read_ndjson
        for frames in read(path, first_offset=offset):
            offset = frames.end_offset
            yield frames
