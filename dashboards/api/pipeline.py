"""GET /api/pipeline: is anything lost or slow? Ledger, shards, flows, topics and dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from connectors.live_pipeline import ReasonSums, ShardSums
from connectors.shards import shard_name
from dashboards.api.context import Context
from dashboards.api.dead_words import meaning, who
from dashboards.api.faults import json
from dashboards.api.flows import READ, TELEMETRY, ages, edges, gate, history, telemetry


def whole(context: Context) -> dict[str, Any]:
    """Everything the Pipeline page shows."""
    view, probe = context.view, context.probe
    rates, lag, marks, now = probe.rates(), probe.lag(TELEMETRY), view.watermarks(), view.clock()
    processes = context.processes.now()
    with view.lock:
        sums = view.pipeline
        shards = dict(sums.shards)
        total = sums.total()
        partitions = [_partition(context, p, shards.get(p), lag, marks, now) for p in sorted({*lag, *shards})]
        letters = [_reason(r) for r in sorted(sums.reasons.values(), key=lambda r: -r.count)]
    for partition in partitions:
        partition |= ages(partition["shard"], processes)
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
        "flows": [
            telemetry(probe.newest, lag, rates, shards, now, processes),
            *([gate(probe, rates, processes)] if context.settings.commands else []),
            *history(rates, processes),
        ],
        "edges": edges(rates, commands=context.settings.commands),
        "dead_letters": letters,
    }


def _partition(
    context: Context, p: int, shard: ShardSums | None, lag: Mapping[int, int], marks: Mapping[str, int], now_ns: int
) -> dict[str, Any]:
    name = shard.shard if shard is not None else shard_name(p)
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
