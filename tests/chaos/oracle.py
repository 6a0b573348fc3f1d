"""What an uninterrupted run says: the cores in this process, one after the other, over the log of a world."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.kafka_commit import Record
from connectors.shards import SHARDS
from flows.publish import STATE_EVERY_NS, Fetch, StatePublisher, live_records, settled_records
from flows.shard import Shard
from operators.types import State
from tests.flows.live_world import SETTLED, World


@dataclass(frozen=True)
class Oracle:
    """All records that are due, live and settled, and the state of each shard at the end, by partition."""

    records: list[Record]
    states: dict[int, State]

    def of(self, *topics: str) -> list[Record]:
        """Those of some topics."""
        return [record for record in self.records if record.topic in topics]

    def settled(self) -> list[Record]:
        """Those of `SETTLED`."""
        return self.of(*SETTLED)


def uninterrupted(world: World) -> Oracle:
    """One run over all that the input topic holds."""
    cores = {p: (Shard(world.type_of), StatePublisher()) for p in range(len(SHARDS))}
    records: list[Record] = []
    for number, frames in enumerate(world.read(world.topic)):
        p, shard = frames.partition, SHARDS[frames.partition]
        core, states = cores[p]
        out = core.push(frames)
        states.note(out)
        records += settled_records(shard, p, [Fetch.of(out)])
        records += states.due(out, newest_arrival_ns=number * STATE_EVERY_NS, shard=shard, partition=p)
        records += live_records(out, shard=shard, partition=p)
    return Oracle(records, {p: core.snapshot() for p, (core, _) in cores.items()})
