"""Every failure as JSON that says what, the likely cause, the next step, and an id to find it in the log."""

from __future__ import annotations

import logging
import uuid

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

log = logging.getLogger("twinflow.api")


class Fault(Exception):
    """An answer other than 200.

    >>> fault = Fault(404, "No twin p-9.", "Its name may be misspelt.", "Look at the overview.")
    >>> sorted(msgspec.json.decode(fault.body()))
    ['cause', 'id', 'next', 'what']
    """

    def __init__(self, status: int, what: str, cause: str, next_step: str) -> None:
        super().__init__(what)
        self.status, self.what, self.cause, self.next_step = status, what, cause, next_step
        self.id = uuid.uuid4().hex[:12]

    def body(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode({"what": self.what, "cause": self.cause, "next": self.next_step, "id": self.id})

    def response(self) -> Response:
        """As an HTTP answer."""
        return Response(self.body(), self.status, media_type="application/json")


def json(value: object, status: int = 200) -> Response:
    """Any value that msgspec knows, as an answer that nobody stores."""
    return Response(msgspec.json.encode(value), status, {"cache-control": "no-store"}, "application/json")


def install(app: FastAPI) -> None:
    """Let all failures of the application leave in this form."""

    async def fault(_: Request, error: Exception) -> Response:
        assert isinstance(error, Fault)
        if error.status >= 500:
            log.warning("%s: %s %s", error.id, error.what, error.cause)
        return error.response()

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(x) for x in first["loc"][1:]) or "body"
        return Fault(
            400, f"{where}: {first['msg']}.", "The request is not as docs/api.md says.", "Correct it."
        ).response()

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = f"{request.method} {request.url.path}: {error.detail}."
        return Fault(error.status_code, what, "There is no such address or method.", "See docs/api.md.").response()

    async def broken(request: Request, error: Exception) -> Response:
        made = Fault(500, "The page server made an error.", type(error).__name__, "Report it with the id; see the log.")
        log.error("%s: %s %s", made.id, request.method, request.url.path, exc_info=error)
        return made.response()

    app.add_exception_handler(Fault, fault)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, broken)
