"""Takes each command through: known already, in time, somebody to act on it; then has it acted on, and answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .commands import ACCEPTED, DONE, ENDS, FAILED, LATER, REFUSED, Command, NoCommand, read_command
from .errors import Refused
from .journal import Journal
from .listener import Arrived, Listener

Handler = Callable[[Command], object]
ANY = "*"

log = logging.getLogger("twinflow.device")


class Handlers:
    """The functions that act on commands, and what they said.

    Args:
        listener: where commands come from.
        journal: where ids and answers are kept.
        now_ns: now by the clock of the gate, as far as it is known.
        wake: called when an answer waits to be sent.
        thread: run the functions in a thread of ours; else `poll` runs them.
    """

    def __init__(
        self,
        listener: Listener,
        journal: Journal,
        *,
        now_ns: Callable[[], int],
        wake: Callable[[], None],
        thread: bool,
    ) -> None:
        self._listener, self._journal, self._now_ns, self._wake = listener, journal, now_ns, wake
        self._by_verb: dict[str, Handler] = {}
        self._stop = threading.Event()
        work = threading.Thread(target=self._work, name="twinflow-device-handlers", daemon=True)
        self._thread = work if thread else None

    def __bool__(self) -> bool:
        return bool(self._by_verb)

    def add(self, verb: str, handler: Handler) -> None:
        """This function acts on the verb."""
        self._by_verb[verb] = handler

    def start(self) -> None:
        """Listen and act; what the last process left unfinished has failed."""
        if self._listener.start() and self._journal.give_up(self._now_ns()):
            self._wake()
        if self._thread is not None and not self._thread.ident:
            self._thread.start()

    def close(self, timeout_secs: float) -> None:
        """Stop listening; wait for a function that runs."""
        self._stop.set()
        self._listener.close()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout_secs)

    def poll(self) -> int:
        """Act on what has come; how many commands. Returns at once where there is none."""
        acted = 0
        while not self._listener.found.empty() and not self._stop.is_set():
            self._act(self._listener.found.get())
            acted += 1
        return acted

    def _work(self) -> None:
        while not self._stop.is_set():
            self._listener.arrived.wait()
            self._listener.arrived.clear()
            self.poll()

    def _act(self, arrived: Arrived) -> None:
        try:
            command = read_command(arrived.value, self._answer)
            if command.device != arrived.device:
                raise NoCommand(f"device is {command.device!r}, the key {arrived.device!r}")
        except NoCommand as error:
            log.error("the record in partition %d at %d is no command: %s", arrived.partition, arrived.offset, error)
            return
        try:
            if not self._journal.knows(command.id) and self._may_begin(command):
                self._journal.begin(command, arrived.partition, arrived.offset)
                self._run(command)
            else:
                if not command.status:
                    self._journal.repeat(command.id)
                self._journal.moved(arrived.partition, arrived.offset + 1)
        except OSError as error:
            log.error("command %s cannot be written down, so it is not begun: %s", command.id, error)
        self._wake()

    def _may_begin(self, command: Command) -> bool:
        late_ns = self._now_ns() - command.deadline_ns
        if late_ns > 0:
            command.refuse(f"its deadline passed {late_ns / 1e9:.1f} s ago")
        elif self._handler(command) is None:
            known = ", ".join(sorted(self._by_verb))
            command.refuse(f"{command.device} does not know {command.verb!r}; it knows {known}")
        return not command.status

    def _handler(self, command: Command) -> Handler | None:
        return self._by_verb.get(command.verb) or self._by_verb.get(ANY)

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
        try:
            self._journal.answer(command, status, detail, self._now_ns())
        except OSError as error:
            log.error("the answer to command %s (%s) cannot be written down: %s", command.id, status, error)
        self._wake()
        if status in ENDS:
            log.info("command %s: %s of %s %s: %s", command.id, command.verb, command.device, status, detail)
