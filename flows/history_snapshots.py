"""Snapshots of all twins of one partition, so that asof reads a minute instead of everything.

A snapshot at offset `ko` holds, per series, the newest sample of the records below `ko` whose event time is not after
`snapshot_ns`, the newest arrival among those records. It is a function of the log alone: whoever makes it, whenever,
makes the same rows. asof (connectors/history_asof.py) may start from it where snapshot_ns <= min(at, known_at).
"""

from __future__ import annotations

import time

from connectors.clickhouse import ClickHouse
from connectors.history_asof import SERIES, TAIL_SAFE_NS, Snapshot, latest_snapshots, newest_of_each, tail_of

EVERY_NS = 60_000_000_000
EVERY_ROWS = 50_000
"""A snapshot of a partition is due after this much arrival time or this many samples, whichever comes first: twelve
partitions leave asof a tail of at most 600,000 rows."""
PAUSE_SECS = 5.0
"""A backlog, or a fleet of more than 100,000 samples a second, reaches both sooner than a snapshot pays: a partition
gets one at most this often,
and all twelve together take at most an eighth of the time."""
SHARE = 100
"""A partition pauses for this many times as long as its last snapshot took."""

_COLUMNS = (
    "snapshot_ko, snapshot_ns, twins, twin_type, device, signal, ts_ns, known_ns, value, quality, seq, kp, ko, kr"
)
_MAKE = f"""
INSERT INTO twin_snapshots ({_COLUMNS})
SELECT {{ko:UInt64}}, {{ns:Int64}}, count() OVER (), argMax(s.twin_type, newest), device, groupArray(signal),
       groupArray(s.ts_ns), groupArray(s.known_ns), groupArray(s.value), groupArray(s.quality), groupArray(s.seq),
       {{kp:UInt8}}, groupArray(s.ko), groupArray(s.kr)
FROM (%s) AS s GROUP BY device ORDER BY device
"""  # noqa: S608


class Snapshots:
    """Makes snapshots of partitions when they are due; not knowing when the last one was, one is due at once."""

    def __init__(self) -> None:
        self._last: dict[int, Snapshot] = {}
        self._rows: dict[int, int] = {}
        self._next: dict[int, float] = {}

    def count(self, kp: int, rows: int) -> None:
        """So many samples of a partition were stored."""
        self._rows[kp] = self._rows.get(kp, 0) + rows

    def due(self, kp: int, known_ns: int) -> bool:
        """Is it time, the newest stored arrival of the partition being `known_ns`?"""
        last = self._last.get(kp)
        if last is None:
            return True
        reached = self._rows.get(kp, 0) >= EVERY_ROWS or known_ns - last.ns >= EVERY_NS
        return reached and time.monotonic() >= self._next[kp]

    def make(self, client: ClickHouse, kp: int, ko: int) -> Snapshot | None:
        """Make the snapshot of a partition at `ko`, all records below being stored; None where it has no samples."""
        begun, last = time.monotonic(), self._last.get(kp)
        if last is None:
            last = next((s for s in latest_snapshots(client, time.time_ns()) if s.kp == kp), None)
        if last is not None and (last.ns < time.time_ns() - TAIL_SAFE_NS // 2 or last.ko >= ko):
            last = None  # what came since may be gone from samples_recent
        snapshot = Snapshot(kp, ko, self._newest_arrival(client, kp, ko, last))
        if snapshot.ns <= 0:
            return None
        until = f"kp = {kp} AND ts_ns <= {snapshot.ns}"
        source = (
            tail_of([last], f"{until} AND (ko < {ko})")
            if last is not None
            else f"SELECT {SERIES} FROM samples WHERE {until} AND ko < {ko}"  # noqa: S608
        )
        client.run(_MAKE % newest_of_each(source), {"kp": kp, "ko": ko, "ns": snapshot.ns})
        ended = time.monotonic()
        self._last[kp], self._rows[kp] = snapshot, 0
        self._next[kp] = ended + max(PAUSE_SECS, SHARE * (ended - begun))
        return snapshot

    def _newest_arrival(self, client: ClickHouse, kp: int, ko: int, last: Snapshot | None) -> int:
        table, since = ("samples", 0) if last is None else ("samples_recent", last.ko)
        query = f"SELECT max(known_ns) FROM {table} WHERE kp = {kp} AND ko >= {since} AND ko < {ko}"  # noqa: S608
        [(newest,)] = client.rows(query)
        return max(int(newest), last.ns if last is not None else 0)
