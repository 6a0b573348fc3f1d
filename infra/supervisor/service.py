"""What the supervisor must know to run one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import TypeAlias

Probe: TypeAlias = Callable[[], str]
"""Asks the running process for real: "" when it serves, else why not. Runs in a thread; must end by itself."""


class ChildState(StrEnum):
    """Where one process stands; only READY counts as ready."""

    WAITING = "waiting"  # for the services it comes after
    PREPARING = "preparing"  # fetching, formatting, computing its command line
    STARTING = "starting"  # runs, does not serve yet
    READY = "ready"
    UNREADY = "unready"  # runs, stopped serving
    BACKOFF = "backoff"  # died, will be started again
    STOPPING = "stopping"
    HELD = "held"  # stopped for as long as the disk has no room
    STOPPED = "stopped"
    FAILED = "failed"  # never came up, given up


def _nothing() -> None:
    return None


def _silent() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Service:
    """One child process.

    Attributes:
        name: as in status and logs; also the name of its log file.
        argv: gives the command line; called in a thread before each start, so it may first fetch or write what the
            process needs. An error here ends `up` with its text.
        ready: asked until it answers "", then every few seconds.
        env: added to the environment of the supervisor.
        after: services that must be ready first; they are stopped later.
        early: started at once all the same: it has work to do first and awaits those services by itself.
        settle: what must be done once it serves and before it counts as ready (topics, migrations).
        grace_secs: from SIGTERM to SIGKILL.
        ready_within_secs: a start that takes longer counts as a death.
        note: for the status: what it prepares now ("jars 12/60 MB"), or says of itself once ready ("behind 12 s").
        part: what it is one of, where several processes are one part of the stack.
        stores: writes what must last, itself or through one that does: it rests while the disk is full.

    >>> Service("web", lambda: ["python3", "-m", "http.server"], ready=lambda: "").grace_secs
    10.0
    """

    name: str
    argv: Callable[[], Sequence[str]]
    ready: Probe
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    early: bool = False
    settle: Callable[[], None] = _nothing
    grace_secs: float = 10.0
    ready_within_secs: float = 90.0
    note: Callable[[], str] = _silent
    part: str = ""
    stores: bool = True


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient the supervisor is, in seconds."""

    probe_secs: float = 0.1
    probe_most_secs: float = 1.0
    check_secs: float = 2.0
    hang_secs: float = 60.0
    backoff_secs: float = 0.25
    backoff_most_secs: float = 8.0
    stable_secs: float = 30.0
    room_secs: float = 1.0
    tries: int = 3


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One line of the status. `ready_s`: seconds its last start took until ready; `why`: what it waits for."""

    name: str
    pid: int | None
    birth: str
    state: ChildState
    restarts: int
    ready_s: float | None
    why: str


def held(rows: Iterable[ProcessRow]) -> str:
    """Why some of them are held; "" when none is."""
    return next((row.why for row in rows if row.state is ChildState.HELD), "")


def in_order(services: Sequence[Service]) -> list[Service]:
    """The services so that each comes after what it needs.

    Raises:
        ValueError: a name is used twice or unknown.
        graphlib.CycleError: they wait for each other.
    """
    known = {s.name: s for s in services}
    unknown = {a for s in services for a in s.after} - known.keys()
    if unknown or len(known) < len(services):
        raise ValueError(f"services: unknown {sorted(unknown)} or a name used twice")
    return [known[name] for name in TopologicalSorter({s.name: s.after for s in services}).static_order()]
