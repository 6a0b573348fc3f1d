"""HTTP sessions (`session_id`): one request at a time; a handle of their own once a statement changes the session."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from infra.history.engine import Handle, Setup, apply, identifier, quote
from infra.history.errors import EngineError

LONGEST_SECS = 3600.0
MOST = 10_000


@dataclass
class Session:
    """`handle` keeps SET, USE and temporary tables; None while nothing was changed."""

    timeout_secs: float
    used: float
    handle: Handle | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def end(self) -> None:
        """Forget what the session changed."""
        if self.handle is not None:
            self.handle.close()
            self.handle = None


class Sessions:
    """All sessions by user and id; what is idle longer than its time-out is forgotten at the next request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, owner: str, name: str, *, timeout_secs: float, must_exist: bool) -> Iterator[Session]:
        """Hold a session while inside.

        Raises:
            EngineError: 373 another request holds it, 372 it must exist and does not, 374 a time-out out of range.
        """
        if not 0 < timeout_secs <= LONGEST_SECS:
            raise EngineError.make(374, "INVALID_SESSION_TIMEOUT", f"Invalid session timeout {timeout_secs:g}")
        now = self._clock()
        with self._lock:
            self._forget(now)
            session = self._known.get((owner, name))
            if session is None and must_exist:
                raise EngineError.make(372, "SESSION_NOT_FOUND", f"Session {name} not found")
            if session is None:
                session = self._known[owner, name] = Session(timeout_secs, now)
            if not session.lock.acquire(blocking=False):
                raise EngineError.make(373, "SESSION_IS_LOCKED", f"Session {name} is locked by a concurrent client")
        try:
            session.timeout_secs = timeout_secs
            yield session
        finally:
            session.used = self._clock()
            session.lock.release()

    def _forget(self, now: float) -> None:
        stale = [key for key, s in self._known.items() if now - s.used > s.timeout_secs and not s.lock.locked()]
        if len(self._known) - len(stale) > MOST:
            stale = [key for key, s in self._known.items() if not s.lock.locked()]
        for key in stale:
            self._known.pop(key).end()

    def close(self) -> None:
        """End all sessions."""
        with self._lock:
            for session in self._known.values():
                session.end()
            self._known.clear()


@contextmanager
def lent(handle: Handle, setup: Setup) -> Iterator[Handle]:
    """The session's handle under the database and settings of one request, which end with it."""
    back: list[str] = []
    if setup.database:
        before = handle.run("SELECT currentDatabase()", "TSVRaw").data.decode().rstrip("\n")
        handle.run(f"USE {identifier(setup.database)}")
        back.append(f"USE {identifier(before)}")
    if setup.settings:
        rows = handle.run("SELECT name, value, changed FROM system.settings", "JSONCompactEachRow").data.splitlines()
        wanted = dict(setup.settings)
        old = [(name, value, changed) for name, value, changed in map(json.loads, rows) if name in wanted]
        apply(handle, wanted)
        values = (f"{name} = {quote(value) if changed else 'DEFAULT'}" for name, value, changed in old)
        back.append(f"SET {', '.join(values)}")
    try:
        yield handle
    finally:
        for statement in back:
            handle.run(statement)
