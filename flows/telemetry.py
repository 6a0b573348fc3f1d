"""samples -> one core per shard (flows/shard.py: decode to anomalies) -> at once: live values, alerts, requests;
committed with their source offset: readings, windows, rows, anomalies, states, late, dead letters, ledger.

Run: `python -m flows.telemetry` with TWINFLOW_KAFKA and TWINFLOW_DATA set (`twinflow up` does).
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig
from bytewax.testing import run_main

from connectors.kafka_commit import Record, Settled
from connectors.kafka_flow import SHARDS, CommittedSink, LiveSink, ShardSource, Worker
from connectors.kafka_wait import wait_for_topic
from flows.health import serve
from flows.publish import Fetch, StatePublisher, live_records, settled_records
from flows.settings import FlowSettings
from flows.shard import Shard
from flows.state_folder import StateFolder
from flows.warm import warm_in_two
from operators.definition import Fleet
from operators.definition_yaml import load_fleet
from operators.errors import TwinflowError
from operators.frames import Frames
from operators.state_log import Position, StateLog

Made: TypeAlias = tuple[list[Record], Settled]
Checkpoint: TypeAlias = tuple[str, int, int]
STALL_SECS = 10.0

log = logging.getLogger("twinflow.telemetry")


class ShardLogic(StatefulBatchLogic[Frames, Made, Checkpoint]):
    """One shard inside Bytewax: the core, and the log its snapshots go to.

    Bytewax does not tell a logic its key: a new one learns it from its first fetch, a resumed one from its log's name.
    """

    def __init__(
        self, fleet: Fleet, folder: Path, delivered: Mapping[int, int | None], resume: Checkpoint | None
    ) -> None:
        self._core = Shard(fleet.type_of)
        self._states = StatePublisher()
        self._folder = folder
        self._delivered = delivered
        self._log: StateLog | None = None
        if resume is not None:
            self._log = StateLog(folder, resume[0].partition(".")[0])
            self._core.restore(self._log.restore(Position(*resume)))

    def on_batch(self, values: list[Frames]) -> tuple[list[Made], bool]:
        """What the shard makes of each fetch, with the offset it ends at."""
        return [self._one(frames) for frames in values], StatefulBatchLogic.RETAIN

    def _one(self, frames: Frames) -> Made:
        partition, shard = frames.partition, SHARDS[frames.partition]
        if self._log is None:
            self._log = StateLog(self._folder, shard)
        out = self._core.push(frames)
        self._states.note(out)
        live = live_records(out, shard=shard, partition=partition)
        if frames.end_offset <= (self._delivered.get(partition) or 0):  # replayed to rebuild state
            return live, Settled(frames.end_offset)
        newest = int(frames.arrival.max(initial=0))
        states = self._states.due(out, newest_arrival_ns=newest, shard=shard, partition=partition)
        return live, Settled(frames.end_offset, states, Fetch.of(out))

    def snapshot(self) -> Checkpoint:
        """Append what changed to the state log; Bytewax keeps only where it ends."""
        assert self._log is not None
        at = self._log.append(self._core.snapshot())
        return at.file, at.length, at.version


def build(fleet: Fleet, worker: Worker, state: StateFolder) -> Dataflow:
    """The dataflow; read it top-down."""
    flow = Dataflow("telemetry")

    fetched = op.input("samples", flow, ShardSource(worker))  # (shard, Frames)
    made = op.stateful_batch("shard", fetched, lambda resume: ShardLogic(fleet, state.shards, worker.committed, resume))
    live = op.map_value("live", made, lambda both: both[0])
    settled = op.map_value("settled", made, lambda both: both[1])

    op.output("at-once", live, LiveSink(worker))
    op.output("committed", settled, CommittedSink(worker))
    return flow


class WatchedWorker(Worker):
    """A worker that notes when it last asked for input, so that somebody else can tell whether it turns.

    It resumes no earlier than where a person said that what lies before is lost.
    """

    def __init__(self, settings: FlowSettings, losses: Mapping[int, int]) -> None:
        super().__init__(settings.kafka, topic=settings.topic, group=settings.group)
        self.merge = settled_records
        self.turned = 0.0
        self.records = 0
        self._losses = losses

    def add(self, partition: int, resume: int | None) -> None:
        """As `Worker.add`."""
        super().add(partition, None if resume is None else max(resume, self._losses.get(partition, 0)))

    def fence(self) -> None:
        """Start the transactions of all shards side by side: one after the other they would take half a second each."""
        with ThreadPoolExecutor(len(SHARDS)) as threads:
            list(threads.map(self.transactions, range(len(SHARDS))))

    def take(self, partition: int) -> list[Frames]:
        """As `Worker.take`."""
        taken = super().take(partition)
        self.turned = time.monotonic()
        self.records += sum(map(len, taken))
        return taken

    def why_not_ready(self) -> str:
        """ "" while records are asked for, else why not."""
        if not self.turned:
            return "not reading yet"
        still = time.monotonic() - self.turned
        return f"no turn for {still:.0f} s" if still > STALL_SECS else ""


def run(settings: FlowSettings) -> None:
    """Run until SIGTERM: then sources stop, windows keep their state, and a last snapshot and commit are made."""
    state = StateFolder(settings.state)
    worker = WatchedWorker(settings, state.accepted_losses())
    if settings.health_port:
        serve(settings.health_port, worker.why_not_ready, lambda: {"twinflow_flow_records_total": worker.records})
    fleet = load_fleet(settings.fleet, settings.types)
    log.info("kernels ready in %.1f s", warm_in_two(settings, list(fleet.types.values())))
    wait_for_topic(settings.kafka, settings.topic, len(SHARDS), stop=worker.drain)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.drain.set())
    with state.owned():
        worker.fence()
        run_main(
            build(fleet, worker, state),
            epoch_interval=timedelta(seconds=settings.epoch_secs),
            recovery_config=RecoveryConfig(state.prepare(), timedelta(0)),
        )


def main() -> int:
    """Entry of the process; the last line on stderr says why it ended, when it was not asked to."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    try:
        run(FlowSettings.from_environment("telemetry"))
    except (TwinflowError, RuntimeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        log.error("stopped: %s", cause)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
