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
from flows.checkpoints import Checkpoints
from flows.poison import Poison
from flows.shard import Shard, ShardOutput
from operators.definition import TwinType
from operators.frames import Frames
from operators.state_log import Restored, StateLog
from operators.types import State

RESET = "reset"
"""Mark of a shard of which a person gave the state up; it goes with the first state that is logged."""

log = logging.getLogger("twinflow.telemetry")


def offset_of(state: State) -> int:
    """Offset at which the input of a state ends."""
    return int(state["shard/next_offset"][0])


class KeptShard:
    """A core, its log, and its checkpoints.

    Args:
        folder: of the logs.
        partition: whose shard it is.
        committed: offset up to which its results were delivered, None before the first commit.
        checkpoints: the states of this shard that are kept along its input.
        definitions: hash of the set that `type_of` answers from (flows.definition_archive).

    Attributes:
        name: of the shard.
        resume: offset to read from, None where there is no state.
    """

    def __init__(
        self,
        type_of: Callable[[str], TwinType | None],
        folder: Path,
        partition: int,
        committed: int | None,
        *,
        checkpoints: Checkpoints,
        definitions: str,
    ) -> None:
        self.name = name = SHARDS[partition]
        self.core, self._type_of = Shard(type_of), type_of
        self._poison = Poison(folder, name)
        self._log = StateLog(folder, name)
        self._mark = folder / f"{name}.{RESET}"
        self._checkpoints, self._definitions = checkpoints, definitions
        restored = self._log.restore(lambda state: offset_of(state) <= (committed or 0))
        self.resume: int | None = None
        self._begun = self._logged = False
        if restored.state is not None:
            self.core.restore(restored.state)
            self.resume = offset_of(restored.state)
            self._go_on(restored.state, self.resume)
        if (self.resume or 0) < (committed or 0):
            self._tell(restored, committed)

    def _tell(self, restored: Restored, committed: int | None) -> None:
        """What is missing; that all of it is gone says whoever reads the input (connectors.kafka_flow)."""
        if restored.damaged:
            log.error("%s; the state goes back to offset %s and is rebuilt from there", restored.damaged, self.resume)
        elif restored.state is not None:
            log.error(
                "shard %s: results are committed up to offset %s, the newest state stands at %s: an older copy was put "
                "back; it is rebuilt from there, and what was delivered is not delivered again",
                *(self.name, committed, self.resume),
            )

    @property
    def given_up(self) -> bool:
        """Whether a person gave the state up."""
        return self._mark.exists()

    def push(self, frames: Frames) -> ShardOutput:
        """Take the next fetch; what lies before the very first one is the first checkpoint.

        Raises:
            PoisonError: our code fails on a record of it; the shard must start again from what is committed.
        """
        if self._poison.suspects(frames):
            self._poison.search(frames, self.core.snapshot(), self._copy)
        empty = None if self._begun else self.core.snapshot()
        try:
            out = self.core.push(self._poison.marked(frames))
        except Exception as error:
            raise self._poison.failed(frames, error) from error
        self._poison.passed(frames)
        if empty is not None:
            self._go_on(empty, out.from_offset)
        return out

    def _copy(self, state: State) -> Shard:
        """A core of its own that stands at a state."""
        core = Shard(self._type_of)
        core.restore(state)
        return core

    def append(self) -> State:
        """Log the state as it is now, and give it as the cores hold it."""
        state = self.core.view()
        self._log.append(state, self.core.changed())
        if self._begun:
            self._checkpoints.note(state, offset_of(state), self._definitions)
        if not self._logged:  # asked once: a look at the folder costs as much as a small shard's rows
            self._mark.unlink(missing_ok=True)
            self._logged = True
        return state

    def _go_on(self, state: State, offset: int) -> None:
        """From this offset on the shard lives on: checkpoints behind it are of another life."""
        self._begun = True
        self._checkpoints.cut(offset)
        known = self._checkpoints.listed()
        if not known or known[-1].definitions != self._definitions:
            self._checkpoints.keep(state, offset, self._definitions)


def give_up(folder: Path, shards: Sequence[str] = SHARDS) -> None:
    """Mark shards whose logs are deleted: they may be rebuilt from what is left of their input."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in shards:
        (folder / f"{name}.{RESET}").touch()
