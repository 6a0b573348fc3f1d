"""Room for what the stack stores: below `least_mb` it rests before it meets the last byte, from `enough_mb` on not."""

from __future__ import annotations

import shutil
from pathlib import Path

LEAST_MB = 100
ENOUGH_MB = 300
"""Also what must be free for a start. More than the history wants before it takes an insert (infra/history/room.py)."""


def free_mb(folder: Path) -> int:
    """What a user may still write on the disk of this folder, MB."""
    return shutil.disk_usage(folder).free // 10**6


class Disk:
    """Asked again and again whether storing must rest.

    Args:
        folder: of all that is stored.
        least_mb: with less free, storing rests.
        enough_mb: with as much free again, it goes on.
    """

    def __init__(self, folder: Path, *, least_mb: int = LEAST_MB, enough_mb: int = ENOUGH_MB) -> None:
        self.folder, self.least_mb, self.enough_mb = folder, least_mb, enough_mb
        self._rests = False

    def __call__(self) -> str:
        """Why storing must rest now; "" when it may go on.

        >>> Disk(Path("/"), least_mb=0)()
        ''
        """
        free = free_mb(self.folder)
        self._rests = free < (self.enough_mb if self._rests else self.least_mb)
        if not self._rests:
            return ""
        full = f"disk full: {self.folder} has {free} MB free, needs {self.enough_mb}"
        return f"{full}; storing stopped, free space and it goes on by itself"
