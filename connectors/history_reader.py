"""What pages and the API ask the history: series, scores, alarms, windows, dead letters, ledger, positions.

Everything a caller gives goes to the server as a parameter; nothing of it becomes part of a statement that is run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from connectors.clickhouse import ClickHouse
from connectors.history_asof import asof_graph
from operators.types import F64, I64

SECOND = 1_000_000_000
FOREVER = (1 << 63) - 1
ACKNOWLEDGE = "acknowledge"
"""Verb of the command that acknowledges an alarm; its arguments name it: {"alarm": id}."""

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Series:
    """One signal over time, in order of time.

    Attributes:
        t: int64[n], event time of each sample, or start of each bucket, ns.
        v: float64[n], the sample, or the mean of its bucket.
        lo, hi: float64[n], least and greatest value of the bucket; equal to v for samples.
        bucket_ns: width of a bucket; 0 where these are the samples themselves.
    """

    t: I64
    v: F64
    lo: F64
    hi: F64
    bucket_ns: int


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a detector that were over its threshold, in order of time; the greatest one per bucket.

    Attributes:
        t: int64[n], start of each bucket, ns.
        v, threshold: float64[n].
    """

    t: I64
    v: F64
    threshold: F64


class HistoryReader:
    """Questions to the history through one connection; for one thread at a time.

    Args:
        client: connected as the reader; it needs no more.
    """

    def __init__(self, client: ClickHouse) -> None:
        self._client = client

    def asof(self, at_ns: int, known_ns: int | None = None, twin: str = "") -> Row:
        """The whole graph at one instant, as `connectors.history_asof.asof_graph` says."""
        return asof_graph(self._client, at_ns, known_ns, twin)

    def series(
        self,
        twin: str,
        signals: Sequence[str],
        from_ns: int,
        to_ns: int,
        *,
        points: int = 800,
        known_ns: int | None = None,
    ) -> dict[str, Series]:
        """Signals of a twin in [from_ns, to_ns): the samples up to two per point, else min, mean, max per bucket.

        Args:
            twin: its id.
            signals: names; those without any sample come back empty.
            from_ns, to_ns: event time.
            points: buckets wanted at most.
            known_ns: only what had arrived by then; all when left out.
        """
        bounds: Row = {"twin": twin, "signals": list(signals), "from": from_ns, "to": to_ns}
        bounds["known"] = FOREVER if known_ns is None else known_ns
        width = max(1, -(-(to_ns - from_ns) // max(1, points)))
        step = _step(width) if known_ns is None else 0
        found: dict[str, Series] = {}
        counts = dict(self._client.rows(_COUNT, bounds))
        many = [s for s in signals if counts.get(s, 0) > 2 * points]
        few = [s for s in signals if s not in many]
        if few:
            found |= _by_signal(self._client.arrow(_SAMPLES, bounds | {"signals": few}), 0)
        if many:
            width = -(-width // (step * SECOND)) * step * SECOND if step else width
            query = _ROLLED if step else _BUCKETS
            table = self._client.arrow(query, bounds | {"signals": many, "width": width, "step": step})
            found |= _by_signal(table, width)
        nothing = np.empty(0, np.float64)
        empty = Series(np.empty(0, np.int64), nothing, nothing, nothing, 0)
        return {signal: found.get(signal, empty) for signal in signals}

    def scores(self, twin: str, detector: str, from_ns: int, to_ns: int, *, points: int = 200) -> Scores:
        """What a detector found in [from_ns, to_ns), event time; scores under its threshold are not kept."""
        width = max(1, -(-(to_ns - from_ns) // max(1, points)))
        bounds: Row = {"twin": twin, "detector": detector, "from": from_ns, "to": to_ns, "width": width}
        table = self._client.arrow(_SCORES, bounds)
        return Scores(*(table[name].to_numpy() for name in ("t", "v", "threshold")))

    def alarms(
        self, *, from_ns: int = 0, to_ns: int = FOREVER, state: str = "", twin: str = "", limit: int = 500
    ) -> list[Row]:
        """Alarm episodes that were open at any time in [from_ns, to_ns), the newest first.

        Args:
            from_ns, to_ns: event time.
            state: open, returned, or "" for both.
            twin: only of this one.
            limit: most episodes.
        """
        bounds = {"from": from_ns, "to": to_ns, "state": state, "twin": twin, "limit": limit, "verb": ACKNOWLEDGE}
        episodes = _rows(self._client, _EPISODES, bounds)
        for episode in episodes:
            who, at_ns = episode.pop("who"), episode.pop("acknowledged_ns")
            episode["acknowledged"] = {"who": who, "at_ns": at_ns} if at_ns else None
            episode["returned_ns"] = episode["returned_ns"] or None
            episode["lineage"] = {"partition": episode.pop("kp"), "offset": episode.pop("source_offset")}
        return episodes

    def windows(self, twin: str, signal: str, from_ns: int, to_ns: int, *, known_ns: int | None = None) -> list[Row]:
        """The newest revision of every window that starts in [from_ns, to_ns), in order."""
        known = FOREVER if known_ns is None else known_ns
        bounds = {"twin": twin, "signal": signal, "from": from_ns, "to": to_ns, "known": known}
        return _rows(self._client, _WINDOWS, bounds)

    def named_windows(
        self, twin: str, window: str, signal: str, from_ns: int, to_ns: int, *, known_ns: int | None = None
    ) -> list[Row]:
        """As `windows`, of one that the type names, with `statistics`; sessions that were taken back are left out."""
        known = FOREVER if known_ns is None else known_ns
        bounds = {"twin": twin, "window": window, "signal": signal, "from": from_ns, "to": to_ns, "known": known}
        return [row | {"statistics": dict(row["statistics"])} for row in _rows(self._client, _NAMED_WINDOWS, bounds)]

    def dead_letters(self, reason: str = "", *, limit: int = 100) -> list[Row]:
        """The newest dead letters, of one reason or of all."""
        return _rows(self._client, _DEAD, {"reason": reason, "limit": limit})

    def dead_letter_counts(self) -> list[Row]:
        """Per reason: count, first_ns, last_ns and up to five devices (who), the most frequent first."""
        return _rows(self._client, _DEAD_COUNTS, {})

    def ledger(self) -> Row:
        """Sum of the ledgers of all partitions: records_in, samples_in, records, samples, balance, and per partition
        the offsets it covers and `holes`: offsets in between that no ledger speaks of."""
        partitions = _rows(self._client, _LEDGER_SPANS, {})
        [(records_in, samples_in, *counts)] = self._client.rows(_LEDGER)
        records = dict(zip(_OUTCOMES, counts[:6], strict=True))
        samples = dict(zip(_OUTCOMES, counts[6:], strict=True))
        balance = abs(records_in - sum(counts[:6])) + abs(samples_in - sum(counts[6:]))
        total = {"records_in": records_in, "samples_in": samples_in, "records": records, "samples": samples}
        return total | {"balance": balance, "partitions": partitions}

    def pipeline(self) -> Row:
        """How far the history is: next offset per topic and partition, gaps and late samples, what was set aside."""
        late = dict(self._client.rows("SELECT kp, count() FROM late GROUP BY kp ORDER BY kp"))
        missing = dict(self._client.rows("SELECT kp, sum(missing) FROM gaps GROUP BY kp ORDER BY kp"))
        return {
            "positions": _rows(self._client, _POSITIONS, {}),
            "late": late,
            "missing": missing,
            "quarantine": _rows(self._client, _QUARANTINE, {}),
        }


def _step(width_ns: int) -> int:
    """Seconds of the coarsest roll-up that fits into a bucket; 0 for none.

    >>> _step(10**9), _step(90 * 10**9), _step(10**8)
    (1, 60, 0)
    """
    return next((step for step in (3600, 60, 1) if width_ns >= step * SECOND), 0)


def _rows(client: ClickHouse, query: str, parameters: Row) -> list[Row]:
    found: list[Row] = client.arrow(query, parameters).to_pylist()
    return found


def _by_signal(table: pa.Table, bucket_ns: int) -> dict[str, Series]:
    """Cut a table ordered by signal and time."""
    names = np.array(table["signal"].to_pylist(), dtype=object)
    t, v, lo, hi = (table[name].to_numpy() for name in ("t", "v", "lo", "hi"))
    out = {}
    for name in dict.fromkeys(names.tolist()):
        mine = names == name
        out[name] = Series(t[mine].copy(), v[mine].copy(), lo[mine].copy(), hi[mine].copy(), bucket_ns)
    return out


_RANGE = (
    "device = {twin:String} AND signal IN {signals:Array(String)} AND ts_ns >= {from:Int64} AND ts_ns < {to:Int64} "
    "AND known_ns <= {known:Int64}"
)
_COUNT = f"SELECT signal, count() FROM samples WHERE {_RANGE} GROUP BY signal"  # noqa: S608
_SAMPLES = f"""
SELECT signal, ts_ns AS t, value AS v, value AS lo, value AS hi FROM samples FINAL WHERE {_RANGE}
ORDER BY signal, ts_ns, seq, ko, kr
"""  # noqa: S608
_BUCKETS = f"""
SELECT signal, {{from:Int64}} + intDiv(ts_ns - {{from:Int64}}, {{width:Int64}}) * {{width:Int64}} AS t,
       avg(value) AS v, min(value) AS lo, max(value) AS hi
FROM samples FINAL WHERE {_RANGE} AND isFinite(value) GROUP BY signal, t ORDER BY signal, t
"""  # noqa: S608
_ROLLED = """
SELECT signal, intDiv(start_ns, {width:Int64}) * {width:Int64} AS t, sum(r.sum) / sum(r.count) AS v,
       min(r.min) AS lo, max(r.max) AS hi
FROM rollups AS r
WHERE step_s = {step:UInt16} AND device = {twin:String} AND signal IN {signals:Array(String)}
      AND start_ns > {from:Int64} - {step:UInt16} * 1000000000 AND start_ns < {to:Int64}
GROUP BY signal, t ORDER BY signal, t
"""
_SCORES = """
SELECT {from:Int64} + intDiv(ts_ns - {from:Int64}, {width:Int64}) * {width:Int64} AS t, max(score) AS v,
       max(a.threshold) AS threshold
FROM anomalies AS a FINAL
WHERE device = {twin:String} AND detector = {detector:String} AND ts_ns >= {from:Int64} AND ts_ns < {to:Int64}
GROUP BY t ORDER BY t
"""
_EPISODES = """
WITH acknowledged AS (
    SELECT JSONExtractString(arguments, 'alarm') AS alarm, argMin(issuer, (ts_ns, ko)) AS who, min(ts_ns) AS at
    FROM command_events WHERE verb = {verb:String} AND stage IN ('acknowledged', 'effect') GROUP BY alarm
)
SELECT id, e.twin AS twin, e.twin_type AS twin_type, e.signal AS signal, e.rule AS rule, e.detector AS detector,
       e.severity AS severity,
       multiIf(e.severity != 'alarm', 'P3', e.detector != '', 'P2', 'P1') AS priority, e.cause AS cause,
       e.ranked AS ranked, e.score AS score, e.limit_ AS threshold, e.value AS value,
       e.raised AS raised_ns, e.returned_ns AS returned_ns, e.times AS count, e.kp AS kp,
       e.source_offset AS source_offset, a.who AS who, toInt64(a.at) AS acknowledged_ns
FROM (
    SELECT id, any(device) AS twin, any(twin_type) AS twin_type, any(signal) AS signal, any(rule) AS rule,
           any(detector) AS detector, any(kp) AS kp,
           argMaxIf(severity, (ts_ns, known_ns, ko), state = 'raised') AS severity,
           argMaxIf(cause, (ts_ns, known_ns, ko), state = 'raised') AS cause,
           argMaxIf(ranked, (ts_ns, known_ns, ko), state = 'raised') AS ranked,
           argMaxIf(score, (ts_ns, known_ns, ko), state = 'raised') AS score,
           argMaxIf(value, (ts_ns, known_ns, ko), state = 'raised') AS value,
           argMaxIf(`limit`, (ts_ns, known_ns, ko), state = 'raised') AS limit_,
           argMinIf(source_offset, (ts_ns, known_ns, ko), state = 'raised') AS source_offset,
           minIf(ts_ns, state = 'raised') AS raised,
           argMax(state, (ts_ns, known_ns, ko, kr)) = 'returned' AS over,
           if(over, maxIf(ts_ns, state = 'returned'), 0) AS returned_ns,
           uniqExactIf(ts_ns, state = 'raised') AS times
    FROM alerts WHERE {twin:String} = '' OR device = {twin:String} GROUP BY id
) AS e LEFT JOIN acknowledged AS a ON a.alarm = e.id
WHERE raised_ns > 0 AND raised_ns < {to:Int64} AND (returned_ns = 0 OR returned_ns >= {from:Int64})
      AND ({state:String} = '' OR ({state:String} = 'open') = (returned_ns = 0))
ORDER BY raised_ns DESC, id LIMIT {limit:UInt32}
"""
_WINDOWS = """
SELECT window_start_ns, window_end_ns, count, mean, sd, min, max, slope, rms, revision, is_final FROM windows
WHERE device = {twin:String} AND signal = {signal:String} AND window_start_ns >= {from:Int64}
      AND window_start_ns < {to:Int64} AND known_ns <= {known:Int64}
ORDER BY window_start_ns, window_end_ns, revision DESC, is_final DESC, known_ns DESC, ko DESC, kr DESC
LIMIT 1 BY window_start_ns, window_end_ns
"""
_NAMED_WINDOWS = """
SELECT window_start_ns, window_end_ns, count, mean, sd, min, max, slope, rms, revision, is_final, statistics FROM (
    SELECT * FROM named_windows
    WHERE device = {twin:String} AND window = {window:String} AND signal = {signal:String}
          AND window_start_ns >= {from:Int64} AND window_start_ns < {to:Int64} AND known_ns <= {known:Int64}
    ORDER BY window_start_ns, revision DESC, is_final DESC, known_ns DESC, ko DESC, kr DESC LIMIT 1 BY window_start_ns
) WHERE count > 0 ORDER BY window_start_ns
"""
_DEAD = """
SELECT reason, detail, topic, partition, offset, arrival_ns, device, key, raw, raw_base64 FROM dead_letters FINAL
WHERE {reason:String} = '' OR reason = {reason:String}
ORDER BY arrival_ns DESC, partition, offset DESC LIMIT {limit:UInt32}
"""
_DEAD_COUNTS = """
SELECT reason, count() AS count, min(arrival_ns) AS first_ns, max(arrival_ns) AS last_ns,
       arraySort(groupUniqArray(5)(if(device = '', key, device))) AS who
FROM dead_letters FINAL GROUP BY reason ORDER BY count DESC, reason
"""
_OUTCOMES = ("control", "applied", "late", "duplicate", "rejected", "quarantined")
_LEDGER_PATHS = ["'records_in'", "'samples_in'"]
_LEDGER_PATHS += [f"'{kind}', '{outcome}'" for kind in ("records", "samples") for outcome in _OUTCOMES]
_SUMS = ", ".join(f"sum(JSONExtractInt(document, {path}))" for path in _LEDGER_PATHS)
_LEDGER = f"SELECT {_SUMS} FROM ledger FINAL"  # noqa: S608
_LEDGER_SPANS = """
SELECT partition, min(l.from_offset) AS from_offset, max(l.end_offset) AS end_offset,
       max(l.end_offset) - min(l.from_offset) - sum(l.end_offset - l.from_offset) AS holes, sum(l.skipped) AS skipped
FROM ledger AS l FINAL GROUP BY partition ORDER BY partition
"""
_POSITIONS = "SELECT topic, kp AS partition, ko AS offset, known_ns, at_ns FROM ingested FINAL ORDER BY topic, kp"
_QUARANTINE = """
SELECT topic, reason, sum(records) AS count, max(known_ns) AS last_ns, any(detail) AS detail
FROM quarantine FINAL GROUP BY topic, reason ORDER BY topic, reason
"""
