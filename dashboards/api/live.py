"""/ws/live: a browser says what it wants to hear and hears it as it comes."""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboards.api.client_queue import ClientQueue
from dashboards.api.context import Context
from dashboards.api.hub import Hub

MOST_TOPICS = 200
MOST_TEXT = 64 << 10
SNAPSHOTS = ("overview", "pipeline", "alarms", "commands")
TRY_AGAIN_LATER = 1013


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """What a socket may say. `subscribe` is the whole list from now on; `unsubscribe` takes some of it back."""

    subscribe: list[str] | None = None
    unsubscribe: list[str] | None = None


class BadWish(ValueError):
    """What a socket said makes no sense; it stays open."""


def topics_of(text: str, before: frozenset[str]) -> frozenset[str]:
    """The topics a socket hears after it said `text`.

    Raises:
        BadWish: with the reason.

    >>> sorted(topics_of('{"subscribe":["twin:p-1","overview"]}', frozenset()))
    ['overview', 'twin:p-1']
    """
    if len(text) > MOST_TEXT:
        raise BadWish(f"longer than {MOST_TEXT >> 10} KiB")
    try:
        wish = msgspec.json.decode(text, type=Wish)
    except msgspec.MsgspecError as error:
        raise BadWish(str(error)) from error
    topics = before if wish.subscribe is None else frozenset(wish.subscribe)
    topics -= frozenset(wish.unsubscribe or ())
    for topic in topics:
        if topic not in SNAPSHOTS and not (topic.startswith("twin:") and len(topic) > 5):
            raise BadWish(f"there is no topic {topic!r}; there are twin:<id>, {', '.join(SNAPSHOTS)}")
    if len(topics) > MOST_TOPICS:
        raise BadWish(f"{len(topics)} topics; {MOST_TOPICS} are allowed")
    return topics


def routes(context: Context, hub: Hub) -> APIRouter:
    """One route."""
    router = APIRouter()

    @router.websocket("/ws/live")
    async def live(socket: WebSocket) -> None:
        if len(hub.clients) >= context.settings.most_clients:
            await socket.close(TRY_AGAIN_LATER, "too many live sockets are open")
            return
        await socket.accept()
        client = ClientQueue()
        hub.add(client)
        tasks = [
            asyncio.create_task(_hear(socket, client, hub)),
            asyncio.create_task(_speak(socket, client, hub, context)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hub.remove(client)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return router


async def _hear(socket: WebSocket, client: ClientQueue, hub: Hub) -> None:
    while True:
        try:
            text = await socket.receive_text()
            hub.listen(client, topics_of(text, client.topics))
        except BadWish as error:
            client.put("error", msgspec.json.encode({"topic": "error", "what": str(error), "next": "See docs/api.md."}))
        except (WebSocketDisconnect, RuntimeError, KeyError):
            return


async def _speak(socket: WebSocket, client: ClientQueue, hub: Hub, context: Context) -> None:
    while True:
        await client.wait()
        message = client.pop(context.view.clock())
        if message is not None:
            try:
                await socket.send_text(message.decode())
            except (WebSocketDisconnect, RuntimeError):
                return
            hub.sent += 1
