"""States of a shard along its input, kept so that what it said can be worked out again.

A checkpoint is a state log with one image, in a file whose name says at which offset the image stands and which
definitions hold from there on. The log of the shard itself knows nothing of them (docs/decisions/re-execution.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from operators.errors import StateError
from operators.state_log import StateLog, anything
from operators.types import State

EVERY_RECORDS = 20_000
BYTES_PER_RECORD = 64
MOST = 24
MOST_BYTES = 64 << 20
"""Of one shard; beyond, those go that leave the shortest gap for their age."""
_NAME = re.compile(r"(?P<shard>[0-9a-z]+)@(?P<offset>[0-9]+)@(?P<life>[0-9]+)@(?P<definitions>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """Where a kept state stands, in the order of the input.

    Attributes:
        offset: of the next record.
        life: counts the changes of definitions; two at one offset are told apart by it.
        definitions: hash of those in force from here on.
        size: bytes of its file.
    """

    offset: int
    life: int
    definitions: str
    size: int = 0


class Checkpoints:
    """The checkpoints of one shard.

    Args:
        folder: of all shards.
        shard: its name.
        every: records from one checkpoint to the next, at least.
        per_record: bytes of an image for each record from it to the next, at most.

    >>> import tempfile
    >>> import numpy as np
    >>> kept = Checkpoints(Path(tempfile.mkdtemp()), "03gb", every=10)
    >>> [kept.note({"n": np.array([at])}, at, "ab" * 32) for at in (0, 5, 10, 19, 30)]
    [True, False, True, False, True]
    >>> [c.offset for c in kept.listed()], kept.read(kept.listed()[1])["n"].tolist()
    ([0, 10, 30], [10])
    """

    def __init__(
        self, folder: Path, shard: str, *, every: int = EVERY_RECORDS, per_record: int = BYTES_PER_RECORD
    ) -> None:
        self._folder, self._shard, self._every, self._per_record = folder, shard, every, per_record
        self._due = -1

    def listed(self) -> list[Checkpoint]:
        """All there are, in order of their offsets."""
        return sorted(checkpoint for checkpoint, _ in self._files())

    def due(self, offset: int) -> bool:
        """Whether a state that stands at this offset should be kept."""
        if self._due < 0:
            known = self.listed()
            self._due = self._next(known[-1]) if known else 0
        return offset >= self._due

    def note(self, state: State, offset: int, definitions: str) -> bool:
        """Keep a state where one is due; whether it was kept."""
        if self.due(offset):
            self.keep(state, offset, definitions)
            return True
        return False

    def keep(self, state: State, offset: int, definitions: str) -> None:
        """Keep a state behind all others, or in the place of the same one."""
        known = self.listed()
        life = known[-1].life + (known[-1].definitions != definitions) if known else 0
        name = self._name(Checkpoint(offset, life, definitions))
        for old in self._folder.glob(f"{name}.*.log"):
            old.unlink()
        log = StateLog(self._folder, name)
        log.append(state)
        log.close()
        known = self.listed()
        self._due = self._next(known[-1])
        self._thin(known)

    def read(self, checkpoint: Checkpoint) -> State | None:
        """The state of a checkpoint; None where it is gone or damaged."""
        log = StateLog(self._folder, self._name(checkpoint))
        try:
            return log.restore(anything).state
        except (OSError, StateError):
            return None
        finally:
            log.close()

    def cut(self, offset: int) -> None:
        """Forget those that stand behind an offset: from there on the shard lives again, perhaps otherwise."""
        for checkpoint, path in self._files():
            if checkpoint.offset > offset:
                path.unlink(missing_ok=True)
        self._due = -1

    def _name(self, checkpoint: Checkpoint) -> str:
        return f"{self._shard}@{checkpoint.offset}@{checkpoint.life}@{checkpoint.definitions}"

    def _next(self, last: Checkpoint) -> int:
        return last.offset + max(self._every, last.size // self._per_record)

    def _files(self) -> Iterator[tuple[Checkpoint, Path]]:
        for path in self._folder.glob(f"{self._shard}@*.log"):
            found = _NAME.match(path.name)
            if found:
                try:
                    size = path.stat().st_size
                    yield Checkpoint(int(found["offset"]), int(found["life"]), found["definitions"], size), path
                except FileNotFoundError:  # thinned meanwhile
                    continue

    def _thin(self, known: list[Checkpoint]) -> None:
        places = dict(self._files())
        while len(known) > MOST or (len(known) > 2 and sum(c.size for c in known) > MOST_BYTES):
            least = min(range(1, len(known) - 1), key=lambda i: _gap_for_age(known, i))
            path = places.get(known.pop(least))
            if path is not None:
                path.unlink(missing_ok=True)


def _gap_for_age(known: list[Checkpoint], i: int) -> float:
    """The gap that one of them would leave, in parts of the distance from there to the newest."""
    before, after, newest = known[i - 1].offset, known[i + 1].offset, known[-1].offset
    return (after - before) / (newest - before + 1)
