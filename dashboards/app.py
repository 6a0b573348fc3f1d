"""One ASGI application on one port: the pages, their static files under /tf and, where present, the API.

Streamlit's own bundle draws late, so the index page gets our styles, the module preload and boxes of the final size.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from dashboards.index import IndexPage

HERE = Path(__file__).resolve().parent
API_PATHS = ("/api/", "/ws/", "/healthz", "/metrics")


class Api(Protocol):
    """An ASGI application with a life of its own, such as a FastAPI one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    @property
    def router(self) -> Router: ...


class Router(Protocol):
    def lifespan_context(self, app: Api) -> AbstractAsyncContextManager[Mapping[str, object] | None]: ...


class Paths(BaseRoute):
    """Hands whole paths to another application unchanged, where a Mount would cut the prefix off."""

    def __init__(self, prefixes: tuple[str, ...], app: ASGIApp) -> None:
        self.prefixes = prefixes
        self.app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        ours = scope["type"] in ("http", "websocket") and str(scope["path"]).startswith(self.prefixes)
        return (Match.FULL if ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Fresh(StaticFiles):
    """Files that a browser asks for again, by their tag, so an upgrade is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def create(api: Api | None = None) -> st.App:
    """The application; `api` answers /api, /ws, /healthz and /metrics, and lives and ends with it."""

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncGenerator[dict[str, object]]:
        if api is None:
            yield {}
            return
        async with api.router.lifespan_context(api) as state:
            yield dict(state or {})

    routes: list[BaseRoute] = [Mount("/tf", Fresh(directory=HERE / "static"))]
    if api is not None:
        routes.insert(0, Paths(API_PATHS, api))
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]), Middleware(IndexPage)]
    return st.App(HERE / "script" / "main.py", routes=routes, middleware=guards, lifespan=lifespan)


def build() -> st.App:
    """With the API of dashboards.api.server where that is installed."""
    if importlib.util.find_spec("dashboards.api") is None:
        return create()
    server = importlib.import_module("dashboards.api.server")
    return create(server.create_app())
