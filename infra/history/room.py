"""Room on the disk of the history: inserts begin only where enough is free.

chDB does not tell of every write that failed for want of space: an insert then counts as done and is not there. So an
insert is refused well before the disk is full, and one after which hardly anything is left is in doubt; whoever sent it
sends it again (rows that are there are left out: flows/history_store.py).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from infra.history.errors import EngineError

NOT_ENOUGH_SPACE = 243


@dataclass(frozen=True, slots=True)
class Room:
    """The disk a folder lies on.

    Attributes:
        folder: of the engine.
        least: bytes that must be free for an insert to begin.
        left: bytes that must still be free for it to count.
    """

    folder: Path
    least: int = 256 << 20
    left: int = 128 << 20

    def before(self) -> None:
        """Whether an insert may begin.

        Raises:
            EngineError: code 243, naming the folder, what is free and what is needed.
        """
        self._require(self.least)

    def after(self) -> None:
        """Whether an insert that the engine took counts.

        Raises:
            EngineError: as `before`.
        """
        self._require(self.left)

    def _require(self, needed: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            said = f"{self.folder}: {free >> 20} MB are free on its disk, {needed >> 20} MB are needed: free some space"
            raise EngineError.make(NOT_ENOUGH_SPACE, "NOT_ENOUGH_SPACE", f"{said}; the insert is sent again by itself")
