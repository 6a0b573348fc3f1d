"""A disk of a few megabytes, another program that fills it, and what a running stack says then."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.supervisor.disk import free_mb
from tests.infra.command import Command


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """A disk of its own. Only root may mount one: a person without that right leaves the test out, CI does not."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("only root may mount a small disk")
    at.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(at)], capture_output=True, text=True
    )
    assert done.returncode == 0, f"no small disk could be mounted, so nothing was tested: {done.stderr.strip()}"
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def fill(disk: Path, left_mb: int) -> Path:
    """Another program takes all of the disk but so much, in one stroke; its file."""
    filler = disk / "filler"
    step = (free_mb(disk) - left_mb) * 10**6
    with filler.open("wb") as file:
        while step >= 4096:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                step = 0 if left_mb else step
            except OSError:  # what runs took some meanwhile, or hardly any is left
                step //= 2
    return filler


def states(command: Command) -> dict[str, str]:
    return {row["name"]: row["state"] for row in command.json("status")["processes"]}


def everything_that_stores_is_held(command: Command) -> bool:
    return {state for name, state in states(command).items() if name != "page"} == {"held"}
