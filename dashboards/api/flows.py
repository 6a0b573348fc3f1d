"""The flows as boxes and lines: what is busy, what waits, what goes where; for the picture on the Pipeline page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.live_pipeline import ShardSums
from connectors.live_probe import Offsets, Probe
from dashboards.api.processes import Process, Step

SETTLED = (
    "readings",
    "windows",
    "named-windows",
    "rows",
    "anomalies",
    "twin-states",
    "gaps",
    "ledger",
    "late",
    "dead-letters",
)
LIVE = ("twin-live", "alerts", "command-requests")
REQUESTS, ANSWERS, DISPATCHED, EVENTS = "command-requests", "command-acks", "commands", "command-events"
TOPICS = ("samples", *SETTLED, *LIVE, ANSWERS, DISPATCHED, EVENTS)
STORED = (*SETTLED, "alerts", REQUESTS, EVENTS)
TELEMETRY, GATE, HISTORY = "telemetry", "commands", "history"
"""Groups that flows commit as, and what they call themselves."""
STEP_OF = dict.fromkeys(LIVE, "live") | dict.fromkeys(SETTLED, "settle")
"""Step of telemetry that a topic comes from."""
SOURCES: Mapping[str, str] = {TELEMETRY: "samples", GATE: REQUESTS}
READ = "readings"
SILENT_NS = 10_000_000_000


def telemetry(
    probed: Offsets | None,
    lag: Mapping[int, int],
    rates: Mapping[str, float],
    shards: Mapping[int, ShardSums],
    now_ns: int,
    processes: list[Process],
) -> dict[str, Any]:
    """The flow from samples to results."""
    waiting, fresh = sum(lag.values()), max((s.at_ns for s in shards.values()), default=0)
    if probed is None:
        state = "unknown"
    elif waiting and now_ns - fresh > SILENT_NS:
        state = "stopped"
    elif waiting > max(1000.0, 5.0 * rates.get("samples", 0.0)):
        state = "behind"
    else:
        state = "running"
    out = sum(rates.get(t, 0.0) for t in (*SETTLED, *LIVE))
    rows = {"rows_in": round(rates.get("samples", 0.0), 1), "rows_out": round(out, 1)}
    return {"name": TELEMETRY, **_of(processes, TELEMETRY), **rows, "state": state}


def gate(probe: Probe, rates: Mapping[str, float], processes: list[Process]) -> dict[str, Any]:
    """The command gate: what waits for it is asked of the broker."""
    waiting = sum(probe.lag(GATE).values())
    state = "unknown" if probe.newest is None else "stopped" if probe.stalled(GATE) else "running"
    rows_in, rows_out = (
        round(sum(rates.get(t, 0.0) for t in ts), 1) for ts in ((REQUESTS, ANSWERS), (DISPATCHED, EVENTS))
    )
    rows = {"rows_in": rows_in, "rows_out": rows_out}
    return {"name": "gate", **_of(processes, GATE), "lag": waiting, **rows, "state": state}


def history(rates: Mapping[str, float], processes: list[Process]) -> list[dict[str, Any]]:
    """The writer of the history, where it tells of itself."""
    said, taken = _of(processes, HISTORY), round(sum(rates.get(t, 0.0) for t in STORED), 1)
    if not said["processes"]:
        return []
    return [{"name": "history-writer", **said, "rows_in": taken, "rows_out": taken, "state": "running"}]


def edges(rates: Mapping[str, float], *, commands: bool) -> list[dict[str, Any]]:
    """Lines of the flow's picture, with records per second."""
    pairs = [("samples", TELEMETRY, "samples")]
    pairs += [(TELEMETRY, t, t) for t in (*SETTLED, *LIVE)]
    pairs += [(t, "history-writer", t) for t in STORED]
    pairs += [(t, "dashboard", t) for t in ("twin-live", "alerts", "twin-states", "ledger", "command-events")]
    if commands:
        pairs += [(t, "gate", t) for t in (REQUESTS, ANSWERS)] + [("gate", t, t) for t in (DISPATCHED, EVENTS)]
        pairs.append((DISPATCHED, "devices", DISPATCHED))
    steps = {(TELEMETRY, t): step for t, step in STEP_OF.items()} | {("samples", TELEMETRY): "fetch"}
    return [{"from": a, "to": b, "rate": round(rates.get(t, 0.0), 1), "step": steps.get((a, b))} for a, b, t in pairs]


def ages(shard: str, processes: list[Process]) -> dict[str, Any]:
    """Which process serves a shard, and how old the oldest record is that waits there and in front of the history."""
    found: dict[str, Any] = {}
    for process in processes:
        if process.flow == TELEMETRY and (shard,) in process.age_secs:
            found |= {"worker": process.name, "lag_ms": round(1000 * process.age_secs[shard,])}
        elif process.flow == HISTORY and (READ, shard) in process.age_secs:
            found["history_lag_ms"] = round(1000 * process.age_secs[READ, shard])
    return found


def _of(processes: list[Process], flow: str) -> dict[str, Any]:
    """How busy a flow is: as its busiest process; its steps with their shares of one process and all their rows."""
    mine = [p for p in processes if p.flow == flow]
    if not mine:
        return {"busy": None, "blocked": None, "behind_ms": None, "processes": 0, "steps": []}
    return {
        "busy": round(max(p.busy for p in mine), 3),
        "blocked": round(max(p.blocked for p in mine), 3),
        "behind_ms": round(1000 * max(p.behind_secs for p in mine)),
        "processes": len(mine),
        "steps": [_step([p.steps[i] for p in mine]) for i in range(min(len(p.steps) for p in mine))],
    }


def _step(same: list[Step]) -> dict[str, Any]:
    return {
        "name": same[0].name,
        "busy": round(max(s.busy for s in same), 3),
        "blocked": round(max(s.blocked for s in same), 3),
        "rows_in": round(sum(s.rows_in for s in same), 1),
        "rows_out": round(sum(s.rows_out for s in same), 1),
    }
