"""Facts about processes that stay true when pids are used again."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LINUX: bool = sys.platform == "linux"


def birth(pid: int) -> str:
    """What tells this process from any other with the same pid, before or after a reboot; "" when it is gone.

    >>> birth(os.getpid()) == birth(os.getpid()) != ""
    True
    """
    if LINUX:
        fields = _stat(pid)
        boot = Path("/proc/sys/kernel/random/boot_id")
        return "" if not fields or fields[0] == "Z" else f"{boot.read_text().strip()}:{fields[19]}"
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


def alive(pid: int | None, born: str) -> bool:
    """Is this very process running (a zombie is not)?"""
    return pid is not None and born != "" and birth(pid) == born


def age_secs() -> float:
    """Seconds since this process was started; the launcher becomes this process, so its time is included."""
    fields = _stat(os.getpid()) if LINUX else []
    if fields:
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    import psutil

    return max(0.0, time.time() - psutil.Process().create_time())


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal all that is left of the group this process leads; none left is fine."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def memory_mb(pids: Iterable[int]) -> float:
    """Proportional set size of these processes and all below them, MB (resident size where the kernel has no PSS)."""
    import psutil

    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.Error):
                    info = process.memory_full_info()
                    total += int(getattr(info, "pss", 0) or info.rss)
    return round(total / 1e6, 1)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state (field 3) on; the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return []
