"""One run of flows/telemetry over a topic, started with the command and environment that the supervisor gives it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.shards import SHARDS
from infra import services
from infra.paths import Folders
from infra.settings import Settings
from tests.bench.stage import Stage
from tests.bench.usage import Usage, children_cpu, load
from tests.connectors.brokers import until

HERE = Path(__file__).parent
FLEET, TYPES = HERE / "reference" / "fleet.yaml", HERE / "reference" / "types"
TYPE = "reference"
GROUP = "telemetry"
LOOK_SECS = 0.02
START_SECS, DRAIN_SECS = 120.0, 60.0
READY = b"kernels ready"
"""What the log of the flow says right before it begins to read."""


@dataclass
class FlowRun:
    """What one run cost.

    Attributes:
        n: messages of the topic.
        began_ns: before the first process started, ns UTC.
        start_s: from there until the last process was about to read.
        wall_s: from there until the offsets of all messages were committed, results with them.
        steady_per_s: messages a second from the first commit to the last; 0 where there was one only.
        cpu_s: CPU of the whole life of all processes, start and drain included.
        cpu_reading_s: CPU during `wall_s`.
        broker_cpu_s: CPU of the broker during `wall_s`.
        rss_mb: largest resident memory of all processes together.
        load: of the machine after the run.
    """

    n: int
    began_ns: int
    start_s: float = 0.0
    wall_s: float = 0.0
    steady_per_s: float = 0.0
    cpu_s: float = 0.0
    cpu_reading_s: float = 0.0
    broker_cpu_s: float = 0.0
    rss_mb: float = 0.0
    load: float = 0.0

    @property
    def per_s(self) -> float:
        """Messages a second."""
        return self.n / self.wall_s

    @property
    def cpu_s_per_million(self) -> float:
        return self.cpu_s / self.n * 1e6


@dataclass
class Flow:
    """The processes of telemetry and what they log."""

    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)

    def told(self, word: bytes) -> bool:
        """All logs hold the word.

        Raises:
            AssertionError: a process has ended.
        """
        self.check()
        return all(word in log.read_bytes() for log in self.logs)

    def check(self) -> None:
        """All still run."""
        for process, log in zip(self.processes, self.logs, strict=True):
            assert process.poll() is None, f"telemetry ended: {log.read_text()[-2000:]}"

    def drain(self) -> None:
        """Stop as `down` does."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process, log in zip(self.processes, self.logs, strict=True):
            assert process.wait(DRAIN_SECS) == 0, log.read_text()[-2000:]


@contextmanager
def flow(
    stage: Stage, topic: str, data: Path, *, processes: int = 1, fleet: Path = FLEET, types: Path = TYPES
) -> Iterator[Flow]:
    """Telemetry over a topic with its state in `data`; killed at the end if it still runs."""
    flags = [f"kafka={stage.bootstrap}", f"fleet={fleet}", f"types={types}", f"telemetry_processes={processes}"]
    folders = Folders(data, Folders.of().cache)
    folders.create()
    stack = services.Stack(Settings.load(environ={}, flags=flags), folders)
    services.kafka(stack)
    services.telemetry(stack)
    running = Flow()
    try:
        for service in stack.services:
            log = folders.logs / f"{service.name}.log"
            environment = {**os.environ, **service.env, "TWINFLOW_SAMPLES_TOPIC": topic}
            with log.open("wb") as out:
                started = subprocess.Popen(
                    list(service.argv()), env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
            running.processes.append(started)
            running.logs.append(log)
        yield running
    finally:
        for process in running.processes:
            process.kill()
            process.wait()


class Commits:
    """What the flow has committed of a topic, in total."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "log_level": 0})
        self._places = [TopicPartition(topic, p) for p in range(len(SHARDS))]
        self._seen = 0

    def total(self) -> int:
        """Messages, all partitions together; while the broker looks for the coordinator of the group, as before."""
        with suppress(KafkaException):
            self._seen = sum(max(p.offset, 0) for p in self._consumer.committed(self._places, timeout=20))
        return self._seen

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def run(stage: Stage, topic: str, n: int, data: Path, *, processes: int = 1, limit_s: float = 300) -> FlowRun:
    """Work off all n messages from nothing: no state, no offsets.

    Raises:
        AssertionError: the flow ended, or did not come to the end in `limit_s`.
    """
    stage.forget_group(GROUP)
    done, ended_before, began = FlowRun(n, time.time_ns()), children_cpu(), time.monotonic()
    commits = Commits(stage.bootstrap, topic)
    with flow(stage, topic, data, processes=processes) as telemetry:
        try:
            with Usage([p.pid for p in telemetry.processes]) as usage:
                until(lambda: telemetry.told(READY), "a flow that is ready to read", START_SECS)
                reading, cpu, broker = time.monotonic(), usage.cpu(), stage.broker_cpu()
                seen = _follow(commits, telemetry, n, limit_s)
                done.cpu_reading_s, done.broker_cpu_s = usage.cpu() - cpu, stage.broker_cpu() - broker
                telemetry.drain()
                done.rss_mb = usage.peak_mb
        finally:
            commits.close()
    done.start_s, done.wall_s = reading - began, seen[-1][0] - reading
    done.cpu_s, done.load = children_cpu() - ended_before, load()
    (first, before), (last, _) = seen[0], seen[-1]
    done.steady_per_s = (n - before) / (last - first) if last > first else 0.0
    return done


def resume(stage: Stage, topic: str, total: int, data: Path, *, limit_s: float = 120) -> None:
    """Start again over the state of an earlier run, and work off what came since, up to `total` records."""
    commits = Commits(stage.bootstrap, topic)
    try:
        with flow(stage, topic, data) as telemetry:
            _follow(commits, telemetry, total, limit_s)
            telemetry.drain()
    finally:
        commits.close()


def _follow(commits: Commits, telemetry: Flow, total: int, limit_s: float) -> Sequence[tuple[float, int]]:
    """When which offset was first seen committed, from the first one to the end."""
    seen: list[tuple[float, int]] = []
    end = time.monotonic() + limit_s
    while not seen or seen[-1][1] < total:
        telemetry.check()
        at, committed = time.monotonic(), commits.total()
        if committed and (not seen or committed > seen[-1][1]):
            seen.append((at, committed))
        assert at < end, f"not in {limit_s:g} s: {committed} of {total} messages committed"
        time.sleep(LOOK_SECS)
    return seen
