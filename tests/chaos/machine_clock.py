"""The clock of the machine for the processes of a scenario: broker and flows read it through machine_clock.c, which
adds what a shared file says. The machine's own clock is left alone."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

SOURCE = Path(__file__).with_suffix(".c")
WORD = 8


class MachineClock:
    """How far the clock is ahead; processes that run see a change at once.

    >>> import tempfile
    >>> clock = MachineClock(Path(tempfile.mkdtemp()) / "ahead")
    >>> clock.ahead_secs = -3600
    >>> clock.ahead_secs
    -3600.0
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(WORD))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), WORD)

    @property
    def ahead_secs(self) -> float:
        return int.from_bytes(self._shared, "little", signed=True) / 1e9

    @ahead_secs.setter
    def ahead_secs(self, seconds: float) -> None:
        self._shared[:] = int(seconds * 1e9).to_bytes(WORD, "little", signed=True)


@contextmanager
def jumping(folder: Path) -> Iterator[MachineClock]:
    """Processes that are started inside read this clock.

    Raises:
        AssertionError: there is no C compiler, or it fails.
    """
    library, path = folder / "machine_clock.so", folder / "ahead"
    command = [
        os.environ.get("TWINFLOW_CC", "cc"),
        "-O2",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        str(SOURCE),
        "-ldl",
        "-lpthread",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    clock = MachineClock(path)
    with patch.dict(os.environ, {"LD_PRELOAD": str(library), "TWINFLOW_TEST_CLOCK": str(path)}):
        yield clock
