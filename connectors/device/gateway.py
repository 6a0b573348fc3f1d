"""Many devices behind one connection: their samples go out, their commands come in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

from .commands import ACCEPTED, DONE, ENDS, FAILED, LATER, REFUSED, Command, NoCommand, read_command
from .errors import Refused
from .journal import Journal
from .listener import Arrived, Listener
from .outbox import Outbox
from .records import MemoryQueue

Handler = Callable[[Command], object]
ANY = "*"

log = logging.getLogger("twinflow.device")


class Gateway:
    """Devices of one process.

    Args:
        bootstrap: host:port of a broker.
        devices: their names; more may join by `add`.
        handlers: `thread`: handlers run one after another in a thread of ours; `poll`: in the thread that calls `poll`.
        commands_topic, acks_topic: where commands come from and answers go.
        kafka: settings of kafka-python besides ours, such as security_protocol.
    """

    def __init__(
        self,
        bootstrap: str,
        devices: Iterable[str] = (),
        *,
        handlers: str = "thread",
        commands_topic: str = "commands",
        acks_topic: str = "command-acks",
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        if handlers not in ("thread", "poll"):
            raise ValueError(f"handlers is {handlers!r}; it is 'thread' or 'poll'")
        self.devices: list[str] = []
        self._handlers: dict[str, Handler] = {}
        self._in_thread = handlers == "thread"
        settings = dict(kafka or {})
        acks = MemoryQueue()
        self._journal = Journal(acks, topic=acks_topic)
        self._outbox = Outbox(bootstrap, [acks], client="twinflow-device", kafka=settings)
        self._arrived = threading.Event()
        self._listener = Listener(
            bootstrap,
            commands_topic,
            self._journal.positions,
            client="twinflow-device-commands",
            kafka=settings,
            arrived=self._arrived.set,
        )
        self._stop, self._wanted, self._lock = threading.Event(), False, threading.Lock()
        self._worker = threading.Thread(target=self._work, name="twinflow-device-handlers", daemon=True)
        for device in devices:
            self.add(device)

    def add(self, device: str) -> None:
        """One more device."""
        if device not in self.devices:
            self.devices.append(device)
            self._listener.add(device)

    def on(self, verb: str) -> Callable[[Handler], Handler]:
        """Decorator: this function acts on the verb, `"*"` on every verb that has no other. It gets a `Command`.

        What it returns is the detail of `done`; `LATER`: it calls `done` or `fail` of the command itself, later.
        `Refused` raised: refused; any other error: failed.
        """

        def known(handler: Handler) -> Handler:
            self._handlers[verb] = handler
            self._begin()
            return handler

        return known

    def start(self) -> None:
        """Begin to send and, once there is a handler, to listen; does not wait for the broker."""
        self._wanted = True
        self._begin()

    def _begin(self) -> None:
        """Start those threads that have something to do and do not run yet."""
        with self._lock:
            if not self._wanted:
                return
            self._outbox.start()
            if self._handlers:
                self._listener.start()
                if self._in_thread and not self._worker.ident:
                    self._worker.start()

    def wait_ready(self, timeout_secs: float) -> bool:
        """Wait until commands are heard; False after the time."""
        return self._listener.ready.wait(timeout_secs)

    @property
    def waiting(self) -> int:
        """Records that the broker has not confirmed."""
        return self._outbox.waiting

    def poll(self) -> int:
        """Act on the commands that have come; how many. For `handlers="poll"`; returns at once where there is none."""
        acted = 0
        while not self._listener.found.empty():
            self._act(self._listener.found.get())
            acted += 1
        return acted

    def close(self, timeout_secs: float = 5.0) -> int:
        """Stop listening, send what waits for at most so long; how many records were left."""
        self._stop.set()
        self._arrived.set()
        self._listener.close()
        if self._worker.is_alive():
            self._worker.join(timeout_secs)
        return self._outbox.close(timeout_secs)

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._arrived.wait()
            self._arrived.clear()
            self.poll()

    def _act(self, arrived: Arrived) -> None:
        """Take one command through: known already, in time, ours to do; then the handler."""
        try:
            command = read_command(arrived.value, self._answer)
            if command.device != arrived.device:
                raise NoCommand(f"device is {command.device!r}, the key {arrived.device!r}")
        except NoCommand as error:
            log.error("a record of commands/%d at %d is skipped: %s", arrived.partition, arrived.offset, error)
            return
        try:
            if self._journal.knows(command.id):
                self._journal.repeat(command.id)
            elif self._may_begin(command):
                self._journal.begin(command)
                self._run(command)
            self._journal.moved(arrived.partition, arrived.offset + 1)
        except OSError as error:
            log.error("command %s is not acted on, for it cannot be written down: %s", command.id, error)
        self._outbox.wake()

    def _may_begin(self, command: Command) -> bool:
        late_ns = time.time_ns() - command.deadline_ns
        if late_ns > 0:
            command.refuse(f"its deadline passed {late_ns / 1e9:.1f} s ago")
        elif self._handler(command) is None:
            known = ", ".join(sorted(self._handlers))
            command.refuse(f"{command.device} does not know {command.verb!r}; it knows {known}")
        return not command.status

    def _handler(self, command: Command) -> Handler | None:
        return self._handlers.get(command.verb) or self._handlers.get(ANY)

    def _run(self, command: Command) -> None:
        handler = self._handler(command)
        assert handler is not None
        try:
            said = handler(command)
        except Refused as error:
            self._end(command, REFUSED, str(error))
        except Exception as error:
            log.exception("command %s (%s of %s) failed", command.id, command.verb, command.device)
            self._end(command, FAILED, f"{type(error).__name__}: {error}")
        else:
            if said is not LATER:
                self._end(command, DONE, said if isinstance(said, str) else "")

    def _end(self, command: Command, status: str, detail: str) -> None:
        """Unless the handler said so itself."""
        if command.status in ("", ACCEPTED):
            command._answer(status, detail)

    def _answer(self, command: Command, status: str, detail: str) -> None:
        self._journal.answer(command, status, detail, time.time_ns())
        self._outbox.wake()
        if status in ENDS:
            log.info("command %s: %s of %s %s: %s", command.id, command.verb, command.device, status, detail)
