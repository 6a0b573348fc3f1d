"""The verb `logs`: what the processes wrote, the newest lines first asked for, then followed."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

from infra.errors import ExitCode, NotRunning, UsageFault
from infra.paths import Folders
from infra.settings import nearest

POLL_SECS = 0.2


def logs(folders: Folders, name: str | None, *, lines: int, follow: bool, out: TextIO | None = None) -> ExitCode:
    """Print the last `lines` of one log, or of all with their names in front; `follow` until Ctrl-C.

    Raises:
        NotRunning: nothing ever ran here.
        UsageFault: no process of that name; the nearest is named.
    """
    out = out or sys.stdout
    files = {path.stem: path for path in sorted(folders.logs.glob("*.log"))}
    if not files:
        raise NotRunning(what="logs", why=f"none in {folders.logs}", fix="start the stack with twinflow up")
    if name is not None and name not in files:
        raise UsageFault(
            what=f"logs {name}", why=f"no such log; there are {', '.join(files)}", fix=nearest(name, files)
        )
    tails = [Tail(path, "" if name else f"{stem}: ") for stem, path in files.items() if name in (None, stem)]
    for tail in tails:
        out.writelines(tail.last(lines))
    out.flush()
    while follow:
        try:
            time.sleep(POLL_SECS)
            for tail in tails:
                out.writelines(tail.more())
            out.flush()
        except KeyboardInterrupt:
            break
    return ExitCode.OK


class Tail:
    """Whole lines of a growing file; a file that was cut is read from its start again."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path, self.prefix = path, prefix
        self._offset = 0

    def last(self, lines: int) -> list[str]:
        """The last `lines` lines so far; `more` goes on after them."""
        with self.path.open("rb") as file:
            kept = deque(file, maxlen=max(lines, 1))
            self._offset = file.tell()
        return [self._line(raw) for raw in kept][: max(lines, 0)]

    def more(self) -> list[str]:
        """Lines completed since the last call."""
        if self.path.stat().st_size < self._offset:
            self._offset = 0
        found = []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                found.append(self._line(raw))
                self._offset += len(raw)
        return found

    def _line(self, raw: bytes) -> str:
        return self.prefix + raw.decode(errors="replace").rstrip("\r\n") + "\n"
