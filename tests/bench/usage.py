"""What runs cost: CPU and memory of process trees, and the facts of the machine without which figures say little."""

from __future__ import annotations

import os
import platform
import resource
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

SAMPLE_SECS = 0.1


def children_cpu() -> float:
    """Seconds of CPU of all children that have ended, theirs included; exact."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Usage:
    """Watches process trees from `with` to its end.

    Attributes:
        peak_mb: largest sum of the resident memory of all of them, looked at ten times a second.
    """

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in roots]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_mb = 0.0

    def __enter__(self) -> Usage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECS):
            self.peak_mb = max(self.peak_mb, sum(map(_resident, self._tree())) / 1e6)

    def _tree(self) -> list[psutil.Process]:
        found = []
        for root in self._roots:
            try:
                found += [root, *root.children(recursive=True)]
            except psutil.Error:
                continue
        return found

    def cpu(self) -> float:
        """Seconds of CPU so far, children that ended included."""
        total = 0.0
        for process in self._tree():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
            if process in self._roots:
                total += times.children_user + times.children_system
        return total


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def load() -> float:
    """Processes that ran or wanted to, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, str | int | float]:
    """Processor, memory, system: what figures depend on."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": load(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
