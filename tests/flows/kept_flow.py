"""One shard as the flow runs it, over a log in memory, with the folders it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from connectors.shards import SHARDS
from flows.checkpoints import Checkpoints
from flows.definition_archive import DefinitionArchive
from flows.publish import live_records
from flows.reexecute import Outcome, Starts, Target, reexecute
from flows.shard_states import KeptShard
from flows.state_folder import StateFolder
from operators.definition import Fleet
from operators.definition_yaml import loads
from operators.frames import Frames
from tests.flows.mixed_input import FLEET, PUMP, messages

COUNT, PARTITION = 1500, 3
VALUES, ARRIVALS = messages(COUNT)
STRICTER = Fleet(FLEET.patterns, {**FLEET.types, "pump": loads(PUMP.replace("above: 50", "above: 31"))})


class Log:
    """The recorded topic, from memory."""

    def read(self, partition: int, start: int, stop: int) -> Iterator[Frames]:
        assert partition == PARTITION
        if start < min(stop, COUNT):
            values = VALUES[start:stop]
            yield Frames.of(values, arrival=ARRIVALS[start:stop], first_offset=start, partition=partition)


class Flow:
    """One shard as the flow runs it, over the log, with the folders it leaves behind."""

    def __init__(self, folder: Path) -> None:
        self.state = StateFolder(folder / "telemetry")
        self.archive = DefinitionArchive(folder / "definitions")
        self.told: list[Target] = []

    def run(self, start: int | None, stops: list[int], fleet: Fleet = FLEET) -> None:
        """Start, as after a kill that left `start` committed, work up to each stop and log the state there."""
        kept = KeptShard(
            fleet.type_of, self.state.shards, PARTITION, start,
            checkpoints=Checkpoints(self.state.checkpoints, SHARDS[PARTITION], every=1, per_record=1 << 40),
            definitions=self.archive.keep(fleet),
        )  # fmt: skip
        at = kept.resume or 0
        for stop in stops:
            for frames in Log().read(PARTITION, at, stop):
                records = live_records(kept.push(frames), shard=SHARDS[PARTITION], partition=PARTITION)
                decided = [r for r in records if r.topic != "twin-live"]
                self.told += [Target.of(r.topic, PARTITION, r.value or b"") for r in decided]
            kept.append()
            at = stop

    def starts(self, first: int = 0, now: Fleet = FLEET) -> Starts:
        """The states it left, where the topic starts at `first`."""
        return Starts(self.state, self.archive, lambda: now, {PARTITION: first})

    def again(self, first: int = 0, now: Fleet = FLEET) -> tuple[list[Outcome], int]:
        """Everything that was told, worked out again."""
        return reexecute(Log(), self.starts(first, now), self.told)
