"""GET /api/alarms: alerts folded into alarms, open ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import APIRouter
from starlette.responses import Response

from connectors.live_alarms import Alarm
from connectors.live_view import LiveView
from dashboards.api.context import Context
from dashboards.api.faults import Fault, json

DAY_NS = 86_400_000_000_000
MOST = 500

STATES: Mapping[str, Callable[[Alarm], bool]] = {
    "all": lambda a: True,
    "open": lambda a: a.state == "open",
    "unacked": lambda a: a.state == "open" and a.acknowledged is None and a.shelved is None,
    "acked": lambda a: a.state == "open" and a.acknowledged is not None and a.shelved is None,
    "returned": lambda a: a.state == "returned" and a.acknowledged is None and a.shelved is None,
    "shelved": lambda a: a.shelved is not None,
}


def listed(view: LiveView, *, state: str = "all", from_ns: int | None = None, to_ns: int | None = None) -> list[Alarm]:
    """Open ones whatever the range, then closed ones that were raised in it (by default in the last 24 h)."""
    now = view.clock()
    since = now - DAY_NS if from_ns is None else from_ns
    with view.lock:
        view.alarms.end_shelving(now)
        return [
            a
            for a in view.alarms.listed()
            if STATES[state](a)
            and (a.state == "open" or (a.raised_ns >= since and (to_ns is None or a.raised_ns <= to_ns)))
        ][:MOST]


def routes(context: Context) -> APIRouter:
    """Routes over the live view, which looks back 7 days."""
    router = APIRouter()

    @router.get("/api/alarms")
    def alarms(state: str = "all", from_ns: int | None = None, to_ns: int | None = None) -> Response:
        if state not in STATES:
            raise Fault(400, f"state is {state!r}.", "It is none of the list.", f"Choose one of {', '.join(STATES)}.")
        return json(listed(context.view, state=state, from_ns=from_ns, to_ns=to_ns))

    return router
