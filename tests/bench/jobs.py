"""The jobs of others, kept byte for byte in tests/bench/baselines, and how they are told their work."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from tests.bench.stage import Stage

BASELINES = Path(__file__).parent / "baselines"
LOCKS = Path(__file__).parent / "locks"
"""What the peers are built from: jars, wheels, crates by version and hash."""


class Absent(Exception):
    """A peer cannot run here; says why."""


def hashes() -> dict[str, str]:
    """sha256 of every file of the baselines; common.py is the original but for `PARTS = 12`."""
    files = sorted(p for p in BASELINES.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {p.relative_to(BASELINES).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def environment(stage: Stage, topic: str, out: str, n: int) -> dict[str, str]:
    """What a job reads from its environment."""
    return {
        "IN": topic,
        "OUT": out,
        "N": str(n),
        "GROUP": f"bench-{uuid.uuid4().hex[:6]}",
        "TOPIC": topic,
        "BENCH_BROKER": stage.bootstrap,
    }
