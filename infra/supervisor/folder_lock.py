"""One owner per data folder: a lock the kernel drops when its holder dies, with a note who holds it since when."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.supervisor.process import alive, birth


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a folder; pid 0 where it could not be read yet."""

    pid: int
    since: str


class FolderHeld(Exception):
    """Somebody else holds the lock."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        super().__init__(f"held by pid {holder.pid} since {holder.since}")


@contextmanager
def held(lock: Path) -> Iterator[Holder]:
    """Hold the lock file while inside.

    Raises:
        FolderHeld: another process has it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:  # never inherited: children cannot keep it alive
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderHeld(_note(lock)) from error
        holder = Holder(os.getpid(), datetime.now(UTC).isoformat(timespec="seconds"))
        file.truncate(0)
        file.write(json.dumps({"pid": holder.pid, "birth": birth(holder.pid), "since": holder.since}))
        file.flush()
        yield holder
        file.truncate(0)


def holder(lock: Path) -> Holder | None:
    """Who holds the lock now; None when nobody does. Does not touch the lock, so it is in nobody's way."""
    note = _note(lock)
    return note if note.pid else None


def _note(lock: Path) -> Holder:
    """What the holder wrote, if that very process still runs; pid 0 otherwise."""
    with suppress(OSError, ValueError):
        note = json.loads(lock.read_text() or "{}")
        if alive(note.get("pid"), note.get("birth", "")):
            return Holder(int(note["pid"]), str(note["since"]))
    return Holder(0, "a moment ago")
