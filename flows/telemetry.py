"""samples -> one core per shard (flows/shard.py: decode to anomalies) -> at once: live values, alerts, requests;
committed with their source offset: readings, windows, rows, anomalies, states, late, dead letters, ledger.

Run: `python -m flows.telemetry` with TWINFLOW_KAFKA and TWINFLOW_DATA set (`twinflow up` does).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import run_main
from prometheus_client.core import Metric

from connectors.health import serve
from connectors.kafka_commit import Record, Settled
from connectors.kafka_flow import CommittedSink, LiveSink, ShardSource, Worker
from connectors.kafka_wait import wait_for_topic
from connectors.shards import SHARDS
from connectors.stop_signal import set_on_signals
from flows.checkpoints import Checkpoints
from flows.clock_watch import end_when_the_clock_goes_back
from flows.definition_archive import DefinitionArchive
from flows.figures import Figures
from flows.lean import settle, without_pandas
from flows.live_values import HOLD_NS, LiveValues
from flows.publish import Fetch, StatePublisher, decided_records, settled_records
from flows.settings import FlowSettings
from flows.shard_states import KeptShard
from flows.state_folder import StateFolder
from flows.warm import Helpers
from operators.definition import Fleet
from operators.definition_yaml import load_fleet
from operators.errors import TwinflowError
from operators.frames import Frames
from operators.meter import Meter

Made: TypeAlias = tuple[list[Record], Settled | None]
STALL_SECS = 10.0

log = logging.getLogger("twinflow.telemetry")


class ShardLogic(StatefulBatchLogic[Frames, Made, None]):
    """One shard inside Bytewax. Bytewax does not tell a logic its key: it learns its shard from the first fetch."""

    def __init__(self, worker: TelemetryWorker) -> None:
        self._worker = worker
        self._states = StatePublisher()
        self._values = LiveValues()
        self._kept: KeptShard | None = None

    def on_batch(self, values: list[Frames]) -> tuple[list[Made], bool]:
        """What the shard makes of each fetch, with the offset it ends at."""
        return [self._one(frames) for frames in values], StatefulBatchLogic.RETAIN

    def _one(self, frames: Frames) -> Made:
        partition, shard = frames.partition, SHARDS[frames.partition]
        if self._kept is None:
            self._kept = self._worker.kept[partition]
        out = self._kept.push(frames)
        self._states.note(out)
        newest = int(frames.arrival.max(initial=0))
        since = time.perf_counter_ns()
        live = decided_records(out, shard=shard, partition=partition)
        self._values.note(out, time.monotonic_ns())
        if self._values.due(time.monotonic_ns()):
            live += self._values.records(shard=shard, partition=partition)
        self._worker.live.lap(since, sum(len(lane.readings) for lane in out.lanes), len(live))
        self._worker.backlogs[partition].note(frames.end_offset, newest)
        if frames.end_offset <= (self._worker.committed.get(partition) or 0):  # replayed to rebuild state
            return live, Settled(frames.end_offset)
        states = self._states.due(out, newest_arrival_ns=newest, shard=shard, partition=partition)
        return live, Settled(frames.end_offset, states, Fetch.of(out))

    def notify_at(self) -> datetime | None:
        """When values that wait for others go out without them."""
        if self._values.since_ns is None:
            return None
        wait = self._values.since_ns + HOLD_NS - time.monotonic_ns()
        return datetime.now(UTC) + timedelta(microseconds=max(wait, 0) // 1000)

    def on_notify(self) -> tuple[list[Made], bool]:
        """They have waited long enough."""
        return [(self._waiting(), None)], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[list[Made], bool]:
        """Nothing comes after."""
        return self.on_notify()

    def _waiting(self) -> list[Record]:
        assert self._kept is not None
        return self._values.records(shard=self._kept.name, partition=SHARDS.index(self._kept.name))

    def snapshot(self) -> None:
        """Log what changed; Bytewax itself keeps nothing. Values that wait go out: the commit waits for them."""
        assert self._kept is not None
        self._worker.at_once(self._waiting())
        self._worker.log_state(self._kept)


def build(worker: TelemetryWorker) -> Dataflow:
    """The dataflow; read it top-down."""
    flow = Dataflow("telemetry")

    fetched = op.input("samples", flow, ShardSource(worker))  # (shard, Frames)
    made = op.stateful_batch("shard", fetched, lambda _resume: ShardLogic(worker))
    live = op.map_value("live", made, lambda both: both[0])
    settled = op.filter_map_value("settled", made, lambda both: both[1])

    op.output("at-once", live, LiveSink(worker))
    op.output("committed", settled, CommittedSink(worker))
    return flow


class TelemetryWorker(Worker):
    """A worker whose shards have state, and which notes when it last asked for input: so somebody else can tell
    whether it turns. It resumes no earlier than where a person said that what lies before is lost."""

    def __init__(self, settings: FlowSettings, state: StateFolder, fleet: Fleet) -> None:
        super().__init__(settings.kafka, topic=settings.topic, group=settings.group, partitions=settings.partitions)
        self.merge = self._settled
        self.figures = Figures(self.shards)
        self.turned = 0.0
        self.state = Meter()
        self.kept: dict[int, KeptShard] = {}
        self._state, self._type_of, self._losses = state, fleet.type_of, state.accepted_losses()
        self._definitions = DefinitionArchive(settings.definitions).keep(fleet)

    def prepare(self) -> None:
        """Fence older copies, then load states."""
        self.fence(self.partitions)
        for p in self.partitions:
            self.kept[p] = KeptShard(
                self._type_of, self._state.shards, p, self.committed[p],
                checkpoints=Checkpoints(self._state.checkpoints, SHARDS[p]), definitions=self._definitions,
            )  # fmt: skip

    def add(self, partition: int, _resume: int | None) -> None:
        """As `Worker.add`, at the offset of the state."""
        resume = self.kept[partition].resume
        super().add(partition, None if resume is None else max(resume, self._losses.get(partition, 0)))

    def may_rebuild(self, partition: int) -> bool:
        """As `Worker.may_rebuild`: where a person gave the state up."""
        return self.kept[partition].given_up

    def take(self, partition: int) -> list[Frames]:
        """As `Worker.take`."""
        taken = super().take(partition)
        self.turned = time.monotonic()
        return taken

    def _settled(self, shard: str, partition: int, fetches: list[Fetch]) -> list[Record]:
        self.figures.shards[shard].settled(fetches)
        return settled_records(shard, partition, fetches)

    def log_state(self, kept: KeptShard) -> None:
        """Append the state of a shard to its log."""
        since = time.perf_counter_ns()
        state = kept.append()
        took = self.state.lap(since) - since
        self.figures.logged(kept.name, state, took)

    def stalled(self) -> str:
        """ "" while records are asked for, or nothing was asked for yet."""
        still = time.monotonic() - self.turned
        return f"no turn for {still:.0f} s" if self.turned and still > STALL_SECS else ""

    def why_not_ready(self) -> str:
        """ "" while records are asked for, else why not."""
        return self.stalled() if self.turned else "not reading yet"

    def oldest_age_secs(self) -> float:
        """Age of the oldest record that waits."""
        return max(self.ages_secs().values())

    def collect(self) -> Iterable[Metric]:
        """Figures of the process."""
        delivering, cores = self.steps(), [kept.core for kept in self.kept.values()]
        steps = {
            "fetch": delivering.pop("fetch"),
            "decode": Meter.total(core.decode for core in cores),
            "compute": Meter.total(core.compute for core in cores),
            **delivering,
            "state": self.state,
        }
        return self.figures.collect(steps, self.lags(), self.ages_secs(), self.transaction_times())


def run(settings: FlowSettings) -> None:
    """Run until SIGTERM: then sources stop, windows keep their state, and a last snapshot and commit are made."""
    state = StateFolder(settings.state)
    fleet = load_fleet(settings.fleet, settings.types)
    worker = TelemetryWorker(settings, state, fleet)
    if settings.health_port:
        serve(settings.health_port, worker)
    helpers = Helpers(settings)
    wait_for_topic(settings.kafka, settings.topic, len(SHARDS), stop=worker.drain)
    with state.owned(worker.shards):
        worker.prepare()
        log.info("kernels ready after another %.1f s", helpers.join(fleet.types.values()))
        set_on_signals(worker.drain)
        end_when_the_clock_goes_back()
        settle()
        run_main(build(worker), epoch_interval=timedelta(seconds=settings.epoch_secs))
        worker.finish()


def main() -> int:
    """Entry of the process; the last line on stderr says why it ended, when it was not asked to."""
    without_pandas()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    try:
        run(FlowSettings.from_environment("telemetry"))
    except (TwinflowError, RuntimeError, OSError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, TwinflowError):  # ours says what next
            cause = cause.__cause__
        log.error("stopped: %s", cause)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
