"""What `up` lets `status` and `down` know: one JSON file, checked against the processes themselves.

It is written in place and has its full size from the first time on: a full disk cannot keep it from being written.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from infra.supervisor.process import alive, signal_group
from infra.supervisor.service import ChildState, ProcessRow, held

SIZE = 1 << 16
"""Bytes of the file; a stack of 40 processes takes a tenth of it."""


class StackState(msgspec.Struct, frozen=True):
    """State of a running stack. `endpoints`: name to address; `url`: the page, None while there is none."""

    pid: int
    birth: str
    since: str
    data: str
    endpoints: dict[str, str]
    url: str | None
    processes: list[ProcessRow]

    @property
    def ready(self) -> bool:
        return all(row.state is ChildState.READY for row in self.processes)

    @property
    def held(self) -> str:
        """Why storing rests; "" while it goes on."""
        return held(self.processes)


def write(path: Path, state: StackState) -> None:
    """Write over the file; a reader sees the old state or the new one."""
    text = msgspec.json.format(msgspec.json.encode(state)).ljust(SIZE)
    with _locked(path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as file:
        os.pwrite(file, text, 0)
        os.ftruncate(file, len(text))


def read(path: Path) -> StackState | None:
    """The file as it was written; None where there is none or it is from another version."""
    try:
        with _locked(path, os.O_RDONLY, fcntl.LOCK_SH) as file:
            return msgspec.json.decode(os.pread(file, os.fstat(file).st_size, 0), type=StackState)
    except (OSError, msgspec.DecodeError):
        return None


@contextmanager
def _locked(path: Path, flags: int, lock: int) -> Iterator[int]:
    file = os.open(path, flags, 0o644)
    try:
        fcntl.flock(file, lock)
        yield file
    finally:
        os.close(file)


def checked(state: StackState) -> StackState:
    """The state with what died since: a process that is gone is not ready, whatever the file says."""
    rows = [
        row if row.pid is None or alive(row.pid, row.birth) else replace(row, state=ChildState.BACKOFF, why="just died")
        for row in state.processes
    ]
    return msgspec.structs.replace(state, processes=rows)


def reap(rows: Iterable[ProcessRow], *, patience_secs: float = 8.0) -> list[str]:
    """End what an owner that was killed left behind, asked first, then killed; returns the names."""
    left = [row for row in rows if alive(row.pid, row.birth)]
    for number in (signal.SIGTERM, signal.SIGKILL):
        running = [row for row in left if alive(row.pid, row.birth)]
        for row in running:
            if row.pid is not None:
                signal_group(row.pid, number)
        _await_end(running, patience_secs)
    return [row.name for row in left]


def _await_end(rows: list[ProcessRow], patience_secs: float) -> None:
    deadline = time.monotonic() + patience_secs
    while any(alive(row.pid, row.birth) for row in rows) and time.monotonic() < deadline:
        time.sleep(0.02)
