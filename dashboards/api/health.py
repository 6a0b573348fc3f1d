"""/healthz, /metrics and /api/features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from connectors.live_view import WORST_FIRST
from dashboards.api.context import Context
from dashboards.api.faults import json
from dashboards.api.flows import GATE, TELEMETRY
from dashboards.api.hub import Hub


class LiveCollector(Collector):
    """The live view's figures at the moment they are asked for."""

    def __init__(self, context: Context, hub: Hub) -> None:
        self._context, self._hub = context, hub

    def collect(self) -> Iterable[Metric]:
        """All figures."""
        view, probe, hub = self._context.view, self._context.probe, self._hub
        with view.lock:
            states = Counter(status.state for status in view.statuses())
            opened = Counter(a.severity for held in view.alarms.open.values() for a in held.values())
            sums = view.pipeline
            records, unreadable, rows = dict(sums.records), dict(view.unreadable), view.rows
            reasons = {r.reason: r.count for r in sums.reasons.values()}
            total, holes = sums.total(), sum(s.holes for s in sums.shards.values())
            names = {p: s.shard for p, s in sums.shards.items()}
        lag = {names.get(p, str(p)): n for p, n in probe.lag(TELEMETRY).items()}
        yield _gauge("twinflow_link_up", "Kafka answers.", float(self._context.link.state.up is True))
        yield _gauge("twinflow_live_filled", "The first fill is done.", float(self._context.feed.filled.is_set()))
        yield _labelled(GaugeMetricFamily, "twinflow_twins", "Twins.", "state", {s: states[s] for s in WORST_FIRST})
        yield _labelled(
            GaugeMetricFamily,
            "twinflow_open_alarms",
            "Open alarms.",
            "severity",
            {s: opened[s] for s in ("alarm", "warn")},
        )
        yield _labelled(GaugeMetricFamily, "twinflow_lag_records", "Records telemetry has not committed.", "shard", lag)
        yield _gauge("twinflow_ledger_balance", "Records and samples not accounted for.", total.balance)
        yield _gauge("twinflow_ledger_holes", "Offsets that no ledger entry covers.", holes)
        yield _labelled(CounterMetricFamily, "twinflow_live_records", "Records read.", "topic", records)
        yield _labelled(CounterMetricFamily, "twinflow_live_unreadable", "Records left out.", "topic", unreadable)
        yield _labelled(CounterMetricFamily, "twinflow_dead_letters", "Dead letters seen.", "reason", reasons)
        yield _counter("twinflow_live_samples", "Live samples taken.", rows)
        yield _counter("twinflow_link_losses", "Times Kafka was lost.", self._context.link.losses)
        yield _gauge("twinflow_ws_clients", "Open live sockets.", len(hub.clients))
        yield _counter("twinflow_ws_messages", "Messages sent to live sockets.", hub.sent)
        yield _counter("twinflow_ws_dropped_rows", "Live rows that slow clients missed.", hub.dropped_rows)


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=value)


def _counter(name: str, said: str, value: float) -> Metric:
    return CounterMetricFamily(name, said, value=value)


def _labelled(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily], name: str, said: str, label: str, found: dict[str, int]
) -> Metric:
    family = kind(name, said, labels=[label])
    for value, count in found.items():
        family.add_metric([value], count)
    return family


def routes(context: Context, hub: Hub) -> APIRouter:
    """Routes that machines ask."""
    router = APIRouter()
    registry = CollectorRegistry()
    registry.register(LiveCollector(context, hub))
    for own in (ProcessCollector, PlatformCollector, GCCollector):
        own(registry=registry)

    @router.get("/healthz")
    def healthz() -> Response:
        link, filled = context.link.state, context.feed.filled.is_set()
        said: dict[str, Any] = {"ready": filled and link.answered_ns is not None, "filled": filled, "kafka": link}
        said["waiting_for"] = context.feed.waiting_for
        return json(said, 200 if said["ready"] else 503)

    @router.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/api/features")
    def features() -> Response:
        has = context.settings.commands
        gate = (
            {"waiting": sum(context.probe.lag(GATE).values()), "stalled": context.probe.stalled(GATE)} if has else None
        )
        return json({"commands": has, "history": context.history is not None, "gate": gate})

    return router
