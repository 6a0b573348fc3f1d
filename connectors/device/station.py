"""What a device and a gateway have in common: the spool, the clock, the connection, the handlers."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Union

from . import wire
from .clock import Clock
from .counters import Counters
from .errors import DeviceError
from .folder import default_folder, lock
from .handlers import Handler, Handlers
from .journal import Journal
from .listener import Listener
from .outbox import Outbox
from .records import MemoryQueue, Queue, Record
from .samples import Samples
from .spool import Spool

SPOOL_BYTES = 256 << 20
MEMORY_BYTES = 32 << 20
ANSWERS_KEPT_BYTES = 8 << 20
_Station = TypeVar("_Station", bound="Station")
Folder = Union[str, "os.PathLike[str]", None]


class Station:
    """Devices of one process, one or many.

    Args:
        bootstrap: host:port of a broker.
        devices: their names.
        name: names the folder of its spool, and the client in the broker's log.
        spool: folder for what is not sent yet and for the answers to commands; "" for one below `$XDG_STATE_HOME` (or
            `~/.local/state`) by name; None: memory only, which ends with the process.
        spool_bytes: largest spool of samples; beyond it the oldest are dropped and counted.
        packed_rows: rows of a packed block, 1 to 5,000 (needs pyarrow); 0: JSON.
        packed_secs: how long a block is held back for more rows.
        handlers: `thread`: handlers run one after another in a thread of ours; `poll`: in the thread that calls `poll`.
        topic, commands_topic, acks_topic, clock_topic: topics.
        kafka: settings of kafka-python besides ours, such as security_protocol.
        time_ns: the clock of the devices.

    Raises:
        SpoolInUse: another process has this folder.
        WrongMessage: a name that no device may have.
    """

    def __init__(
        self,
        bootstrap: str,
        devices: Iterable[str],
        *,
        name: str,
        spool: Folder = "",
        spool_bytes: int = SPOOL_BYTES,
        packed_rows: int = 0,
        packed_secs: float = 1.0,
        handlers: str = "thread",
        topic: str = "samples",
        commands_topic: str = "commands",
        acks_topic: str = "command-acks",
        clock_topic: str = "clock-sync",
        kafka: Mapping[str, Any] | None = None,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        if handlers not in ("thread", "poll"):
            raise ValueError(f"handlers is {handlers!r}; it is 'thread' or 'poll'")
        if not 0 <= packed_rows <= 5000:
            raise ValueError(f"packed_rows is {packed_rows}; a block has 1 to 5000 rows, 0 means JSON")
        settings = dict(kafka or {})
        self.name = wire.device_name(name)
        self.devices: list[str] = []
        self._names: set[str] = set()
        self.clock = Clock(bootstrap, settings, topic=clock_topic, key=name, time_ns=time_ns)
        self._lock, self._wanted, self._closed = threading.Lock(), False, False
        self._folder = default_folder(name) if spool == "" else Path(spool) if spool is not None else None
        self._held = lock(self._folder) if self._folder is not None else -1
        self._answers, self._waiting = self._queues(spool_bytes)
        journal = Journal(self._answers, topic=acks_topic, history=_history(self._answers))
        counters = Counters(_history(self._waiting, newest_segment=True))
        self._samples = Samples(
            self._waiting,
            counters,
            topic=topic,
            stamp=self.clock.stamp,
            packed_rows=packed_rows,
            packed_secs=packed_secs,
        )
        if counters.renewed and isinstance(self._waiting, Spool):
            self._waiting.roll()
        client = f"twinflow-device-{name}"
        self._outbox = Outbox(
            bootstrap, [self._answers, self._waiting], client=client, kafka=settings, tick=self._samples.tick
        )
        self._listener = Listener(
            bootstrap, commands_topic, journal.positions, client=client, kafka=settings, begins=journal.moved
        )
        self._handlers = Handlers(
            self._listener, journal, now_ns=self.clock.now_ns, wake=self._outbox.wake, thread=handlers == "thread"
        )
        for device in devices:
            self.add(device)

    def add(self, device: str) -> None:
        """One more device.

        Raises:
            WrongMessage: a name that no device may have.
        """
        if device not in self._names:
            self.devices.append(wire.device_name(device))
            self._names.add(device)
            self._listener.add(device)

    def on(self, verb: str) -> Callable[[Handler], Handler]:
        """Decorator: this function acts on the verb, `"*"` on every verb that has no other. It gets a `Command`.

        What it returns is the detail of `done`; `LATER`: it calls `done` or `fail` of the command itself, later.
        `Refused` raised: refused; any other error: failed. Register all before `start`.
        """

        def known(handler: Handler) -> Handler:
            self._handlers.add(verb, handler)
            self._begin()
            return handler

        return known

    def start(self) -> None:
        """Begin to send and, once there is a handler, to listen; does not wait for the broker."""
        if not self._wanted:
            self._wanted = True
            atexit.register(self.close)
        self._begin()

    def wait_ready(self, timeout_secs: float) -> bool:
        """Wait until commands are heard; False after the time."""
        return self._listener.ready.wait(timeout_secs)

    @property
    def counts(self) -> dict[str, int]:
        """Records that wait, were delivered, were refused for good, were dropped (no room), were damaged (on disk)."""
        return {
            "waiting": self._outbox.waiting,
            "delivered": self._outbox.counts.delivered,
            "refused": self._outbox.counts.refused,
            "dropped": self._waiting.dropped,
            "damaged": self._waiting.damaged + self._answers.damaged,
        }

    def poll(self) -> int:
        """Act on the commands that have come; how many. For `handlers="poll"`; returns at once where there is none."""
        return self._handlers.poll()

    def flush(self, timeout_secs: float = 5.0) -> int:
        """Wait until all is sent, for at most so long; how many records still wait."""
        self._samples.flush()
        return self._outbox.flush(timeout_secs)

    def close(self, timeout_secs: float = 5.0) -> int:
        """Stop listening, send what waits for at most so long; how many records were left (on disk for the next start,
        or lost where there is no spool)."""
        with self._lock:
            if self._closed:
                return 0
            self._closed = True
        atexit.unregister(self.close)
        self._handlers.close(timeout_secs)
        self._samples.flush()
        left = self._outbox.close(timeout_secs)
        for queue in (self._answers, self._waiting):
            queue.close()
        if self._held >= 0:
            os.close(self._held)
        return left

    def __enter__(self: _Station) -> _Station:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _queues(self, spool_bytes: int) -> tuple[Queue, Queue]:
        """Answers, which are never dropped, and samples."""
        if self._folder is None:
            return MemoryQueue(), MemoryQueue(max_bytes=MEMORY_BYTES)
        answers = Spool(self._folder / "answers", keep_bytes=ANSWERS_KEPT_BYTES, sync_each=True)
        return answers, Spool(self._folder / "samples", max_bytes=spool_bytes, opening=lambda: self._samples.opening())

    def _put(self, device: str, put: Callable[[Samples], None]) -> None:
        """Have a message of the device written down."""
        if device not in self._names:
            raise KeyError(f"{device!r} is no device of this gateway; add it first")
        if self._closed:
            raise DeviceError(f"{self.name} is closed; nothing more is sent")
        put(self._samples)
        if not self._wanted:
            self.start()
        self._outbox.wake()

    def _begin(self) -> None:
        """Start those threads that have something to do and do not run yet."""
        with self._lock:
            if self._wanted and not self._closed:
                self._outbox.start()
                if self._handlers:
                    self._handlers.start()


def _history(queue: Queue, *, newest_segment: bool = False) -> Iterable[Record]:
    return queue.history(newest_segment=newest_segment) if isinstance(queue, Spool) else ()
