"""The shards of one process with their state logs: restored as far as results were committed, then appended to.

What Kafka holds as the committed offset of a shard is the one truth: the newest logged state that is not ahead of it
is taken, input is read from there on, and what was delivered before is not delivered again. So nothing else has to be
kept in step, and a shard may go on in any process (docs/decisions/state-log.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from connectors.shards import SHARDS
from flows.shard import Shard
from operators.definition import TwinType
from operators.state_log import StateLog
from operators.types import State

RESET = "reset"
"""Mark of a shard of which a person gave the state up; it goes with the first state that is logged."""

log = logging.getLogger("twinflow.telemetry")


def offset_of(state: State) -> int:
    """Offset at which the input of a state ends."""
    return int(state["shard/next_offset"][0])


class KeptShard:
    """A core and its log.

    Args:
        folder: of the logs.
        partition: whose shard it is.
        committed: offset up to which its results were delivered, None before the first commit.

    Attributes:
        resume: offset to read from, None where there is no state.
    """

    def __init__(
        self, type_of: Callable[[str], TwinType | None], folder: Path, partition: int, committed: int | None
    ) -> None:
        name = SHARDS[partition]
        self.core = Shard(type_of)
        self._log = StateLog(folder, name)
        self._mark = folder / f"{name}.{RESET}"
        restored = self._log.restore(lambda state: offset_of(state) <= (committed or 0))
        self.resume: int | None = None
        if restored.state is not None:
            self.core.restore(restored.state)
            self.resume = offset_of(restored.state)
        if restored.damaged and (self.resume or 0) < (committed or 0):
            log.error("%s; the state goes back to offset %s and is rebuilt from there", restored.damaged, self.resume)

    @property
    def given_up(self) -> bool:
        """Whether a person gave the state up."""
        return self._mark.exists()

    def append(self) -> None:
        """Log the state as it is now."""
        self._log.append(self.core.snapshot())
        self._mark.unlink(missing_ok=True)


def give_up(folder: Path, shards: Sequence[str] = SHARDS) -> None:
    """Mark shards whose logs are deleted: they may be rebuilt from what is left of their input."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in shards:
        (folder / f"{name}.{RESET}").touch()
