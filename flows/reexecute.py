"""Works out again what a shard said: the same code over the recorded topic, from a state that was kept then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from connectors.shards import SHARDS
from flows.checkpoints import Checkpoint, Checkpoints
from flows.definition_archive import DefinitionArchive
from flows.poison import Poison, marked
from flows.publish import ALERTS, decisions
from flows.shard import Shard
from flows.state_folder import StateFolder
from operators.definition import Fleet
from operators.definition_json import definition_hash
from operators.errors import StateError, TwinflowError
from operators.frames import Frames
from operators.types import State

Verdict: TypeAlias = Literal["identical", "different", "expired", "no_state"]
Said: TypeAlias = tuple[str, str, str]
"""Topic, id, and "raised" or "returned" (or "" for a request): what one decision is found by."""


class Input(Protocol):
    """The recorded samples."""

    def read(self, partition: int, start: int, stop: int, /) -> Iterator[Frames]:
        """The records of [start, stop), in their order."""


class NoStart(TwinflowError):
    """There is nothing to start from: `expired` where the records that would be needed are gone."""

    def __init__(self, why: str, *, expired: bool) -> None:
        self.expired = expired
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Start:
    """Where to start a shard: its state before `offset`, the definitions in force from there on, and the records that
    were set aside (flows.poison)."""

    offset: int
    state: State | None
    fleet: Fleet
    poison: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """One recorded decision.

    Attributes:
        value: the record as it was told, byte for byte.
        offset: the record of the input after which it was told.
        definition: twin type and hash of its definition; "" where it does not say.
    """

    said: Said
    device: str
    partition: int
    offset: int
    definition: tuple[str, str]
    value: bytes

    @staticmethod
    def of(topic: str, partition: int, value: bytes) -> Target:
        """From a record of the topics alerts or command-requests.

        Raises:
            ValueError: it is none (msgspec's errors are of this kind).
        """
        told = msgspec.json.decode(value)
        lineage = told.get("lineage") or {}
        definition = lineage.get("definition") or {}
        return Target(
            said=(topic, told["id"], told.get("state", "")),
            device=told["device"],
            partition=lineage.get("partition", partition),
            offset=lineage.get("offset", told.get("offset", -1)),
            definition=(definition.get("twin_type", ""), definition.get("hash", "")),
            value=value,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target; `made`: what the code says today, None where it says nothing or could not be asked."""

    target: Target
    verdict: Verdict
    made: bytes | None = None
    why: str = ""


class Starts:
    """Finds the state to start from.

    Args:
        state: folder of the telemetry flow. archive: of the definitions.
        now: the definitions of today, for a shard that was never kept; asked when they are needed.
        first: by partition, the oldest record that is kept.
    """

    def __init__(
        self, state: StateFolder, archive: DefinitionArchive, now: Callable[[], Fleet], first: Mapping[int, int]
    ) -> None:
        self._state, self._archive, self._now, self._first = state, archive, now, first
        self._fleets: dict[str, Fleet | None] = {}
        self._today: Fleet | None = None
        self._last: tuple[int, Checkpoint, State] | None = None

    def _poison(self, partition: int) -> Mapping[int, str]:
        return Poison(self._state.shards, SHARDS[partition]).offsets

    def before(self, partition: int, offset: int, definition: tuple[str, str] = ("", "")) -> Start:
        """The newest state at or before an offset from which the definition given was in force.

        Raises:
            NoStart: none is left, or the records behind it are gone.
        """
        kept = Checkpoints(self._state.checkpoints, SHARDS[partition])
        first, expired = self._first[partition], False
        place = f"samples/{partition}@{offset}"
        for checkpoint in reversed([c for c in kept.listed() if c.offset <= offset]):
            fleet = self._fleet(checkpoint.definitions)
            if fleet is None or not _holds(fleet, definition):
                continue
            if checkpoint.offset < first:
                expired = True
                break
            state = self._read(kept, partition, checkpoint)
            if state is not None:
                return Start(checkpoint.offset, state, fleet, self._poison(partition))
        if first == 0 and not kept.listed() and _holds(self.today, definition):
            return Start(0, None, self.today, self._poison(partition))
        if expired or offset < first:
            why = f"{place}: the records since the newest state before it have expired: the topic starts at {first}"
            raise NoStart(f"{why}; raise the retention of samples to look back further", expired=True)
        raise NoStart(
            f"{place}: no state from before it with its definition is kept in {self._state.checkpoints}; "
            f"ask where the flow ran (--data), or after flow reset accept that it was given up",
            expired=False,
        )

    def changes(self, partition: int, start: Start, after: int, stop: int) -> list[Start]:
        """Where other definitions than those of a start came into force in (after, stop), with the state of each."""
        kept = Checkpoints(self._state.checkpoints, SHARDS[partition])
        found, fleet = [], start.fleet
        for checkpoint in kept.listed():
            here = self._fleet(checkpoint.definitions) if after < checkpoint.offset < stop else None
            if here is not None and here is not fleet:
                state = self._read(kept, partition, checkpoint)
                if state is not None:
                    found.append(Start(checkpoint.offset, state, here, self._poison(partition)))
                    fleet = here
        return found

    @property
    def today(self) -> Fleet:
        """The definitions of today."""
        self._today = self._today or self._now()
        return self._today

    def fleet_with(self, definition: tuple[str, str]) -> Fleet | None:
        """Definitions among which a type has this one; None where they were never kept."""
        if _holds(self.today, definition):
            return self.today
        return self._archive.load(self._archive.with_type(*definition))

    def _read(self, kept: Checkpoints, partition: int, checkpoint: Checkpoint) -> State | None:
        if self._last is None or self._last[:2] != (partition, checkpoint):
            state = kept.read(checkpoint)
            if state is None:
                return None
            self._last = (partition, checkpoint, state)
        return {name: column.copy() for name, column in self._last[2].items()}

    def _fleet(self, definitions: str) -> Fleet | None:
        if definitions not in self._fleets:
            self._fleets[definitions] = self._archive.load(definitions)
        return self._fleets[definitions]


def _holds(fleet: Fleet, definition: tuple[str, str]) -> bool:
    twin_type, version_hash = definition
    if not version_hash:
        return True
    twin = fleet.types.get(twin_type)
    return twin is not None and definition_hash(twin) == version_hash


class Rerun:
    """One shard on its way over the recorded topic; what it tells stays here.

    Attributes:
        fleet: the definitions in force. at: the next record. records: how many were worked off.
        told: every alert and request since the start, by what it is found by.
    """

    def __init__(self, recorded: Input, partition: int, start: Start) -> None:
        self._recorded, self._partition, self.fleet = recorded, partition, start.fleet
        self.shard, self._poison = Shard(start.fleet.type_of), start.poison
        if start.state is not None:
            self.shard.restore(start.state)
        self.at, self.records = start.offset, 0
        self.told: dict[Said, bytes] = {}

    def to(self, offset: int) -> None:
        """Work off all records before an offset.

        Raises:
            OffsetExpiredError: they were deleted meanwhile.
        """
        for frames in self._recorded.read(self._partition, self.at, offset):
            out = self.shard.push(marked(frames, self._poison))
            self.records += len(frames)
            for lane in out.lanes:
                for record in decisions(lane, shard=SHARDS[self._partition], partition=self._partition):
                    value = record.value or b""
                    self.told[said(record.topic, msgspec.json.decode(value))] = value
        self.at = max(self.at, offset)


def said(topic: str, told: Mapping[str, Any]) -> Said:
    """What a decision is found by."""
    return topic, told["id"], told.get("state", "") if topic == ALERTS else ""


def reexecute(recorded: Input, starts: Starts, targets: Sequence[Target]) -> tuple[list[Outcome], int]:
    """Every target worked out again, in one pass per shard at most; and the number of records that took."""
    outcomes: list[Outcome] = []
    records = 0
    for partition, of_shard in groupby(sorted(targets, key=lambda t: (t.partition, t.offset)), lambda t: t.partition):
        rerun: Rerun | None = None
        for target in of_shard:
            try:
                start = starts.before(partition, target.offset, target.definition)
                if rerun is None or rerun.fleet is not start.fleet or start.offset >= rerun.at:
                    records += rerun.records if rerun else 0
                    rerun = Rerun(recorded, partition, start)
                rerun.to(target.offset + 1)
            except NoStart as error:
                outcomes.append(Outcome(target, "expired" if error.expired else "no_state", why=str(error)))
            except StateError as error:
                outcomes.append(Outcome(target, "no_state", why=str(error)))
            else:
                outcomes.append(compared(target, rerun.told.get(target.said)))
        records += rerun.records if rerun else 0
    return outcomes, records


def compared(target: Target, made: bytes | None) -> Outcome:
    """Byte for byte."""
    why = "" if made is not None else "the code of today says nothing here"
    return Outcome(target, "identical" if made == target.value else "different", made, why)


def difference(recorded: bytes, made: bytes | None) -> dict[str, list[Any]]:
    """Fields that differ, each with its recorded value and the one of today.

    >>> difference(b'{"id":"a","value":1}', b'{"id":"a","value":2}')
    {'value': [1, 2]}
    """
    then, now = msgspec.json.decode(recorded), msgspec.json.decode(made) if made else {}
    return {key: [then.get(key), now.get(key)] for key in {**then, **now} if then.get(key) != now.get(key)}


def parse_all(topic: str, partition: int, values: Sequence[bytes | None]) -> Iterator[Target]:
    """The targets among some records; what is no decision is passed over."""
    for value in values:
        try:
            yield Target.of(topic, partition, value or b"")
        except (ValueError, KeyError, AttributeError):
            continue
