"""GET /api/twins and /api/twins/{id}: who is there, and everything about one."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from connectors.live_alarms import Alarm
from connectors.live_values import stale_limit_ns
from connectors.live_view import LiveView, Status
from dashboards.api.context import Context
from dashboards.api.faults import Fault, json
from dashboards.api.words import cause
from operators.definition import Signal, TwinType
from operators.types import NO_TIME

CLOSED_SHOWN = 20
STOP = "stop"
"""Verb of the ordinary stop; a type that has it can be stopped from every page."""


class Value(msgspec.Struct):
    """One value with its unit, its normal range and the limit it is nearest to breaking or has broken."""

    signal: str
    value: float
    unit: str
    normal_low: float | None = None
    normal_high: float | None = None
    limit: float | None = None


class TwinRow(msgspec.Struct):
    """One twin in a list; `age_ms` of the newest thing heard from it; `stop`: it can be asked to stop."""

    id: str
    type: str
    site: str
    state: str
    since_ns: int | None
    cause: str
    value: Value | None
    heard_ns: int | None
    unacked: int
    stop: bool = False
    age_ms: int | None = None


def rows(view: LiveView) -> list[TwinRow]:
    """All twins, worst first, without their ages."""
    now = view.clock()
    with view.lock:
        return [_row(view, status, now) for status in view.statuses()]


def with_ages(listed: list[TwinRow], now_ns: int) -> list[TwinRow]:
    """The same rows, each with its age."""
    for row in listed:
        row.age_ms = None if row.heard_ns is None else max(0, now_ns - row.heard_ns) // 1_000_000
    return listed


def overview(view: LiveView, before: bytes) -> tuple[bytes, bytes | None]:
    """What changes the list of twins, and the list where that is not as `before`."""
    listed = rows(view)
    key = msgspec.json.encode([(r.id, r.state, r.value, r.heard_ns, r.unacked) for r in listed])
    return key, None if key == before else msgspec.json.encode(with_ages(listed, view.clock()))


def routes(context: Context) -> APIRouter:
    """Routes over the live view."""
    router = APIRouter()
    view = context.view

    @router.get("/api/twins")
    def twins() -> Response:
        return json(with_ages(rows(view), view.clock()))

    @router.get("/api/twins/{twin:path}")
    def one(twin: str) -> Response:
        with view.lock:
            status = view.status(twin)
            if status is None:
                raise no_twin(twin)
            return json(_whole(context, status))

    return router


def no_twin(name: str) -> Fault:
    """Nobody has heard of it."""
    return Fault(404, f"No twin {name}.", "It never sent a sample, or its name is misspelt.", "Look at the overview.")


def _row(view: LiveView, status: Status, now_ns: int) -> TwinRow:
    twin = status.twin
    return TwinRow(
        id=twin.name,
        type=twin.type.name,
        site=_site(view, twin.name),
        state=status.state,
        since_ns=status.since_ns,
        cause=cause(status, now_ns),
        value=_main_value(view, status),
        heard_ns=status.heard_ns,
        unacked=status.unacknowledged,
        stop=any(c.verb == STOP for c in twin.type.commands),
    )


def _site(view: LiveView, twin: str) -> str:
    """As its device reports, else as the fleet says."""
    report = view.document(twin).get("report") if view.has_report(twin) else None
    site = report.get("site") if isinstance(report, dict) else None
    return site if isinstance(site, str) and site else view.fleet.site_of(twin)


def _main_value(view: LiveView, status: Status) -> Value | None:
    """Of the signal its worst alarm names, else of one that a rule watches, else of its first."""
    kind, values = status.twin.type, view.values
    wanted = [status.worst.signal] if status.worst is not None else []
    wanted += [rule.signal for rule in kind.rules] + [s.name for s in kind.signals]
    for name in wanted:
        column = kind.index.get(name)
        if column is not None and values.ts[status.twin.base + column] != NO_TIME:
            value, signal = float(values.value[status.twin.base + column]), kind.signals[column]
            low, high = _finite(signal.normal_low), _finite(signal.normal_high)
            return Value(name, value, signal.unit, low, high, _limit(status, name, value))
    return None


def _limit(status: Status, signal: str, value: float) -> float | None:
    """Of the rule that raised the worst alarm, else the nearest one of the rules of the signal."""
    worst = status.worst
    if worst is not None and worst.kind == "rule" and worst.signal == signal and worst.threshold is not None:
        return worst.threshold
    limits = [r.limit for r in status.twin.type.rules if r.signal == signal and r.kind != "absent"]
    return min(limits, key=lambda limit: abs(limit - value), default=None)


def _whole(context: Context, status: Status) -> dict[str, Any]:
    view, twin, kind = context.view, status.twin, status.twin.type
    now, stored = view.clock(), view.document(twin.name)
    opened = sorted(view.alarms.open.get(twin.name, {}).values(), key=lambda a: (a.priority, a.raised_ns))
    closed = [a for a in view.alarms.listed() if a.twin == twin.name and a.state == "returned"][:CLOSED_SHOWN]
    [row] = with_ages([_row(view, status, now)], now)
    return {
        **msgspec.structs.asdict(row),
        "version": kind.version,
        "components": _components(kind, status, opened),
        "signals": [_signal(view, status, i, signal, now) for i, signal in enumerate(kind.signals)],
        "alarms": opened + closed,
        "commands": [
            {"verb": c.verb, "arguments": c.arguments, "timeout_ns": c.timeout_ns, "grave": c.grave}
            for c in (kind.commands if context.settings.commands else ())
        ],
        "clock": {"kind": kind.clock},
        "shard": twin.shard,
        **{name: stored.get(name) or {} for name in ("report", "desired", "delta", "derived")},
        "revision": stored.get("revision", 0),
    }


def _signal(view: LiveView, status: Status, column: int, signal: Signal, now_ns: int) -> dict[str, Any]:
    values, at = view.values, status.twin.base + column
    known = bool(values.ts[at] != NO_TIME)
    age_ns = max(0, now_ns - int(values.arrival[at])) if known else None
    old = age_ns is not None and signal.rate_hz > 0 and age_ns > stale_limit_ns(signal.rate_hz)
    return {
        "name": signal.name,
        "unit": signal.unit,
        "component": signal.component,
        "value": float(values.value[at]) if known else None,
        "ts_ns": int(values.ts[at]) if known else None,
        "age_ms": None if age_ns is None else age_ns // 1_000_000,
        "quality": int(values.quality[at]),
        "stale": known and bool(old or status.state == "offline"),
        "low": _finite(signal.low),
        "high": _finite(signal.high),
        "normal_low": _finite(signal.normal_low),
        "normal_high": _finite(signal.normal_high),
        "rate_hz": signal.rate_hz,
        "limits": [
            {"rule": r.id, "kind": r.kind, "limit": r.limit, "severity": r.severity}
            for r in status.twin.type.rules
            if r.signal == signal.name and r.kind != "absent"
        ],
    }


def _components(kind: TwinType, status: Status, opened: list[Alarm]) -> list[dict[str, str]]:
    """Each part with the worst state of its own alarms and those of the parts below it."""

    def state(path: str) -> str:
        if status.state == "offline":
            return "offline"
        mine = {
            a.severity
            for a in opened
            if f"{_component(kind, a.signal)}/".startswith(f"{path}/")
        }  # fmt: skip
        return "alarm" if "alarm" in mine else "warn" if mine else "ok"

    return [{"path": c.path, "title": c.title, "kind": c.kind, "state": state(c.path)} for c in kind.tree]


def _component(kind: TwinType, signal: str) -> str:
    column = kind.index.get(signal)
    return "" if column is None else kind.signals[column].component


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None
