"""GET and POST /api/commands: what became of commands, and asking for one. The gate decides, never this page."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from connectors.command_requests import RequestNotSent
from connectors.live_alarms import SHELVE, UNSHELVE
from connectors.live_commands import OF_ALARMS, Command
from connectors.live_view import LiveView
from dashboards.api.context import Context
from dashboards.api.faults import Fault, json
from dashboards.api.twins import no_twin

MOST = 500
MOST_BODY = 64 << 10
MOST_SHELVED_NS = 7 * 86_400_000_000_000

T = TypeVar("T")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /api/commands."""

    device: str
    verb: str
    arguments: dict[str, Any] = {}
    reason: str = ""


def listed(view: LiveView) -> list[Command]:
    """The newest ones."""
    with view.lock:
        return view.commands.listed()[:MOST]


async def body(request: Request, kind: type[T]) -> T:
    """The JSON body of a request.

    Raises:
        Fault: it is too long, not declared as JSON, or not what is asked for.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Fault(415, "The body is not declared as JSON.", "content-type is missing.", "Send application/json.")
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MOST_BODY:
            raise Fault(413, "The body is too long.", f"{MOST_BODY >> 10} KiB are allowed.", "Send less.")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Fault(400, f"The body is refused: {error}.", "It is not as docs/api.md says.", "Correct it.") from error


def routes(context: Context) -> APIRouter:
    """Routes over the live view and the topic command-requests."""
    router = APIRouter()

    @router.get("/api/commands")
    def commands() -> Response:
        return json(listed(context.view))

    @router.post("/api/commands")
    async def ask(request: Request) -> Response:
        asked = await body(request, Asked)
        return json({"id": await run_in_threadpool(_send, context, asked)}, 202)

    return router


def _send(context: Context, asked: Asked) -> str:
    if not context.settings.commands:
        raise Fault(503, "No command can be sent.", "No commands flow is configured.", "Nothing was written.")
    twin = context.view.values.twin(asked.device)
    if twin is None:
        raise no_twin(asked.device)
    verbs = [c.verb for c in twin.type.commands]
    if asked.verb in OF_ALARMS:
        _check_alarm(context.view, asked)
    elif asked.verb not in verbs:
        known = f"It understands {', '.join(verbs) or 'no command'}."
        raise Fault(400, f"{asked.device} does not understand {asked.verb!r}.", known, "Nothing was written.")
    try:
        return context.requests.send(
            device=asked.device,
            verb=asked.verb,
            arguments=asked.arguments,
            reason=asked.reason,
            issuer=context.settings.issuer,
            ts_ns=context.view.clock(),
        )
    except RequestNotSent as error:
        raise Fault(
            503, "The command is not confirmed.", str(error), "Look at the list before you ask again."
        ) from error


def _check_alarm(view: LiveView, asked: Asked) -> None:
    """What the page can know of a command for an alarm; the gate checks again.

    Raises:
        Fault: there is no such alarm, it is another twin's, or the end or the reason of a shelving is missing.
    """
    name = asked.arguments.get("alarm")
    with view.lock:
        view.alarms.end_shelving(view.clock())
        alarm = view.alarms.by_id.get(name) if isinstance(name, str) else None
    if alarm is None:
        raise Fault(404, f"No alarm {name}.", "It is over since long, or its id is misspelt.", "Look at the alarms.")
    if alarm.twin != asked.device:
        raise Fault(400, f"Alarm {name} is not of {asked.device}.", f"It is of {alarm.twin}.", "Nothing was written.")
    if asked.verb == UNSHELVE and alarm.shelved is None:
        raise Fault(409, f"Alarm {name} is not shelved.", "Its end was reached or somebody ended it.", "Look again.")
    if asked.verb == SHELVE:
        _check_shelving(asked, view.clock())


def _check_shelving(asked: Asked, now_ns: int) -> None:
    until_ns = asked.arguments.get("until_ns")
    if not asked.reason.strip():
        raise Fault(400, "A shelving needs a reason.", "reason is empty.", "Say why the alarm may be put aside.")
    if type(until_ns) is not int or not now_ns < until_ns <= now_ns + MOST_SHELVED_NS:
        end = "until_ns is not an instant (ns UTC) within the next 7 days."
        raise Fault(400, "A shelving needs an end.", end, "Choose one, such as in 8 hours.")
