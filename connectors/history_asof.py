"""The whole graph at one instant, as it was known at another: reported values, reports, open alarms, open commands.

Bi-temporal: a row counts when its event time is not after `at` and its arrival not after `known_at`. Of a series the
sample of the newest event time counts, of equal times the larger seq, else the later in the log; that order is total,
so the answer does not depend on merges, restarts or which tables it is read from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from connectors.clickhouse import ClickHouse

if TYPE_CHECKING:
    import pyarrow as pa

TAIL_SAFE_NS = 86_400_000_000_000
"""Younger rows are surely still in samples_recent and twin_snapshots; older ones are looked up in samples."""
NEAR_NS = 600_000_000_000
CLOSED_STAGES = ("effect", "refused", "timed_out", "failed")

SERIES = "twin_type, device, signal, ts_ns, known_ns, value, quality, seq, ko, kr"
"""Columns of a sample as `newest_of_each` takes them, of samples, samples_recent and (unpacked) twin_snapshots."""
_UNPACK = "ARRAY JOIN signal, ts_ns, known_ns, value, quality, seq, ko, kr"


_SIGN = 1 << 63


def _ordered(column: str) -> str:
    """Eight bytes that sort as the signed number does."""
    return f"reverse(reinterpretAsFixedString(bitXor(reinterpretAsUInt64({column}), {_SIGN})))"


def _number(first: int) -> str:
    return f"reinterpretAsInt64(bitXor(reinterpretAsUInt64(reverse(substring(newest, {first}, 8))), {_SIGN}))"


_PACKED = f"""concat({_ordered("ts_ns")}, {_ordered("seq")}, reverse(reinterpretAsFixedString(ko)),
    reverse(reinterpretAsFixedString(kr)), reinterpretAsFixedString(value), reinterpretAsFixedString(known_ns),
    reinterpretAsFixedString(quality), toString(twin_type))"""
"""A sample as bytes that sort by (ts_ns, seq, ko, kr): one max over them takes a third of the time of an argMax over
tuples, which the engine keeps as one object per value."""


def newest_of_each(source: str) -> str:
    """Query: the sample of each series that counts, of a source with the columns `SERIES`; `newest` orders them."""
    return f"""
    SELECT device, signal, newest, {_number(1)} AS ts_ns, {_number(9)} AS seq,
           reinterpretAsUInt64(reverse(substring(newest, 17, 8))) AS ko,
           reinterpretAsUInt32(reverse(substring(newest, 25, 4))) AS kr,
           reinterpretAsFloat64(substring(newest, 29, 8)) AS value,
           reinterpretAsInt64(substring(newest, 37, 8)) AS known_ns,
           reinterpretAsUInt8(substring(newest, 45, 1)) AS quality, substring(newest, 46) AS twin_type
    FROM (SELECT device, signal, max({_PACKED}) AS newest FROM ({source}) GROUP BY device, signal)
    ORDER BY device, signal
    """  # noqa: S608


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a snapshot of one partition stands: it holds the records below `ko`, which had arrived by `ns`."""

    kp: int
    ko: int
    ns: int


def latest_snapshots(client: ClickHouse, limit_ns: int) -> list[Snapshot]:
    """The newest whole snapshot of each partition that is not after `limit_ns`, where its tail is surely kept."""
    safe = time.time_ns() - TAIL_SAFE_NS
    found: dict[int, Snapshot] = {}
    for since in (max(safe, limit_ns - NEAR_NS), safe):
        if since <= limit_ns:
            for row in client.rows(_LATEST, {"limit": limit_ns, "since": since, "known": list(found)}):
                found[row[0]] = Snapshot(*row)
    return [found[kp] for kp in sorted(found)]


_LATEST = """
SELECT kp, snapshot_ko, any(snapshot_ns) AS ns FROM twin_snapshots
WHERE snapshot_ns <= {limit:Int64} AND snapshot_ns >= {since:Int64} AND NOT has({known:Array(UInt8)}, kp)
GROUP BY kp, snapshot_ko HAVING uniqExact(device) = any(twins)
ORDER BY kp, snapshot_ko DESC LIMIT 1 BY kp
"""
_PARTITIONS = """
SELECT DISTINCT kp FROM samples_recent WHERE {others} UNION DISTINCT
SELECT DISTINCT kp FROM ingested WHERE topic = 'readings' AND ko > 0 AND {others}
"""
"""Partitions that have samples; `others`, a condition on the key, keeps those with a snapshot from being read."""


def tail_of(snapshots: Sequence[Snapshot], until: str = "1") -> str:
    """Union of what lies behind the snapshots: their own rows, later records, and earlier ones ahead of their time."""
    keys = ", ".join(f"({s.kp}, {s.ko})" for s in snapshots)
    later = " OR ".join(f"(kp = {s.kp} AND ko >= {s.ko})" for s in snapshots)
    ahead = " OR ".join(f"(kp = {s.kp} AND ko < {s.ko} AND ts_ns > {s.ns})" for s in snapshots)
    return f"""
    SELECT {SERIES} FROM (SELECT * FROM twin_snapshots WHERE (kp, snapshot_ko) IN ({keys})) {_UNPACK} WHERE {until}
    UNION ALL SELECT {SERIES} FROM samples_recent WHERE ({later}) AND {until}
    UNION ALL SELECT {SERIES} FROM samples_recent WHERE ({ahead}) AND {until}
    """  # noqa: S608


def newest_known(client: ClickHouse) -> int:
    """Arrival of the newest thing the history knows; 0 when it knows nothing."""
    tables = ("samples_recent", "twin_states", "alerts", "command_events")
    union = " UNION ALL ".join(f"SELECT max(known_ns) AS known FROM {t}" for t in tables)  # noqa: S608
    [(known,)] = client.rows(f"SELECT max(known) FROM ({union})")  # noqa: S608
    return int(known) or int(client.rows("SELECT max(known_ns) FROM samples")[0][0])


def frontier(client: ClickHouse) -> int:
    """Arrival up to which all has gone through telemetry and is stored, ns; 0 while nothing is known of it."""
    return int(client.rows("SELECT max(known_ns) FROM frontier WHERE source = 'samples'")[0][0])


def asof_graph(client: ClickHouse, at_ns: int, known_ns: int | None = None, twin: str = "") -> dict[str, Any]:
    """Everything at one instant, as plain data; once final, the same at_ns and known_ns give the same data for ever.

    The answer is final once all that had arrived by `known_ns` has gone through and is stored (a few seconds), and as
    long as retention keeps the rows it is made of.

    Args:
        client: the reader may do it.
        at_ns: event time.
        known_ns: what had arrived by then counts; when left out the frontier, so that the answer is final, or the
            newest arrival of a history that knows of no frontier.
        twin: only this one.

    Returns:
        at_ns, known_ns (the one used), `final`, where that is false also `frontier_ns` (a final answer holds nothing
        that depends on when it was asked for), and `twins`: by id their type, state (ok, warn, alarm), reported
        values, report, desired and derived values, revision, open alarms and open commands.
    """
    reached = frontier(client)
    known = known_ns if known_ns is not None else reached or newest_known(client)
    final = {"final": True} if known <= reached else {"final": False, "frontier_ns": reached}
    bounds = _bounds(at_ns, known, twin)
    twins: dict[str, dict[str, Any]] = {}

    def of(device: str) -> dict[str, Any]:
        empty = {"type": "", "state": "ok", "revision": 0, "reported": {}, "alarms": [], "commands": []}
        return twins.setdefault(device, empty | {"report": {}, "desired": {}, "derived": {}})

    for device, twin_type, document in client.rows(_STATES, bounds):
        state = msgspec.json.decode(document) if document else {}
        kept = {name: state[name] for name in ("report", "desired", "derived", "revision") if name in state}
        of(device).update(kept, type=twin_type)
    table = values_at(client, at_ns, known, twin)
    columns = (table.column(name).to_pylist() for name in table.column_names)
    for device, twin_type, signals, ts, knowns, values, qualities in zip(*columns, strict=True):
        entry = of(device)
        entry["type"] = twin_type
        entry["reported"] = {
            signal: {"value": v if math.isfinite(v) else None, "ts_ns": t, "known_ns": k, "quality": q}
            for signal, t, k, v, q in zip(signals, ts, knowns, values, qualities, strict=True)
        }
    for device, *cells in client.rows(_ALARMS, bounds):
        entry = of(device)
        entry["alarms"].append(dict(zip(_ALARM, cells, strict=True)))
        if entry["state"] != "alarm":
            entry["state"] = entry["alarms"][-1]["severity"]
    for device, *cells in client.rows(_COMMANDS, bounds):
        of(device)["commands"].append(dict(zip(_COMMAND, cells, strict=True)))
    return {"at_ns": at_ns, "known_ns": known, **final, "twins": twins}


def values_at(client: ClickHouse, at_ns: int, known_ns: int | None = None, twin: str = "") -> pa.Table:
    """Only the newest samples of `asof_graph`, as columns: a row per twin, of lists by signal.

    Returns:
        device, type, and lists of one length: signals, ts, known (ns), values, qualities.
    """
    known = at_ns if known_ns is None else known_ns
    return client.arrow(_values(client, min(at_ns, known)), _bounds(at_ns, known, twin))


def _bounds(at_ns: int, known_ns: int, twin: str) -> dict[str, Any]:
    return {"at": at_ns, "known": known_ns, "twin": twin, "closed": list(CLOSED_STAGES)}


def canonical(answer: dict[str, Any]) -> bytes:
    """The one way to write an answer: keys in order, no spaces, floats as short as they come back the same.

    >>> canonical({"b": 0.1, "a": [1, None]})
    b'{"a":[1,null],"b":0.1}'
    """
    return msgspec.json.encode(answer, order="deterministic")


_WITHIN = "ts_ns <= {at:Int64} AND known_ns <= {known:Int64} AND ({twin:String} = '' OR device = {twin:String})"
_ORDER = "(ts_ns, known_ns, ko, kr)"


def _values(client: ClickHouse, limit_ns: int) -> str:
    """The query for the newest sample of every series; partitions without a snapshot are read from samples."""
    snapshots = latest_snapshots(client, limit_ns)
    uncovered = f"kp NOT IN ({', '.join(str(s.kp) for s in snapshots)})" if snapshots else "1"
    others = sorted(kp for (kp,) in client.rows(_PARTITIONS.format(others=uncovered)))
    parts = [tail_of(snapshots, _WITHIN)] if snapshots else []
    if others or not snapshots:
        among = f"kp IN ({', '.join(map(str, others))})" if others else "1"
        parts.append(f"SELECT {SERIES} FROM samples WHERE {among} AND {_WITHIN}")  # noqa: S608
    series = newest_of_each(" UNION ALL ".join(parts))
    return f"""
    SELECT device, argMax(twin_type, newest) AS type, groupArray(signal) AS signals, groupArray(ts_ns) AS ts,
           groupArray(known_ns) AS known, groupArray(value) AS values, groupArray(quality) AS qualities
    FROM ({series}) GROUP BY device ORDER BY device
    """  # noqa: S608


_STATES = f"""
SELECT device, any(twin_type), any(document) FROM twin_states
WHERE (device, ts_ns, known_ns, ko, kr) IN (
    SELECT device, tupleElement(newest, 1), tupleElement(newest, 2), tupleElement(newest, 3), tupleElement(newest, 4)
    FROM (SELECT device, max({_ORDER}) AS newest FROM twin_states WHERE {_WITHIN} GROUP BY device))
GROUP BY device ORDER BY device
"""  # noqa: S608
_ALARM = ("id", "signal", "rule", "detector", "severity", "raised_ns", "value", "limit", "score", "cause")
_ALARMS = f"""
SELECT device, id, newest.1, newest.2, newest.3, newest.4, newest.5, newest.6, newest.7, newest.8, newest.9
FROM (SELECT device, id, argMax(state, {_ORDER}) AS last,
             argMax((signal, rule, detector, severity, ts_ns, value, `limit`, score, cause), {_ORDER}) AS newest
      FROM alerts WHERE {_WITHIN} GROUP BY device, id)
WHERE last = 'raised' ORDER BY device, newest.5, id
"""  # noqa: S608
_COMMAND = ("id", "verb", "stage", "ts_ns", "issuer", "arguments")
_COMMANDS = f"""
SELECT device, id, newest.1, newest.2, newest.3, newest.4, newest.5
FROM (SELECT device, id, argMax((verb, stage, ts_ns, issuer, arguments), {_ORDER}) AS newest,
             max(has({{closed:Array(String)}}, stage)) AS over
      FROM command_events WHERE {_WITHIN} GROUP BY device, id)
WHERE NOT over ORDER BY device, newest.3, id
"""  # noqa: S608
