"""Stands between a broker and its clients: passes bytes on, late, in halves, not at all, or hangs up."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

Answer = TypeVar("Answer")
UP, DOWN = "up", "down"
"""From the client to the broker, and back."""
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to every connection, old and new, while it lasts.

    Attributes:
        delay_secs: each piece waits up to so long, and those behind it with it.
        swallows: directions in which bytes vanish while both ends believe the connection is there.
        refuses: all connections are reset, new ones at once.
        tears: half of the next piece is passed on, then the connection is reset.
    """

    name: str
    delay_secs: float = 0.0
    swallows: frozenset[str] = frozenset()
    refuses: bool = False
    tears: bool = False


CLEAR = Fault("clear")
FAULTS = (
    Fault("delay", delay_secs=0.3),
    Fault("drop", refuses=True),
    Fault("torn", tears=True),
    Fault("half-open", swallows=frozenset({UP, DOWN})),
    Fault("deaf", swallows=frozenset({UP})),
    Fault("dumb", swallows=frozenset({DOWN})),
)


@dataclass(eq=False, slots=True)
class Connection:
    """Both ends of one, and whether any of its bytes vanished: then it can never be whole again."""

    ends: list[asyncio.StreamWriter] = field(default_factory=list)
    broken: bool = False

    def reset(self) -> None:
        """As if the other side had never heard of it."""
        for end in self.ends:
            end.transport.abort()


class Proxy:
    """Context: listens on `port`, passes on to `to_port`, both on loopback, until the end.

    Attributes:
        connections: how many there were. resets: how many were reset by a fault. swallowed: bytes that vanished.
    """

    def __init__(self, port: int, to_port: int, seed: int) -> None:
        self.port, self.to_port = port, to_port
        self.connections = self.resets = self.swallowed = 0
        self._dice = random.Random(seed)
        self._fault = CLEAR
        self._open: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """What clients are told."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def become(self, fault: Fault) -> None:
        """From now on; connections of which bytes vanished are reset when bytes pass again, as their ends would."""
        self._do(self._become(fault))

    def _do(self, what: Coroutine[Any, Any, Answer]) -> Answer:
        done: Future[Answer] = asyncio.run_coroutine_threadsafe(what, self._loop)
        return done.result(10)

    async def _become(self, fault: Fault) -> None:
        self._fault = fault
        for one in list(self._open):
            if fault.refuses or (one.broken and not fault.swallows):
                self._reset(one)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for one in list(self._open):
            one.reset()
        mine = asyncio.current_task()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not mine), return_exceptions=True)

    def _reset(self, connection: Connection) -> None:
        self.resets += 1
        connection.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        one = Connection([writer])
        self._open.add(one)
        try:
            if self._fault.refuses:
                return
            back, forth = await asyncio.open_connection("127.0.0.1", self.to_port)
            one.ends.append(forth)
            await asyncio.gather(self._pump(one, reader, forth, UP), self._pump(one, back, writer, DOWN))
        except OSError:  # either end is gone
            pass
        finally:
            one.reset()
            self._open.discard(one)

    async def _pump(
        self, one: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        while data := await reader.read(CHUNK):
            fault = self._fault
            if fault.delay_secs:
                await asyncio.sleep(self._dice.uniform(0, fault.delay_secs))
            if way in fault.swallows or one.broken:
                one.broken = True
                self.swallowed += len(data)
                continue
            if fault.tears:
                writer.write(data[: len(data) // 2])
                await writer.drain()
                self._reset(one)
                return
            writer.write(data)
            await writer.drain()
        one.reset()
