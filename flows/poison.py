"""Records on which our own code fails: tried three times, then found one by one, kept as dead letters, and passed over.

A failed push leaves a core half changed, so the process ends and goes on from what is committed, as after any crash. A
file beside the state log counts how often a stretch of input failed. After `TRIES` the stretch is halved on copies of
the state until each record that fails is known; those are noted for good, so every later run, replays included, passes
over the same ones. What failed for another reason than its input, and now works, costs nothing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from operators.errors import TwinflowError
from operators.frames import FAULT, READ, Frames
from operators.types import State

TRIES = 3
MOST = 100
"""Records that may be set aside in one stretch: where more fail, it is not the records."""
LONGEST = 200
"""Characters of an error that are kept."""

log = logging.getLogger("twinflow.telemetry")


class Core(Protocol):
    """What is tried out."""

    def push(self, frames: Frames) -> object: ...
    def snapshot(self) -> State: ...


class PoisonError(TwinflowError):
    """Our code failed on a stretch of input."""

    def __init__(self, *, shard: str, place: str, tries: int, cause: str) -> None:
        then = f"the record is found and set aside after try {TRIES}" if tries < TRIES else "now it is looked for"
        super().__init__(
            f"shard {shard}: {place}: try {tries} failed: {cause}; nothing is lost: the flow starts again from what is "
            f"committed, {then}; please report it with the dead letter"
        )


class Poison:
    """What is known of the records of one shard that cannot be worked on.

    Args:
        folder: of the state logs. shard: its name.

    >>> import tempfile
    >>> poison = Poison(Path(tempfile.mkdtemp()), "03gb")
    >>> frames = Frames.of([b"1", b"2"], first_offset=7)
    >>> [poison.failed(frames, KeyError("a")) is None for _ in range(TRIES)], poison.suspects(frames)
    ([False, False, False], True)
    """

    def __init__(self, folder: Path, shard: str) -> None:
        self._path, self._shard = folder / f"{shard}.poison.json", shard
        kept: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._failing: dict[str, int] = kept.get("failing", {})
        self.offsets: dict[int, str] = {int(offset): why for offset, why in kept.get("offsets", {}).items()}

    def failed(self, frames: Frames, error: Exception) -> PoisonError:
        """Note that a push failed; gives what to end the process with."""
        first, end = _bounds(frames)
        if self._overlap(first, end):
            first, end = min(first, self._failing["from"]), max(end, self._failing["end"])
            tries = self._failing["tries"] + 1
        else:
            tries = 1
        self._failing = {"from": first, "end": end, "tries": tries}
        self._save()
        place = f"samples/{frames.partition}, offsets {first} to {end - 1}"
        return PoisonError(shard=self._shard, place=place, tries=tries, cause=_said(error))

    def passed(self, frames: Frames) -> None:
        """It went well: what failed here before did so for another reason."""
        if self._failing and self._overlap(*_bounds(frames)) and frames.end_offset >= self._failing["end"]:
            self._failing = {}
            self._save()

    def suspects(self, frames: Frames) -> bool:
        """Whether it failed often enough here to be looked for."""
        return self._overlap(*_bounds(frames)) and self._failing["tries"] >= TRIES

    def search(self, frames: Frames, state: State, core_of: Callable[[State], Core]) -> None:
        """Find the records that fail, starting from this state, and note them for good.

        Raises:
            PoisonError: more than MOST fail: then it is not the records, and nothing is set aside.
        """
        found: dict[int, str] = {}

        def walk(part: Frames, before: State) -> State:
            core = core_of(before)
            try:
                core.push(part)
            except Exception as error:  # whatever it is, it is what is looked for
                if len(part) > 1:
                    halves = part.split(int(part.offset[len(part) // 2]))
                    return walk(halves[1], walk(halves[0], before))
                found[int(part.offset[0])] = _said(error)
                if len(found) > MOST:
                    raise self.failed(frames, error) from error
                return before
            return core.snapshot()

        walk(self.marked(frames), state)
        for offset, why in found.items():
            log.error("samples/%d, offset %d is set aside: %s", frames.partition, offset, why)
        self.offsets |= found
        self._failing = {}
        self._save()

    def marked(self, frames: Frames) -> Frames:
        """The frames with the records noted marked, so that decode makes dead letters of them."""
        return marked(frames, self.offsets)

    def _overlap(self, first: int, end: int) -> bool:
        return bool(self._failing) and first < self._failing["end"] and self._failing["from"] < end

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        spare = self._path.with_suffix(".new")
        with spare.open("w") as file:
            json.dump({"failing": self._failing, "offsets": self.offsets}, file)
            file.flush()
            os.fsync(file.fileno())
        spare.replace(self._path)


def marked(frames: Frames, offsets: Mapping[int, str]) -> Frames:
    """The frames with the records at these offsets marked as poison.

    >>> marked(Frames.of([b"1", b"2"], first_offset=7), {8: "KeyError: 'a'"}).headers
    {1: {'twinflow-fault': b"poison: KeyError: 'a'"}}
    """
    first, end = _bounds(frames)
    places = {offset: why for offset, why in offsets.items() if first <= offset < end}
    rows = {
        row: places[offset] for row, offset in enumerate(frames.offset.tolist() if places else ()) if offset in places
    }
    if not rows:
        return frames
    headers = dict(frames.headers) | {row: {FAULT: f"poison: {why}".encode()} for row, why in rows.items()}
    notes = None if frames.notes is None else frames.notes.copy()
    if notes is not None:
        notes[list(rows)] = READ
    return replace(frames, headers=headers, notes=notes)


def _bounds(frames: Frames) -> tuple[int, int]:
    """First offset, and the one after the last."""
    return (int(frames.offset[0]) if len(frames) else frames.end_offset), frames.end_offset


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:LONGEST]
