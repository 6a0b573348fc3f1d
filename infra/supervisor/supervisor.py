"""The owner of all children of one stack: one thread, one loop, no sleeping on hope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.supervisor.child import RUNNING, Child, now
from infra.supervisor.service import ChildState, ProcessRow, Service, Timing, in_order
from infra.supervisor.wake import Wake

Publish = Callable[[list[ProcessRow]], None]
DOWN = frozenset({ChildState.STOPPED, ChildState.FAILED, ChildState.HELD})


@dataclass(frozen=True, slots=True)
class Run:
    """How a run went. `failed`: the child that never came up, `why` in its words, `last_line` of its log."""

    seconds_to_ready: float | None
    failed: str = ""
    why: str = ""
    last_line: str = ""
    error: Exception | None = None


class Supervisor:
    """Starts services in their order, restarts what dies, drains in reverse.

    Args:
        services: in any order; each waits for those it comes `after`.
        logs: folder of the log files.
        tell: called with (service, one line) for people.
        publish: called with all rows whenever one of them changed.
        full: asked every second why what stores must rest; "" while there is room.
        already_secs: how long starting this process took; counts in `seconds_to_ready` and `exit_after_secs`.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        logs: Path,
        tell: Callable[[str, str], None],
        publish: Publish,
        full: Callable[[], str] = lambda: "",
        timing: Timing | None = None,
        already_secs: float = 0.0,
    ) -> None:
        timing = timing or Timing()
        self._began = now() - already_secs
        self._wake = Wake()
        self._tell, self._publish, self._full, self._timing = tell, publish, full, timing
        self.children = {s.name: Child(s, logs / f"{s.name}.log", timing, tell, self._wake) for s in in_order(services)}
        self._asked_to_stop = 0
        self._published: list[ProcessRow] = []
        self._rests = False

    def stop(self) -> None:
        """Drain; asked a second time, kill. Safe in a signal handler and from another thread."""
        self._asked_to_stop += 1
        self._wake()

    def rows(self) -> list[ProcessRow]:
        return [child.row() for child in self.children.values()]

    def run(self, *, exit_after_secs: float | None = None, before_drain: Callable[[], None] = lambda: None) -> Run:
        """Run until stopped, until a service cannot be started, or until `exit_after_secs` have passed and
        everything was ready once. `before_drain` is called while all still runs. Main thread only."""
        with self._wake.on_signals(self.stop):
            try:
                run = self._serve(exit_after_secs)
                if not run.failed:
                    before_drain()
            finally:
                self._drain()
                self._wake.close()
        return run

    def _serve(self, exit_after_secs: float | None) -> Run:
        seconds_to_ready: float | None = None
        while not self._asked_to_stop:
            self._mind_the_disk()
            due = min(
                (c.step(now(), may_start=self._may_start(c)) for c in self.children.values()), default=now() + 60.0
            )
            self._show()
            failed = next((c for c in self.children.values() if c.state is ChildState.FAILED), None)
            if failed is not None:
                return Run(seconds_to_ready, failed.service.name, failed.why, failed.log.last_line(), failed.error)
            if seconds_to_ready is None and all(c.state is ChildState.READY for c in self.children.values()):
                seconds_to_ready = round(now() - self._began, 2)
                self._tell("stack", f"ready in {seconds_to_ready:.1f} s")
            if exit_after_secs is not None and seconds_to_ready is not None:
                left = exit_after_secs - (now() - self._began)
                if left <= 0:
                    break
                due = min(due, now() + left)
            if any(c.state is ChildState.WAITING and self._may_start(c) for c in self.children.values()):
                continue
            self._wake.wait(min(due - now(), self._timing.room_secs))
        return Run(seconds_to_ready)

    def _mind_the_disk(self) -> None:
        """Stop what stores while the disk is full, each once nobody that stores needs it; then let it start again."""
        why = self._full()
        if bool(why) != self._rests:
            self._rests = bool(why)
            self._tell("disk", why or "room again, storing goes on")
        storing = [child for child in self.children.values() if child.service.stores]
        for child in reversed(storing):
            if not why:
                child.resume()
            elif child.state not in RUNNING or not self._needed(child, storing):
                child.hold(now(), why)

    def _drain(self) -> None:
        """Stop each child once nobody that needs it runs; a second request kills them all."""
        asked = max(1, self._asked_to_stop)
        while any(c.state not in DOWN for c in self.children.values()):
            if self._asked_to_stop > asked:
                asked = self._asked_to_stop
                for child in self.children.values():
                    child.kill()
            due = float("inf")
            for child in reversed(self.children.values()):
                if child.state not in DOWN and not self._needed(child, self.children.values()):
                    child.stop(now())
                due = min(due, child.step(now(), may_start=False))
                self._show()  # after each, so that what is told has the order in which it happened
            if any(c.state in RUNNING for c in self.children.values()):
                self._wake.wait(min(due - now(), 1.0))

    def _may_start(self, child: Child) -> bool:
        ready = (self.children[name].state is ChildState.READY for name in child.service.after)
        return child.service.early or all(ready)

    def _needed(self, child: Child, among: Iterable[Child]) -> bool:
        name = child.service.name
        return any(name in c.service.after and c.state not in DOWN for c in among)

    def _show(self) -> None:
        rows = self.rows()
        if rows != self._published:
            self._published = rows
            self._publish(rows)
