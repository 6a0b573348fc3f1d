"""Where compiled kernels are kept: a folder per state of the sources, since numba looks at the file of a kernel only,
not at the parts that it takes in from others; after an upgrade it would go on with the old ones."""

from __future__ import annotations

import hashlib
import shutil
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = 4
"""Folders that stay, the newest ones: for clones that share a cache."""


@cache
def digest(root: Path = ROOT) -> str:
    """Changes with any file that holds compiled code.

    >>> len(digest())
    16
    """
    found = hashlib.sha256()
    for room in ("operators", "models", "connectors"):
        for path in sorted((root / room).rglob("*.py")):
            text = path.read_bytes()
            if b"operators.compiled" in text or path.name == "compiled.py":
                found.update(path.relative_to(root).as_posix().encode() + b"\0" + text + b"\0")
    return found.hexdigest()[:16]


def folder(cache_dir: Path) -> Path:
    """Of the kernels of these sources, under a cache folder; made, and the oldest of others thrown away."""
    mine = cache_dir / "numba" / digest()
    mine.mkdir(parents=True, exist_ok=True)
    others = [p for p in mine.parent.iterdir() if p.is_dir() and p != mine]
    for old in sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)
    return mine
