"""The API as one ASGI application: wires the live view, its feed, the history and all routes; lives by its lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from connectors.command_requests import CommandRequests
from connectors.live_feed import LiveFeed
from connectors.live_link import Link
from connectors.live_probe import Probe
from connectors.live_view import LiveView
from connectors.redrive import Redriver
from dashboards.api import alarms, commands, dead_letters, faults, flows, health, live, pipeline, series, twins
from dashboards.api.context import Context
from dashboards.api.guard import Guard
from dashboards.api.history import History, HistoryPool
from dashboards.api.hub import Hub, plain
from dashboards.api.processes import Processes
from dashboards.api.settings import ApiSettings


def create_app(
    settings: ApiSettings | None = None, *, view: LiveView | None = None, history: History | None = None
) -> FastAPI:
    """The application; nothing runs and nobody is asked before its lifespan starts.

    Args:
        settings: from the environment when left out.
        view, history: others than those of the settings.

    Raises:
        SettingError, DefinitionError: the environment does not hold together.
    """
    settings = settings or ApiSettings.from_environment()
    view = view or LiveView(settings.fleet)
    link = Link(settings.kafka, clock=view.clock)
    context = Context(
        settings=settings,
        view=view,
        link=link,
        feed=LiveFeed(settings.kafka, view, link),
        probe=Probe(settings.kafka, link, topics=flows.TOPICS, clock=view.clock, sources=flows.SOURCES),
        requests=CommandRequests(settings.kafka),
        redriver=Redriver(settings.kafka),
        processes=Processes(settings.processes),
        history=history or (HistoryPool(settings.clickhouse) if settings.clickhouse else None),
    )
    hub = Hub(
        view,
        link,
        {
            "overview": lambda before: twins.overview(view, before),
            "pipeline": plain(lambda: pipeline.whole(context)),
            "alarms": plain(lambda: alarms.listed(view)),
            "commands": plain(lambda: commands.listed(view)),
        },
    )
    app = FastAPI(title="twinflow", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan(context, hub))
    app.state.context, app.state.hub = context, hub
    faults.install(app)
    app.add_middleware(Guard, hosts=settings.hosts, remote=settings.remote)
    for module in (twins, series, alarms, commands, pipeline, dead_letters):
        app.include_router(module.routes(context))
    app.include_router(health.routes(context, hub))
    app.include_router(live.routes(context, hub))
    return app


def _lifespan(context: Context, hub: Hub) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        ticker = asyncio.create_task(hub.run())
        context.feed.on_filled = lambda: setattr(context.view, "on_rows", hub.on_rows)
        context.feed.start()
        context.probe.start()
        context.processes.start()
        try:
            yield
        finally:
            context.view.on_rows = None
            ticker.cancel()
            await asyncio.gather(ticker, return_exceptions=True)
            await asyncio.to_thread(_stop, context)

    return lifespan


def _stop(context: Context) -> None:
    context.processes.stop()
    context.probe.stop()
    context.feed.stop()
    if context.history is not None:
        context.history.close()
