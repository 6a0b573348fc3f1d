"""The log of one process: appended to by the process itself, kept small by the supervisor."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

LARGEST = 32 * 2**20


class LogFile:
    """`NAME.log` plus one older part `NAME.log.1`. The process appends, so cutting the file under it is safe."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        self.path, self.largest = path, largest

    def opened(self) -> BinaryIO:
        """A handle for a child's output."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.trim()
        return self.path.open("ab")

    def trim(self) -> None:
        """Move the content to the older part once it is large; on a full disk drop it."""
        if not self.path.exists() or self.path.stat().st_size <= self.largest:
            return
        older = self.path.with_name(self.path.name + ".1")
        try:
            shutil.copyfile(self.path, older)
        except OSError:
            older.unlink(missing_ok=True)
        os.truncate(self.path, 0)

    def last_line(self) -> str:
        """The last line that says something; "" where none does."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
