"""One supervised process as a state machine: `step` looks at the world, acts, and says when to look again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.supervisor import guard
from infra.supervisor.logfile import LogFile
from infra.supervisor.process import birth, signal_group
from infra.supervisor.service import ChildState, ProcessRow, Service, Timing
from infra.supervisor.wake import Task
from operators.errors import TwinflowError

S = ChildState
RUNNING = frozenset({S.STARTING, S.READY, S.UNREADY, S.STOPPING})
NEVER = float("inf")


class Child:
    """Owns the process of one service. Everything but the probes and the preparation happens in the caller's thread:
    the kernel ties the life of a child to the thread that started it."""

    def __init__(
        self, service: Service, log: Path, timing: Timing, tell: Callable[[str, str], None], wake: Callable[[], None]
    ) -> None:
        self.service, self.timing = service, timing
        self.log = LogFile(log)
        self.state, self.why = S.WAITING, ""
        self.restarts = 0
        self.ready_s: float | None = None
        self.deaths = 0  # since it was last stable
        self.error: Exception | None = None
        self._tell, self._wake = tell, wake
        self._process: subprocess.Popen[bytes] | None = None
        self._birth = ""
        self._preparation: Task[Sequence[str]] | None = None
        self._probe: Task[str] | None = None
        self._probe_due = self._probe_pause = 0.0
        self._since = self._due = self._answered = 0.0
        self._settled = self._noted = False
        self._held = ""

    def row(self) -> ProcessRow:
        """What the status shows now."""
        pid = self._process.pid if self._process else None
        why = self.service.note() if self.state in (S.PREPARING, S.READY) else self.why
        return ProcessRow(self.service.name, pid, self._birth, self.state, self.restarts, self.ready_s, why)

    def step(self, now: float, *, may_start: bool) -> float:
        """Advance as far as possible; returns the monotonic time of the next look (wake-ups come earlier)."""
        if self.state in RUNNING and self._exited(now):
            return self._due
        if self.state is S.WAITING and may_start:
            self._prepare()
        if self.state is S.BACKOFF and now >= self._due:
            self.restarts += 1
            self._prepare()
        if self.state is S.PREPARING:
            self._launch(now)
        if self.state in (S.STARTING, S.READY, S.UNREADY):
            self._watch(now)
        if self.state is S.STOPPING and self._process and now >= self._due:
            self._tell(self.service.name, f"did not stop within {self.service.grace_secs:g} s, killed")
            signal_group(self._process.pid, signal.SIGKILL)
            self._due = NEVER
        if self.state in (S.STOPPING, S.BACKOFF):
            return self._due
        return self._probe_due if self.state in RUNNING and self._probe is None else now + 1.0

    def stop(self, now: float) -> None:
        """Ask it to end; SIGKILL follows after its grace."""
        self._held = ""
        if self._process is None:
            self._set(self.state if self.state is S.FAILED else S.STOPPED, self.why)
        else:
            self._end(now)

    def hold(self, now: float, why: str) -> None:
        """As `stop`, until `resume`."""
        self._held = why
        if self._process is not None:
            self._end(now)
        elif self.state is not S.FAILED:
            self._set(S.HELD, why)

    def resume(self) -> None:
        """Let it start again, if it was held; one that still ends does so first."""
        if self.state is S.HELD:
            self._held = ""
            self._set(S.WAITING)

    def _end(self, now: float) -> None:
        if self._process is not None and self.state is not S.STOPPING:
            self._due = now + self.service.grace_secs
            self._process.send_signal(signal.SIGTERM)
            self._set(S.STOPPING, self._held)

    def kill(self) -> None:
        """End it now."""
        if self._process is not None:
            self._set(S.STOPPING)
            signal_group(self._process.pid, signal.SIGKILL)
            self._due = NEVER

    def _prepare(self) -> None:
        self._set(S.PREPARING)
        self._preparation = Task(self.service.argv, self._wake)

    def _launch(self, now: float) -> None:
        if self._preparation is None or not self._preparation.done:
            if self.service.note() and not self._noted:
                self._noted = True
                self._tell(self.service.name, f"fetching what it needs (once): {self.service.note()}")
            return
        task, self._preparation = self._preparation, None
        try:
            argv = task.result()
            with self.log.opened() as out:
                self._process = subprocess.Popen(
                    guarded(argv),
                    env={**os.environ, **self.service.env},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except Exception as error:
            self._died(now, f"could not be started: {error}", error)
            return
        self._birth = birth(self._process.pid)
        self._since = self._answered = self._probe_due = now
        self._probe, self._probe_pause, self._settled = None, self.timing.probe_secs, False
        self._set(S.STARTING)

    def _watch(self, now: float) -> None:
        if self._probe is None and now >= self._probe_due:
            self._probe = Task(self._question(), self._wake)
        if self._probe is not None and self._probe.done:
            task, self._probe = self._probe, None
            if isinstance(task.error, TwinflowError) and self.ready_s is None:
                self._give_up(now, str(task.error), task.error)
                return
            self._heard(now, str(task.error) if task.error else task.result())
        late = self._since + self.service.ready_within_secs
        if self.state is S.STARTING and now >= late:
            self._give_up(now, f"not ready within {self.service.ready_within_secs:g} s: {self.why}")
        elif self.state in (S.READY, S.UNREADY) and now - self._answered >= self.timing.hang_secs:
            self._give_up(now, f"no answer for {self.timing.hang_secs:g} s: {self.why}")

    def _question(self) -> Callable[[], str]:
        service, settled = self.service, self._settled

        def ask() -> str:
            answer = service.ready()
            if not answer and not settled:
                service.settle()
            return answer

        return ask

    def _heard(self, now: float, why: str) -> None:
        if why:
            self._probe_due = now + self._probe_pause
            self._probe_pause = min(self._probe_pause * 1.5, self.timing.probe_most_secs)
            if self.state is S.READY:
                self._tell(self.service.name, f"stopped answering: {why}")
            self._set(S.UNREADY if self.state is not S.STARTING else S.STARTING, why)
            return
        if self.state is S.STARTING:
            self.ready_s = round(now - self._since, 3)
            self._tell(self.service.name, f"ready in {self.ready_s:.1f} s")
        if self.deaths and now - self._since >= self.timing.stable_secs:
            self.deaths = 0
        self._settled = True
        self._answered, self._probe_due = now, now + self.timing.check_secs
        self._probe_pause = self.timing.probe_secs
        self.log.trim()
        self._set(S.READY)

    def _exited(self, now: float) -> bool:
        code = self._process.poll() if self._process else 0
        if self._process is None or code is None:
            return False
        signal_group(self._process.pid, signal.SIGKILL)  # what it may have left behind
        self._forget()
        if self.state is S.STOPPING:
            self._set(S.HELD if self._held else S.STOPPED, self._held)
            self._due = NEVER
        else:
            self._died(now, f"exited with {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}")
        return True

    def _give_up(self, now: float, why: str, error: Exception | None = None) -> None:
        if self._process is not None:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._forget()
        self._died(now, why, error)

    def _forget(self) -> None:
        self._process, self._birth, self._probe = None, "", None

    def _died(self, now: float, why: str, error: Exception | None = None) -> None:
        self.deaths += 1
        if self.ready_s is None and (error is not None or self.deaths >= self.timing.tries):
            self.error = error
            self._tell(self.service.name, why)
            self._set(S.FAILED, why)
            self._due = NEVER
            return
        pause = min(self.timing.backoff_secs * 2.0 ** (self.deaths - 1), self.timing.backoff_most_secs)
        self._tell(self.service.name, f"{why}; again in {pause:g} s")
        self._due = now + pause
        self._set(S.BACKOFF, why)

    def _set(self, state: ChildState, why: str = "") -> None:
        self.state, self.why = state, why


def guarded(argv: Sequence[str]) -> list[str]:
    """The command line that dies with this process, where the kernel can do that."""
    if sys.platform != "linux":
        return list(argv)
    return [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(os.getpid()), *argv]


def now() -> float:
    """The clock of `Child.step`, seconds."""
    return time.monotonic()
