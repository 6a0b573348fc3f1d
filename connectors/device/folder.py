"""The folder of a spool belongs to one process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import DeviceError


class SpoolInUse(DeviceError):
    """Another process sends from this folder."""

    def __init__(self, *, folder: Path, pid: str) -> None:
        super().__init__(
            f"spool {folder} is in use by process {pid or 'unknown'}; end that one, or take another folder"
        )


def lock(folder: Path) -> int:
    """Hold the folder, made when it is missing, until the descriptor is closed or the process ends, however it ends.

    Raises:
        SpoolInUse: another one holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(fd)
    except OSError:
        pid = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise SpoolInUse(folder=folder, pid=pid) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def _take(fd: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(fd, 1 << 20, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        os.lseek(fd, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def default_folder(name: str) -> Path:
    """Where a device keeps its spool unless it is told: `$XDG_STATE_HOME/twinflow-device/NAME`.

    >>> default_folder("line 1/pump-7").name
    'line%201%2Fpump-7'
    """
    from urllib.parse import quote

    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "twinflow-device" / quote(name, safe="")


def machine_boot() -> str:
    """A name that changes when the machine starts anew, "" where the system has none: only while it stays are all
    records surely on the disk that were written before the process ended."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
