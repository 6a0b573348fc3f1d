"""A small flow for the kill test: each input becomes one settled and one live record.

`python -m tests.connectors.flow_for_tests BOOTSTRAP SOURCE SETTLED LIVE`; SIGTERM drains. It has no
state, so it goes on where its results are committed.
"""

from __future__ import annotations

import signal
import sys
from datetime import timedelta

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from connectors.kafka_commit import Record, Settled
from connectors.kafka_flow import CommittedSink, LiveSink, ShardSource, Worker
from connectors.shards import SHARDS
from operators.frames import Frames


class CopyWorker(Worker):
    """Reads on from the committed offset."""

    def add(self, partition: int, _resume: int | None) -> None:
        """As `Worker.add`."""
        super().add(partition, self.transactions(partition).committed)


def flow(worker: Worker, settled: str, live: str) -> Dataflow:
    """source -> each message to a record -> committed and live."""

    def settle(item: tuple[str, Frames]) -> tuple[str, Settled]:
        shard, frames = item
        records = [
            Record(settled, frames.key(row), frames.value(row), partition=frames.partition)
            for row in range(len(frames))
        ]
        return shard, Settled(frames.end_offset, records)

    def now(item: tuple[str, Settled]) -> tuple[str, list[Record]]:
        return item[0], [Record(live, r.key, r.value) for r in item[1].records]

    wired = Dataflow("copy")
    results = op.map("settle", op.input("samples", wired, ShardSource(worker)), settle)
    op.output("at-once", op.map("now", results, now), LiveSink(worker))
    op.output("committed", results, CommittedSink(worker))
    return wired


def main(bootstrap: str, source: str, settled: str, live: str) -> None:
    """Run until SIGTERM."""
    worker = CopyWorker(bootstrap, topic=source, group=f"copy-{source}")
    worker.fence(range(len(SHARDS)))
    signal.signal(signal.SIGTERM, lambda _n, _f: worker.drain.set())
    print("started", flush=True)  # noqa: T201
    run_main(flow(worker, settled, live), epoch_interval=timedelta(seconds=0.2))
    worker.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
