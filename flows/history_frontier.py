"""The frontier: the arrival time up to which all that came in has gone through telemetry and is stored.

What `asof` says of what was known by then can change no more. It is found by the broker's own times:

    1. an instant A: every partition of the source has a record of A or later; the first of these lies at offset o
    2. telemetry has committed o everywhere: what arrived before A is in results whose transactions are closed
    3. the ends of all result topics then, open transactions included: what was appended before A lies below
    4. all below these ends is stored: the frontier is the last nanosecond before A
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from connectors.kafka_offsets import BrokerAway, BrokerOffsets, Offsets
from flows.history_store import Stopped, Store

SOURCE, GROUP = "samples", "telemetry"
RESULTS = ("readings", "twin-states", "alerts", "command-events")
"""Topics behind the tables that asof reads."""
BETWEEN_SECS = 0.25
LEAST_SECS = 1.0
"""A frontier is told at most this often."""

T = TypeVar("T")
log = logging.getLogger("twinflow.history")


class Frontier:
    """Finds the frontier again and again and tells the history.

    Args:
        bootstrap: of Kafka.
        stored: by topic and partition, the offset below which all is stored.
        store: of the history; `run` closes it.
        stop: set to end.
    """

    def __init__(self, bootstrap: str, stored: Callable[[], Offsets], store: Store, stop: threading.Event) -> None:
        self._broker = BrokerOffsets(bootstrap, group=GROUP)
        self._stored, self._store, self._stop = stored, store, stop

    def run(self) -> None:
        """Work until `stop`; while broker, telemetry or history are away the frontier stands still."""
        try:
            while not self._stop.is_set():
                begun = time.monotonic()
                self._advance(time.time_ns() // 1_000_000)
                self._stop.wait(LEAST_SECS - (time.monotonic() - begun))
        except Stopped as error:
            log.warning("%s", error)
        finally:
            self._broker.close()
            self._store.close()

    def _advance(self, at_ms: int) -> None:
        """Bring it up to an instant, ms since 1970 by the clock of the broker; returns early only at `stop`."""
        came = self._until(lambda: self._broker.first_since(SOURCE, at_ms), lambda found: min(found.values()) >= 0)
        if came is None:
            return
        committed = self._until(lambda: self._broker.committed(list(came)), lambda found: _reached(found, came))
        if committed is None:
            return
        ends = self._until(lambda: self._broker.ends(RESULTS), bool)
        if ends is None or self._until(self._stored, lambda found: _reached(found, ends)) is None:
            return
        times = {"known_ns": [at_ms * 1_000_000 - 1], "at_ns": [time.time_ns()]}
        row: dict[str, list[str] | list[int]] = {"source": [SOURCE], **times}
        self._store.surely("frontier", lambda client: client.insert("frontier", row))

    def _until(self, ask: Callable[[], T], enough: Callable[[T], bool]) -> T | None:
        """The first answer that is enough; None when told to stop."""
        while not self._stop.is_set():
            try:
                found = ask()
                if enough(found):
                    return found
            except BrokerAway as error:
                log.debug("frontier: %s", error)
            self._stop.wait(BETWEEN_SECS)
        return None


def _reached(found: Offsets, wanted: Offsets) -> bool:
    return all(found.get(place, -1) >= offset for place, offset in wanted.items())
