"""One life of a telemetry process in the simulator: real worker, shard, state log, delivery; a virtual broker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

from connectors.commit_pool import CommitPool
from connectors.kafka_commit import CommitError, Record, Settled, ShardTransactions, Source
from flows.publish import settled_records
from flows.settings import FlowSettings
from flows.shard_states import offset_of
from flows.state_folder import StateFolder
from flows.telemetry import ShardLogic, TelemetryWorker
from operators.definition import Fleet
from operators.frames import Frames
from operators.meter import Meter
from operators.types import State
from tests.chaos.sim_broker import TOPIC, Dice, Link, SimBroker


class SimClock:
    """Stands in for the module `time`; it only moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        self.now += 0.01
        return self.now

    def perf_counter_ns(self) -> int:
        """Nanoseconds; what lies between two readings takes none."""
        return int(self.now * 1e9)

    thread_time_ns = monotonic_ns = perf_counter_ns


class SimTransactions(ShardTransactions):
    """What is dropped, gathered and committed at which offset is decided by the real code; the broker is virtual."""

    def __init__(self, link: Link) -> None:
        self._link, self._epoch = link, link.broker.begin_producer()
        self.shard, self.open, self.offsets = "00bg", False, {(TOPIC, 0): link.broker.offset}
        self._source, self._merge = (TOPIC, 0), settled_records
        self._parts, self._rows, self._end_offset = [], 0, -1
        self.settle = Meter()

    def send(self, records: Iterable[Record]) -> None:
        self.open = True
        told = list(records)
        self._link.call("write", lambda: self._link.broker.write(self._epoch, told))

    def commit_at(self, offsets: Mapping[Source, int]) -> None:
        [offset] = offsets.values()
        self._link.call("commit", lambda: self._link.broker.commit(self._epoch, offset))
        self.open = False
        self.offsets |= offsets


class Later(Future[None]):
    """A commit that the dice run, or whoever waits for it."""

    def __init__(self, job: Callable[[], None]) -> None:
        super().__init__()
        self._job = job

    def run(self) -> None:
        """As a thread would: only the end of the whole process leaves it."""
        try:
            self._job()
        except CommitError as error:
            self.set_exception(error)
        else:
            self.set_result(None)

    def result(self, timeout: float | None = None) -> None:
        if not self.done():
            self.run()
        super().result()


class SimThreads(Executor):
    """What was submitted and has not run."""

    def __init__(self) -> None:
        self.waiting: list[Later] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        later = Later(partial(fn, *args, **kwargs))
        self.waiting = [*(one for one in self.waiting if not one.done()), later]
        return later

    def run(self) -> None:
        """All of it."""
        for one in self.waiting:
            if not one.done():
                one.run()


class SimConsumer:
    """Fetches of seeded sizes."""

    def __init__(self, broker: SimBroker, dice: Dice, offset: int) -> None:
        self._broker, self._dice, self._offset = broker, dice, offset

    def poll(self, timeout_ms: int) -> list[Frames]:
        """At most one fetch."""
        frames = self._broker.fetch(self._offset, self._dice.random.randint(1, 12))
        if frames is None:
            return []
        self._offset = frames.end_offset
        return [frames]


class SimWorker(TelemetryWorker):
    """The worker with everything that would open a connection replaced."""

    transactions_class = SimTransactions

    def __init__(self, folder: Path, fleet: Fleet, broker: SimBroker, dice: Dice) -> None:
        super().__init__(FlowSettings("", folder, processes=12), StateFolder(folder), fleet)
        self.transactional = True
        self.broker, self.dice, self.link = broker, dice, Link(broker, dice)
        self.threads = SimThreads()

    def fence(self, partitions: Collection[int]) -> None:
        for p in partitions:
            self.transactions(p)

    def transactions(self, partition: int) -> ShardTransactions:
        made = self._transactions.get(partition)
        if made is None:
            made = self.transactions_class(self.link)
            self._transactions[partition] = made
            self.committed[partition] = made.committed
        return made

    def _start(self) -> None:
        self._starts = self._start_offsets()
        consumer: Any = SimConsumer(self.broker, self.dice, self._starts[0])
        self._consumer = consumer


class Process:
    """From start to death. Every method may raise Crash, or CommitError where the process ends itself.

    Attributes:
        folder: its state. torn: the newest state log, its bytes before and after the last append.
        logged: the states that were appended, by the offset at which they stand.
    """

    worker_class = SimWorker

    def __init__(self, folder: Path, fleet: Fleet, broker: SimBroker, dice: Dice) -> None:
        self.folder, self.broker, self.dice = folder, broker, dice
        self.torn: tuple[Path, int, int] | None = None
        self.logged: dict[int, State] = {}
        self.worker = self.worker_class(folder, fleet, broker, dice)
        dice.point("start")
        self.worker.prepare()
        self.kept = self.worker.kept[0]
        dice.note("start", "committed", broker.offset, "state", self.kept.resume)
        assert (self.kept.resume or 0) <= (broker.offset or 0), "the state is ahead of what was delivered"
        self.worker.add(0, None)
        self.logic = ShardLogic(self.worker)
        self.pool = CommitPool(self._mark, executor=self.worker.threads)
        self.unsent: list[Record] = []
        self.arrived = 0
        self.taken = False

    def turn(self) -> bool:
        """Fetch and work through once; whether there was anything. Commits go on meanwhile, or not yet."""
        if self.dice.random.random() < 0.5:
            self.worker.threads.run()
        fetched = self.worker.take(0)
        if not fetched:
            return False
        for live, settled in self.logic.on_batch(fetched)[0]:
            assert settled is not None
            self.taken = True
            self.dice.note("worked", settled.end_offset)
            self.dice.point("worked")
            self._send_live(live)
            self._write(settled)
        return True

    def _write(self, settled: Settled) -> None:
        self.pool.write(self.worker.transactions(0), settled)

    def _send_live(self, records: list[Record]) -> None:
        """On their way; they arrive at once or at the latest when they are waited for."""
        self.unsent += records
        if self.dice.random.random() < 0.5:
            self._flush()

    def _flush(self, mark: int | None = None) -> None:
        """What was sent before the mark arrives, or all."""
        count = len(self.unsent) if mark is None else max(mark - self.arrived, 0)
        sent, self.unsent = self.unsent[:count], self.unsent[count:]
        self.arrived += len(sent)
        self.broker.live += sent

    def _mark(self) -> Callable[[], None]:
        return partial(self._flush, self.arrived + len(self.unsent))

    def end_epoch(self) -> None:
        """Log the state, then commit in the background, once the live path has arrived: in this order."""
        if not self.taken:
            self.worker.threads.run()
            return
        self.append()
        self.dice.point("appended")
        self.commit()

    def commit(self) -> None:
        """Begin to commit what is open, once the last commit is through."""
        self.pool.commit(self.worker.transactions(0))

    def append(self) -> None:
        """Append the state; what a power cut may take of it is noted."""
        before = _sizes(self.folder)
        self.logic.snapshot()
        path, size = max(_sizes(self.folder).items(), key=lambda item: int(item[0].name.rsplit(".", 2)[1]))
        self.torn = (path, before.get(path, 0), size)
        state = self.kept.core.snapshot()
        self.logged[offset_of(state)] = state
        self.dice.note("append", size)

    def close(self) -> None:
        """The system closes its files."""
        self.kept._log.close()


def _sizes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in (folder / "shards").glob("00bg.*.log")}


def after_power_cut(process: Process, dice: Dice) -> None:
    """The disk lost the last append, or a part of it; what is left of it may be zeros or garbage."""
    if process.torn is None or not process.torn[0].exists():
        return
    path, before, after = process.torn
    kind, keep = dice.random.choice(("cut", "zeros", "garbage")), dice.random.randint(before, after)
    data = bytearray(path.read_bytes())
    lost = len(data) - keep
    data[keep:] = {"cut": b"", "zeros": bytes(lost), "garbage": dice.random.randbytes(lost)}[kind]
    path.write_bytes(data)
    dice.note("power cut", kind, keep, "of", after)


def copied(folder: Path, to: Path) -> Path:
    """A copy of a state folder, in place of what was there."""
    shutil.rmtree(to, ignore_errors=True)
    if folder.exists():
        shutil.copytree(folder, to)
    return to
