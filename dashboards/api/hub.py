"""Carries what is new from the feed's thread to every live socket that asked for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors.live_link import Link
from connectors.live_values import NewRows
from connectors.live_view import LiveView
from dashboards.api.client_queue import ClientQueue, Push

PACE_NS = 33_000_000
MOST_ROWS = 2_000
"""Rows of one push; what is older is left out and counted."""
SNAPSHOT_SECS = 1.0

Snapshot = Callable[[bytes], tuple[bytes, bytes | None]]
"""Key of the last one -> key of this one and its JSON, None where nothing changed."""
Row = tuple[str, int, float | None, int]

log = logging.getLogger("twinflow.api")


class Hub:
    """Live rows at most 30 times a second per twin, snapshots once a second when they changed.

    Args:
        view: what rows come from.
        link: told to every socket when it changes.
        snapshots: topic -> how it is made; made only while somebody listens.
    """

    def __init__(self, view: LiveView, link: Link, snapshots: Mapping[str, Snapshot]) -> None:
        self._view, self._link, self._snapshots = view, link, snapshots
        self.clients: set[ClientQueue] = set()
        self.sent = self.dropped_rows = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._names: frozenset[str] = frozenset()
        self._held: dict[str, list[Row]] = {}
        self._pushed_ns: dict[str, int] = {}
        self._lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        self._last: dict[str, bytes] = {}

    def add(self, client: ClientQueue) -> None:
        """A new socket; it hears at once whether Kafka answers."""
        self.clients.add(client)
        client.put("link", self._link_message())

    def remove(self, client: ClientQueue) -> None:
        """The socket is gone."""
        self.clients.discard(client)
        self._listened()

    def listen(self, client: ClientQueue, topics: frozenset[str]) -> None:
        """From now on it hears exactly these topics; what is new among them is filled at once."""
        fresh = topics - client.topics
        client.topics = topics
        self._listened()
        for topic in sorted(fresh):
            if topic.startswith("twin:"):
                newest = self._view.latest(topic.removeprefix("twin:"))
                if newest is not None and newest.ts.size:
                    client.push(_push(topic, self._rows(newest), self._view.clock()))
            elif topic in self._last:
                client.put(topic, self._last[topic])

    def _listened(self) -> None:
        names = (t.removeprefix("twin:") for c in self.clients for t in c.topics if t.startswith("twin:"))
        self._names = frozenset(names)
        with self._lock:
            for name in self._held.keys() - self._names:
                del self._held[name]
            for name in self._pushed_ns.keys() - self._names:
                del self._pushed_ns[name]

    def on_rows(self, new: NewRows) -> None:
        """Called by the feed's thread with every batch of new rows."""
        loop, names = self._loop, self._names
        if loop is None or not names or not new.ts.size:
            return
        numbers = {self._view.values.index.get(name): name for name in names}
        numbers.pop(None, None)
        wanted = np.isin(new.twin, np.array(list(numbers), np.int32))
        if not wanted.any():
            return
        with self._lock:
            for number, name in numbers.items():
                rows: NDArray[np.intp] = np.flatnonzero(new.twin == number)
                if rows.size:
                    part = NewRows(*(getattr(new, field)[rows] for field in NewRows.__dataclass_fields__))
                    self._held.setdefault(name, []).extend(self._rows(part))
        self._call(loop)

    def _call(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._flush)
        except RuntimeError:  # the loop has ended; so will the feed
            self._loop = None

    def _rows(self, new: NewRows) -> list[Row]:
        twins = self._view.values.twins
        columns = zip(
            new.series.tolist(),
            new.twin.tolist(),
            new.ts.tolist(),
            new.value.tolist(),
            new.quality.tolist(),
            strict=True,
        )
        return [(twins[d].type.signals[s - twins[d].base].name, t, v, q) for s, d, t, v, q in columns]

    def _flush(self) -> None:
        """Send what is held of every twin that was not pushed within the pace; come again for the rest."""
        now, ready, wait_ns = self._view.clock(), list[tuple[str, list[Row]]](), 0
        with self._lock:
            for name in list(self._held):
                due = self._pushed_ns.get(name, 0) + PACE_NS - now
                if due <= 0 or due > PACE_NS:
                    ready.append((name, self._held.pop(name)))
                    self._pushed_ns[name] = now
                else:
                    wait_ns = max(wait_ns, due)
        for name, rows in ready:
            topic = f"twin:{name}"
            push = _push(topic, rows, now)
            for client in self.clients:
                if topic in client.topics:
                    self.dropped_rows += client.push(push)
        if wait_ns and self._loop is not None:
            self._loop.call_later(wait_ns / 1e9, self._flush)

    async def run(self) -> None:
        """Once a second: snapshots that changed, the link when it changed, a ping."""
        self._loop = asyncio.get_running_loop()
        said: bytes = b""
        while True:
            link = msgspec.json.encode((self._link.state.up, self._link.state.cause))
            for client in self.clients:
                if link != said:
                    client.put("link", self._link_message())
                client.put("ping", b'{"topic":"ping","t_ns":%d}' % self._view.clock())
            said = link
            for topic in self._snapshots:
                await self._tell(topic)
            await asyncio.sleep(SNAPSHOT_SECS)

    async def _tell(self, topic: str) -> None:
        if not any(topic in c.topics for c in self.clients):
            self._keys.pop(topic, None)
            self._last.pop(topic, None)
            return
        try:
            key, data = await asyncio.to_thread(self._snapshots[topic], self._keys.get(topic, b""))
        except Exception:
            log.exception("the snapshot %s could not be made", topic)
            return
        if data is None:
            return
        self._keys[topic] = key
        self._last[topic] = b'{"topic":"%s","t_ns":%d,"data":%s}' % (topic.encode(), self._view.clock(), data)
        for client in self.clients:
            if topic in client.topics:
                client.put(topic, self._last[topic])

    def _link_message(self) -> bytes:
        return msgspec.json.encode({"topic": "link", "t_ns": self._view.clock(), "data": self._link.state})


def _push(topic: str, rows: list[Row], now_ns: int) -> Push:
    message: dict[str, object] = {"topic": topic, "t_ns": now_ns, "rows": rows[-MOST_ROWS:]}
    if len(rows) > MOST_ROWS:
        message["left_out"] = len(rows) - MOST_ROWS
    return Push(msgspec.json.encode(message), min(len(rows), MOST_ROWS))


def plain(made: Callable[[], object]) -> Snapshot:
    """A snapshot that changed when its JSON did."""

    def snapshot(before: bytes) -> tuple[bytes, bytes | None]:
        now = msgspec.json.encode(made())
        return now, None if now == before else now

    return snapshot
