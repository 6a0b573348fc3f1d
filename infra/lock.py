"""Lock files: every package by version and hash, for every supported platform, naming no registry.

`python -m infra.lock` writes them, `python -m infra.lock --check` proves that each platform finds its wheels.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS: dict[str, tuple[str, ...]] = {"requirements.lock": (), "requirements-test.lock": ("--group", "test")}
PLATFORMS = ("x86_64-manylinux_2_31", "aarch64-manylinux_2_31", "x86_64-apple-darwin", "aarch64-apple-darwin")
PYTHONS = ("3.11", "3.12")


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else "uv"


def write(lock: str) -> None:
    """Resolve one lock file anew, keeping versions that still fit."""
    pinned = () if lock == "requirements.lock" else ("-c", "requirements.lock")
    subprocess.run(
        [
            *(
                _uv(),
                "pip",
                "compile",
                "--quiet",
                "--universal",
                "--generate-hashes",
                "--no-emit-index-url",
                "--no-header",
            ),
            *("--python-version", "3.11", "-c", "infra/constraints.txt", *pinned, *LOCKS[lock]),
            *("pyproject.toml", "-o", lock),
        ],
        cwd=ROOT,
        check=True,
    )


def missing_wheels(lock: str, platform: str, python: str) -> str:
    """What a platform lacks, in the resolver's words; empty when every wheel is there."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(_uv(), "pip", "install", "--quiet", "--dry-run", "--only-binary", ":all:", "--require-hashes"),
                *("--python-platform", platform, "--python-version", python, "--target", folder, "-r", lock),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
    return "" if done.returncode == 0 else done.stderr.strip()


def main() -> int:
    if "--check" not in sys.argv:
        for lock in LOCKS:
            write(lock)
    faults = 0
    for platform in PLATFORMS:
        for python in PYTHONS:
            fault = missing_wheels("requirements.lock", platform, python)
            faults += bool(fault)
            sys.stdout.write(f"{platform} python {python}: {fault or 'every wheel found'}\n")
    return min(faults, 1)


if __name__ == "__main__":
    raise SystemExit(main())
