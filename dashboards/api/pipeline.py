"""GET /api/pipeline: is anything lost or slow? Ledger, shards, flows, topics and dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from connectors.live_pipeline import ReasonSums, ShardSums
from connectors.live_probe import Offsets, Probe
from dashboards.api.context import Context
from dashboards.api.dead_words import meaning, who
from dashboards.api.faults import json

SETTLED = ("readings", "windows", "rows", "anomalies", "twin-states", "gaps", "ledger", "late", "dead-letters")
LIVE = ("twin-live", "alerts", "command-requests")
REQUESTS, ANSWERS, DISPATCHED, EVENTS = "command-requests", "command-acks", "commands", "command-events"
TOPICS = ("samples", *SETTLED, *LIVE, ANSWERS, DISPATCHED, EVENTS)
STORED = (*SETTLED, "alerts", REQUESTS, EVENTS)
TELEMETRY, GATE = "telemetry", "commands"
"""Groups that flows commit as."""
SOURCES: Mapping[str, str] = {TELEMETRY: "samples", GATE: REQUESTS}
READ = "readings"
SILENT_NS = 10_000_000_000


def whole(context: Context) -> dict[str, Any]:
    """Everything the Pipeline page shows."""
    view, probe = context.view, context.probe
    rates, lag, marks, now = probe.rates(), probe.lag(TELEMETRY), view.watermarks(), view.clock()
    with view.lock:
        sums = view.pipeline
        shards = dict(sums.shards)
        total = sums.total()
        partitions = [_partition(context, p, shards.get(p), lag, marks, now) for p in sorted({*lag, *shards})]
        letters = [_reason(r) for r in sorted(sums.reasons.values(), key=lambda r: -r.count)]
    return {
        "links": {
            "broker": context.link.state,
            "history": context.history.state if context.history is not None else None,
        },
        "ledger": {
            "records_in": total.records_in,
            "samples_in": total.samples_in,
            "records": total.records,
            "samples": total.samples,
            "balance": total.balance,
            "missing": sum(s.holes for s in shards.values()),
            "since_ns": min((s.since_ns for s in shards.values()), default=None),
            "cut_ns": max((s.at_ns for s in shards.values()), default=None),
        },
        "partitions": partitions,
        "flows": _flows(probe.newest, lag, rates, shards, now)
        + (_gate(probe, rates) if context.settings.commands else []),
        "edges": _edges(rates, gate=context.settings.commands),
        "dead_letters": letters,
    }


def _partition(
    context: Context, p: int, shard: ShardSums | None, lag: Mapping[int, int], marks: Mapping[str, int], now_ns: int
) -> dict[str, Any]:
    name = shard.shard if shard is not None else str(p)
    return {
        "shard": name,
        "partition": p,
        "lag": lag.get(p),
        "rate": round(shard.rate(now_ns), 1) if shard is not None else 0.0,
        "watermark_ns": marks.get(name),
        "late": shard.sums.samples.late if shard is not None else 0,
        "missing": context.view.pipeline.missing(p),
        "holes": shard.holes if shard is not None else 0,
        "committed_ns": shard.at_ns if shard is not None else None,
        "history_lag": _history_lag(context, p),
    }


def _history_lag(context: Context, p: int) -> int | None:
    """Records of `readings` that the history has not taken; None where that is not known."""
    probed = context.probe.newest
    taken = context.history.positions().get((READ, p)) if context.history is not None else None
    if probed is None or taken is None:
        return None
    return max(0, probed.ends.get(READ, {}).get(p, 0) - taken)


def _flows(
    probed: Offsets | None,
    lag: Mapping[int, int],
    rates: Mapping[str, float],
    shards: Mapping[int, ShardSums],
    now_ns: int,
) -> list[dict[str, Any]]:
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
    return [
        {
            "name": "telemetry",
            "busy": None,
            "rows_in": round(rates.get("samples", 0.0), 1),
            "rows_out": round(out, 1),
            "state": state,
        }
    ]


def _gate(probe: Probe, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """The command gate, which nobody sees work but by what waits for it."""
    waiting = sum(probe.lag(GATE).values())
    state = "unknown" if probe.newest is None else "stopped" if probe.stalled(GATE) else "running"
    rows_in, rows_out = (
        round(sum(rates.get(t, 0.0) for t in ts), 1) for ts in ((REQUESTS, ANSWERS), (DISPATCHED, EVENTS))
    )
    return [{"name": "gate", "busy": None, "lag": waiting, "rows_in": rows_in, "rows_out": rows_out, "state": state}]


def _edges(rates: Mapping[str, float], *, gate: bool) -> list[dict[str, Any]]:
    """Lines of the flow's picture, with records per second."""
    pairs = [("samples", "telemetry", "samples")]
    pairs += [("telemetry", t, t) for t in (*SETTLED, *LIVE)]
    pairs += [(t, "history-writer", t) for t in STORED]
    pairs += [(t, "dashboard", t) for t in ("twin-live", "alerts", "twin-states", "ledger", "command-events")]
    if gate:
        pairs += [(t, "gate", t) for t in (REQUESTS, ANSWERS)] + [("gate", t, t) for t in (DISPATCHED, EVENTS)]
        pairs.append((DISPATCHED, "devices", DISPATCHED))
    return [{"from": a, "to": b, "rate": round(rates.get(t, 0.0), 1)} for a, b, t in pairs]


def _reason(sums: ReasonSums) -> dict[str, Any]:
    said = meaning(sums.reason)
    return {
        "reason": sums.reason,
        "count": sums.count,
        "last_ns": sums.last_ns,
        "who": who(sums.devices),
        "plain": said.plain,
        "next": said.next,
        "redrive": said.useful,
    }


def routes(context: Context) -> APIRouter:
    """One route."""
    router = APIRouter()

    @router.get("/api/pipeline")
    def pipeline() -> Response:
        return json(whole(context))

    return router
