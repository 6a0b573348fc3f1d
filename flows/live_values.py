"""Live values on their way to who looks: those of a few fetches together, and of a backlog only the newest."""

from __future__ import annotations

from connectors.kafka_commit import Record
from flows.encode import blocks
from flows.lane import LaneOutput
from flows.shard import ShardOutput
from flows.tables import samples_table
from operators.sample_rows import newest
from operators.types import Batch

HOLD_NS = 40_000_000
"""How long values wait for others: at 10,000 samples a second fetches come each 10 ms, and nobody looks so often."""
LIVE_ROWS = 4_000
"""More samples than this at once are a backlog: then only the newest of each series goes out."""


class LiveValues:
    """The values of one shard that were not told yet.

    Attributes:
        since_ns: when the first of them came, by the clock of who notes them; None where nothing waits.
    """

    def __init__(self) -> None:
        self.since_ns: int | None = None
        self._waiting: dict[str, tuple[LaneOutput, list[Batch]]] = {}

    def note(self, out: ShardOutput, now_ns: int = 0) -> None:
        """Take the values of a fetch."""
        for lane in out.lanes:
            if len(lane.readings):
                _, batches = self._waiting.setdefault(lane.twin.name, (lane, []))
                batches.append(lane.readings)
                if sum(map(len, batches)) > LIVE_ROWS:
                    batches[:] = [_newest(Batch.join(batches))]
                self.since_ns = now_ns if self.since_ns is None else self.since_ns

    def due(self, now_ns: int) -> bool:
        """Whether what waits has waited long enough."""
        return self.since_ns is not None and now_ns - self.since_ns >= HOLD_NS

    def records(self, *, shard: str, partition: int) -> list[Record]:
        """All that waits, as blocks of `twin-live`; then nothing does."""
        waiting, self._waiting, self.since_ns = self._waiting, {}, None
        return [
            record
            for name, (lane, batches) in waiting.items()
            for record in blocks(
                "twin-live", samples_table(Batch.join(batches), lane.twin, lane.names),
                shard=shard, partition=partition, twin_type=name,
            )
        ]  # fmt: skip


def _newest(batch: Batch) -> Batch:
    return batch.take(newest(batch.series, batch.ts))
