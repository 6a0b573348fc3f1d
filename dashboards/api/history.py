"""Questions to the history: a few connections shared by all requests, and what is said when it does not answer."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from connectors.clickhouse import ClickHouse, HistoryError, HistoryUnavailable
from connectors.history_reader import HistoryReader
from connectors.live_link import Link, LinkState
from dashboards.api.faults import Fault

T = TypeVar("T")
CONNECTIONS = 4
ANSWER_SECS = 10.0
POSITIONS_SECS = 5.0

log = logging.getLogger("twinflow.api")


class History(Protocol):
    """What the routes need of a history."""

    def ask(self, question: Callable[[HistoryReader], T]) -> T:
        """The answer of a reader; raises Fault 503 when nobody answers, 502 when the question is refused."""

    def positions(self) -> Mapping[tuple[str, int], int]:
        """Next offset by topic and partition that the history has taken, as last heard; asks nobody now."""

    @property
    def state(self) -> LinkState:
        """Whether it answers, as far as it was asked."""

    def close(self) -> None:
        """Give back all connections."""


class HistoryPool:
    """At most CONNECTIONS readers, each for one question at a time; a broken one is thrown away.

    Args:
        url: of a ClickHouse, with a user who may read; it need not be there yet.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit(url)
        self._link = Link(f"{parts.hostname}:{parts.port or 8123}", what="The history")
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._idle: queue.SimpleQueue[tuple[ClickHouse, HistoryReader]] = queue.SimpleQueue()
        self._positions: dict[tuple[str, int], int] = {}
        self._asked_secs = float("-inf")
        self._asking = threading.Lock()

    def ask(self, question: Callable[[HistoryReader], T]) -> T:
        """The answer of a reader.

        Raises:
            Fault: nobody answers, all connections are busy, or the question is refused.
        """
        if not self._places.acquire(timeout=ANSWER_SECS):
            raise Fault(503, "The history is busy.", "Many questions wait.", "Try again, with a shorter range.")
        try:
            answer = self._ask(question)
            self._link.answered()
            return answer
        except HistoryUnavailable as error:
            self._link.lost(str(error))
            said = "The history does not answer. Live values still arrive."
            raise Fault(503, said, str(error), "It restarts by itself; see: twinflow status") from error
        except HistoryError as error:
            self._link.answered()
            raise Fault(502, "The history refused the question.", str(error), "Ask for a shorter range.") from error
        finally:
            self._places.release()

    def _ask(self, question: Callable[[HistoryReader], T]) -> T:
        try:
            client, reader = self._idle.get_nowait()
        except queue.Empty:
            client = ClickHouse(self._url, timeout_secs=ANSWER_SECS)
            reader = HistoryReader(client)
        try:
            answer = question(reader)
        except BaseException:
            client.close()
            raise
        self._idle.put((client, reader))
        return answer

    @property
    def state(self) -> LinkState:
        """Whether it answered the last question."""
        return self._link.state

    def positions(self) -> Mapping[tuple[str, int], int]:
        """As last heard; asked again in the background when that is older than POSITIONS_SECS."""
        due = time.monotonic() - self._asked_secs > POSITIONS_SECS
        if due and self._asking.acquire(blocking=False):
            threading.Thread(target=self._hear, name="history-positions", daemon=True).start()
        return self._positions

    def _hear(self) -> None:
        try:
            rows = self.ask(lambda reader: reader.pipeline())["positions"]
            self._positions = {(row["topic"], int(row["partition"])): int(row["offset"]) for row in rows}
        except Fault as fault:
            log.info("%s: positions of the history: %s", fault.id, fault.cause)
            self._positions = {}
        finally:
            self._asked_secs = time.monotonic()
            self._asking.release()

    def close(self) -> None:
        """Give back the idle connections."""
        while not self._idle.empty():
            self._idle.get()[0].close()


def asked(history: History | None, question: Callable[[HistoryReader], T]) -> T:
    """The answer of the history.

    Raises:
        Fault: there is none, it does not answer, or it refuses.
    """
    if history is None:
        raise Fault(503, "There is no history.", "None is configured.", "Start it with: twinflow up")
    return history.ask(question)
