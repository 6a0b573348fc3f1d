"""GET /api/series, its SQL, /api/scores and /api/asof: points of a range, and everything at one instant."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from connectors.history_asof import canonical
from connectors.history_reader import Series
from connectors.history_sql import series_sql
from connectors.live_series import Points
from dashboards.api.context import Context
from dashboards.api.faults import Fault, json
from dashboards.api.history import asked
from dashboards.api.twins import no_twin

MOST_SIGNALS = 64
MOST_POINTS = 10_000


def routes(context: Context) -> APIRouter:
    """Routes over live view and history; what the live view holds needs no history."""
    router = APIRouter()
    view = context.view

    @router.get("/api/series")
    def series(
        twin: str, signals: str, from_ns: int, to_ns: int, points: int = 800, known_ns: int | None = None
    ) -> Response:
        names = [s for s in dict.fromkeys(signals.split(",")) if s]
        _check(names, from_ns, to_ns, points)
        held = view.values.twin(twin)
        if held is not None:
            for name in names:
                if name not in held.type.index:
                    why = f"Type {held.type.name} does not list it."
                    raise Fault(404, f"{twin} has no signal {name}.", why, "Choose one of the Twin page.")
            if known_ns is None:
                found = view.series(twin, names, from_ns=from_ns, to_ns=to_ns, points=points)
                if found is not None:
                    return json({"signals": found, "source": "live"})
        elif context.history is None:
            raise no_twin(twin)
        stored = asked(
            context.history, lambda h: h.series(twin, names, from_ns, to_ns, points=points, known_ns=known_ns)
        )
        return json({"signals": {name: _points(found) for name, found in stored.items()}, "source": "history"})

    @router.get("/api/series/sql")
    def sql(twin: str, signals: str, from_ns: int, to_ns: int, known_ns: int | None = None) -> Response:
        names = [s for s in dict.fromkeys(signals.split(",")) if s]
        _check(names, from_ns, to_ns, 1)
        return json({"sql": series_sql(twin, names, from_ns, to_ns, known_ns)})

    @router.get("/api/scores")
    def scores(twin: str, detector: str, from_ns: int, to_ns: int, points: int = 200) -> Response:
        _check([detector], from_ns, to_ns, points)
        found = asked(context.history, lambda h: h.scores(twin, detector, from_ns, to_ns, points=points))
        return json({"t": found.t.tolist(), "v": found.v.tolist(), "threshold": found.threshold.tolist()})

    @router.get("/api/asof")
    def asof(at_ns: int, known_ns: int | None = None, twin: str = "") -> Response:
        found = canonical(asked(context.history, lambda h: h.asof(at_ns, known_ns, twin)))
        return Response(found, media_type="application/json")

    return router


def _points(found: Series) -> Points:
    t, v = found.t.tolist(), found.v.tolist()
    if not found.bucket_ns:
        return Points(t, v)
    return Points(t, v, found.lo.tolist(), found.hi.tolist())


def _check(names: list[str], from_ns: int, to_ns: int, points: int) -> None:
    if not 0 < len(names) <= MOST_SIGNALS:
        raise Fault(400, f"signals names {len(names)} signals.", f"1 to {MOST_SIGNALS} are allowed.", "Ask for fewer.")
    if not 0 < points <= MOST_POINTS:
        raise Fault(400, f"points is {points}.", f"1 to {MOST_POINTS} are allowed.", "Ask for the width of the chart.")
    if to_ns <= from_ns:
        raise Fault(400, "to_ns is not after from_ns.", "The range is empty.", "Exchange them, or ask for more.")
