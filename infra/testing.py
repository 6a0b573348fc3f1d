"""`twinflow test`, `lint`, `bench` and `chaos`: the checks of this repository, in the order that fails fastest."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from infra import kernels
from infra.errors import UsageFault

ROOT = Path(__file__).resolve().parent.parent

LINT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("format", ("ruff", "format", "--check", ".")),
    ("lint", ("ruff", "check", ".")),
    ("types", ("mypy",)),
)


PROGRAMS = {"chromium": ("chromium", "fonts-liberation"), "cc": ("gcc", "libc6-dev")}
"""Programs that tests run, with the Debian packages that bring them."""


def install_programs() -> None:
    """Install what is missing, where we may: as root on Debian. Elsewhere the tests that need it fail and say so."""
    missing = [name for name in PROGRAMS if not (shutil.which(name) or os.environ.get(f"TWINFLOW_{name.upper()}"))]
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    packages = [package for name in missing for package in PROGRAMS[name]]
    sys.stdout.write(f"twinflow test: installing {', '.join(packages)}\n")
    sys.stdout.flush()
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet, stdout=subprocess.DEVNULL)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(install, check=False, env=quiet, stdout=subprocess.DEVNULL)


def run(steps: tuple[tuple[str, tuple[str, ...]], ...]) -> int:
    """Run tools of this environment one after the other; the first failure ends it. Prints the time of each."""
    for name, command in steps:
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=_environment())
        sys.stdout.write(f"twinflow test: {name} {'ok' if done.returncode == 0 else 'FAILED'}, ")
        sys.stdout.write(f"{time.monotonic() - started:.1f} s\n")
        sys.stdout.flush()
        if done.returncode:
            return 1
    return 0


def _environment() -> dict[str, str]:
    cache = os.environ.get("TWINFLOW_CACHE") or str(Path.home() / ".cache" / "twinflow")
    numba = os.environ.get("NUMBA_CACHE_DIR") or str(kernels.folder(Path(cache)))
    return {**os.environ, "NUMBA_CACHE_DIR": numba, "PYTHONPATH": str(ROOT)}


def programs(kind: str) -> dict[str, str]:
    """Benchmarks or scenarios by name: modules of tests/<kind> whose first words are their command."""
    found = sorted((ROOT / "tests" / kind).glob("*.py"))
    return {
        p.stem: f"tests.{kind}.{p.stem}" for p in found if p.read_text().startswith(f'"""`twinflow {kind} {p.stem}`')
    }


def bench(name: str, arguments: list[str]) -> int:
    """Run one benchmark; its own options follow its name.

    Raises:
        UsageFault: there is none of this name.
    """
    code: int = importlib.import_module(_module("bench", name)).main(arguments)
    return code


def chaos(name: str, arguments: list[str]) -> int:
    """Run one scenario of tests/chaos, in a process that finds the compiled kernels; its own options follow its name.

    Raises:
        UsageFault: there is none of this name.
    """
    return subprocess.run(
        [sys.executable, "-m", _module("chaos", name), *arguments], cwd=ROOT, env=_environment()
    ).returncode


def _module(kind: str, name: str) -> str:
    known = programs(kind)
    if name not in known:
        raise UsageFault(
            what=f"{kind} {name!r}", why="there is none of this name", fix=f"take one of {', '.join(known)}"
        )
    return known[name]


def lint() -> int:
    """Formatting, lint and types."""
    return run(LINT)


FULL = "--full"
EVERY_MARK = ("-m", "full or not full")


def run_tests(arguments: list[str]) -> int:
    """Lint, then every test; `arguments` replace the default selection of pytest. Exit 0 only when all is green.

    `--full` adds the tests marked `full`: each scenario of chaos at its whole size.
    """
    started = time.monotonic()
    install_programs()
    marks = EVERY_MARK if FULL in arguments else ()
    arguments = [word for word in arguments if word != FULL]
    steps = (*((LINT) if not arguments else ()), ("tests", ("pytest", *arguments, *marks)))
    code = run(steps)
    sys.stdout.write(f"twinflow test: {'passed' if code == 0 else 'FAILED'} in {time.monotonic() - started:.0f} s\n")
    return code
