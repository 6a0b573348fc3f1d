"""Small real servers and a way to run a supervisor in the main thread while a script watches and interferes."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

from infra.supervisor.process import alive, birth
from infra.supervisor.service import ChildState, ProcessRow, Service, Timing
from infra.supervisor.supervisor import Run, Supervisor

QUICK = Timing(probe_secs=0.01, probe_most_secs=0.05, check_secs=0.05, backoff_secs=0.02, hang_secs=0.5, room_secs=0.02)
DEADLINE_SECS = 60.0
SERVER = """
import signal, socket, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("serving", flush=True)
while True:
    server.accept()[0].close()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        return True
    return False


def script(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


def server(name: str, port: int | None = None, *flags: str, after: tuple[str, ...] = (), grace: float = 5.0) -> Service:
    """A service that is ready when its port takes connections."""
    at = port or free_port()
    return Service(
        name,
        lambda: script(SERVER, str(at), *flags),
        ready=lambda: "" if listens(at) else f"port {at} is closed",
        after=after,
        grace_secs=grace,
    )


def until(condition: Callable[[], bool], what: str = "the condition", within_secs: float = DEADLINE_SECS) -> None:
    deadline = time.monotonic() + within_secs
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.005)


class Stage:
    """One supervisor under test, and everything it published."""

    def __init__(
        self, services: Sequence[Service], logs: Path, timing: Timing = QUICK, full: Callable[[], str] = str
    ) -> None:
        self.history: list[list[ProcessRow]] = []
        self.events: list[str] = []
        self.supervisor = Supervisor(
            services, logs=logs, tell=self._tell, publish=self.history.append, full=full, timing=timing
        )

    def _tell(self, name: str, text: str) -> None:
        self.events.append(f"{name}: {text}")

    def row(self, name: str) -> ProcessRow:
        rows = self.history[-1] if self.history else self.supervisor.rows()
        return next(row for row in rows if row.name == name)

    def is_in(self, name: str, state: ChildState) -> bool:
        return self.row(name).state is state

    def await_ready(self, name: str, restarts: int) -> None:
        until(lambda: self.row(name).restarts == restarts and self.is_in(name, ChildState.READY), f"{name} ready again")

    def order(self, state: ChildState) -> list[str]:
        """Names in the order in which they first came into this state."""
        seen = [row.name for rows in self.history for row in rows if row.state is state]
        return list(dict.fromkeys(seen))

    def run(self, play: Callable[[], None] | None = None, exit_after: float | None = None) -> Run:
        """Run here; `play` runs beside it, and when it ends the supervisor is asked to stop."""
        faults: list[BaseException] = []

        def act() -> None:
            try:
                if play is not None:
                    play()
            except BaseException as error:
                faults.append(error)
            finally:
                self.supervisor.stop()

        actor = Thread(target=act)
        if play is not None:
            actor.start()
        run = self.supervisor.run(exit_after_secs=exit_after)
        if play is not None:
            actor.join()
        if faults:
            raise faults[0]
        return run

    def left(self) -> list[int]:
        """Pids of children that still run."""
        rows = {(row.pid, row.birth) for rows in self.history for row in rows}
        return [pid for pid, born in rows if pid is not None and alive(pid, born)]


def gone(pid: int) -> bool:
    return birth(pid) == ""
