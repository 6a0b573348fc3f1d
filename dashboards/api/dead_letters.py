"""GET /api/dead-letters and POST /api/dead-letters/redrive."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from connectors.redrive import RedriveBusy, RedriveError, Redriven
from dashboards.api.commands import body
from dashboards.api.context import Context
from dashboards.api.faults import Fault, json


class Redrive(msgspec.Struct, forbid_unknown_fields=True):
    """Body of the redrive; without `dry_run: false` nothing is sent."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    dry_run: bool = True


def routes(context: Context) -> APIRouter:
    """Routes over the live view and the dead-letters topic."""
    router = APIRouter()
    view = context.view

    @router.get("/api/dead-letters")
    def letters(reason: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
        with view.lock:
            return json(view.pipeline.letters(reason, limit))

    @router.post("/api/dead-letters/redrive")
    async def redrive(request: Request) -> Response:
        asked = await body(request, Redrive)
        return json(await run_in_threadpool(_redrive, context, asked))

    return router


def _redrive(context: Context, asked: Redrive) -> Redriven:
    try:
        return context.redriver.run(asked.reason, limit=asked.limit, dry_run=asked.dry_run)
    except RedriveBusy as error:
        raise Fault(409, "Another redrive runs.", str(error), "Wait for its end, then try again.") from error
    except RedriveError as error:
        raise Fault(
            503, "The redrive is not confirmed.", str(error), "Try again: what was confirmed is not sent twice."
        ) from error
