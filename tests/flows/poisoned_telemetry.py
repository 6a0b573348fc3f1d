"""`python -m tests.flows.poisoned_telemetry`: telemetry whose own code fails on one record."""

from __future__ import annotations

import sys

from flows import telemetry
from flows.shard import Shard, ShardOutput
from operators.frames import FAULT, Frames

PARTITION, OFFSET = 3, 25
push = Shard.push


def fails(shard: Shard, frames: Frames) -> ShardOutput:
    """As `Shard.push`, but for that record."""
    rows = (frames.offset == OFFSET).nonzero()[0].tolist() if frames.partition == PARTITION else []
    if any(FAULT not in frames.headers.get(row, {}) for row in rows):
        raise KeyError("planted")
    return push(shard, frames)


if __name__ == "__main__":
    setattr(Shard, "push", fails)  # noqa: B010
    sys.exit(telemetry.main())
