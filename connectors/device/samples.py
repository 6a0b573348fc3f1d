"""Turns what devices measure into records, JSON or packed, numbered, and puts them into the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import wire
from .counters import Counters
from .records import Queue, Record

if TYPE_CHECKING:
    from .packed import Packer


class Samples:
    """The outgoing side of a gateway; any thread may call it.

    Args:
        queue: where records wait.
        topic: topic of samples.
        stamp: time of a sample, ns UTC, from the one given by the caller (None: now), and whether it is to be trusted.
        packed_rows, packed_secs: rows of a packed block, and how long one is held back for more; 0 rows: JSON.
    """

    def __init__(
        self,
        queue: Queue,
        counters: Counters,
        *,
        topic: str,
        stamp: Callable[[wire.Time | None], tuple[int, bool]],
        packed_rows: int = 0,
        packed_secs: float = 1.0,
    ) -> None:
        self._queue, self._counters, self._topic, self._stamp = queue, counters, topic, stamp
        self._rows, self._secs = packed_rows, packed_secs
        self._lock = threading.RLock()
        self._packers: dict[str, Packer] = {}

    def send(self, device: str, signals: Mapping[str, Any], ts: wire.Time | None) -> None:
        """One sample of each signal.

        Raises:
            WrongMessage: the contract does not take it.
        """
        values = wire.checked(signals)
        ts_ns, trusted = self._stamp(ts)
        with self._lock:
            if self._rows:
                self._pack(device, ts_ns, values, trusted)
            else:
                seq = self._counters.next(device)
                value = wire.samples(device, ts_ns, values, seq, self._counters.boot)
                self._put(device, Record(self._topic, device.encode(), value, _headers(trusted), seq))

    def report(self, device: str, document: Mapping[str, Any], ts: wire.Time | None) -> None:
        """A document to merge into the twin.

        Raises:
            WrongMessage: the contract does not take it.
        """
        ts_ns, trusted = self._stamp(ts)
        with self._lock:
            self.flush(device)
            seq = self._counters.next(device)
            value = wire.report(device, ts_ns, document, seq, self._counters.boot)
            self._put(device, Record(self._topic, device.encode(), value, _headers(trusted), seq))

    def flush(self, device: str = "") -> None:
        """Send the rows that are held back, of one device or of all."""
        with self._lock:
            for name, packer in list(self._packers.items()):
                if packer.rows and device in ("", name):
                    self._send_block(name, packer)

    def tick(self) -> None:
        """Send the blocks that were held back long enough."""
        now = time.monotonic()
        with self._lock:
            for name, packer in list(self._packers.items()):
                if packer.rows and now - packer.since >= self._secs:
                    self._send_block(name, packer)

    def opening(self) -> list[Record]:
        """What each segment of the spool begins with: what follows must be readable without an older one."""
        schemas = [packer.schema_record(self._topic) for packer in self._packers.values() if packer.told]
        return [self._counters.note(), *schemas]

    def _pack(self, device: str, ts_ns: int, values: Mapping[str, float | list[float]], trusted: bool) -> None:
        packer = self._packers.get(device)
        if packer is None:
            from .packed import Packer

            packer = self._packers[device] = Packer(device)
        if packer.rows and trusted != packer.trusted:
            self._send_block(device, packer)
        packer.add(ts_ns, values, trusted)
        if packer.full(self._rows):
            self._send_block(device, packer)

    def _send_block(self, device: str, packer: Packer) -> None:
        schema, (value, headers) = packer.schema_record(self._topic), packer.take()
        if not packer.told:
            packer.told = True
            self._queue.append(schema)
        seq = self._counters.next(device)
        own = (("seq", str(seq).encode()), ("boot", self._counters.boot.encode()))
        self._put(device, Record(self._topic, device.encode(), value, (*headers, *own, *_headers(packer.trusted)), seq))

    def _put(self, device: str, record: Record) -> None:
        self._queue.append(record)
        self._counters.count(device)


def _headers(trusted: bool) -> tuple[tuple[str, bytes], ...]:
    return (("clock", b"trusted"),) if trusted else ()
