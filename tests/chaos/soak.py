"""`twinflow chaos soak`: broker, telemetry, history and its writer under a steady feed for hours; memory, handles, disk
and lag are sampled and must be flat by a slope test (tests/chaos/slope.py)."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from connectors.clickhouse import ClickHouse
from infra.cli_ledger import Since, examine
from infra.migrate import migrate
from infra.supervisor.process import memory_mb
from tests.chaos.scenario import Figures, alone, parser, tell
from tests.chaos.slope import Trend, trend
from tests.flows.history_stream import authorised, ensure_result_topics, running_writer
from tests.flows.live_world import World
from tests.support_history import running_history

WARM = 0.3
"""Share of the run at its start that is not looked at: memory is filled, files are opened, kernels are loaded."""
LEAST_HOURS = 1.0
"""A shorter run is not judged: for a quarter of an hour heaps, pools of memory and parts of the history still grow."""
SAMPLES = 400
EVERY_SECS = (0.5, 30.0)
CUT_SECS = 30.0
RETAINED = ("*.log", "*.index", "*.timeindex", "*.txnindex", "*.snapshot")
"""What Kafka keeps of a partition: it grows until retention, as it should."""
PROCESSES = ("kafka", "telemetry", "history", "history-writer")
TOLERANCES = {"rss_mb": 0.03, "handles": 2.0, "disk_mb": 4.0, "lag": 100.0}
"""Growth per hour that is still flat; of memory as a share of its median."""


@dataclass
class Series:
    """Samples by name, at these times, s since the start."""

    seconds: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, at_secs: float, sample: Mapping[str, float]) -> None:
        """One of each."""
        self.seconds.append(at_secs)
        for name, value in sample.items():
            self.values.setdefault(name, []).append(value)

    def quarters(self, name: str) -> list[float]:
        """Medians of the four quarters of the run: whether what grows comes to rest."""
        parts = np.array_split(np.array(self.values[name]), 4)
        return [round(float(np.median(part)), 1) for part in parts if part.size]

    def trends(self) -> dict[str, Trend]:
        """Of each, without the warm start. A name is KIND or KIND of a process: `rss_mb/kafka`."""
        first = next((i for i, s in enumerate(self.seconds) if s >= WARM * self.seconds[-1]), 0)
        hours = [s / 3600 for s in self.seconds[first:]]
        found = {}
        for name, values in self.values.items():
            kind, later = name.partition("/")[0], sorted(values[first:])
            scale = later[len(later) // 2] if kind == "rss_mb" else 1.0
            found[name] = trend(hours, values[first:], TOLERANCES[kind] * scale)
        return found


def run(world: World, *, hours: float, seed: int) -> Figures:
    """Feed for so long, sample, judge; then every record must be accounted for."""
    series, failures = Series(), list[str]()
    every_secs = min(max(3600 * hours / SAMPLES, EVERY_SECS[0]), EVERY_SECS[1])
    ensure_result_topics(world.bootstrap)
    with ExitStack() as stack:
        history = stack.enter_context(running_history(world.folder / "history"))
        client = stack.enter_context(ClickHouse(authorised(history)))
        migrate(client)
        writer = stack.enter_context(running_writer(world.bootstrap, authorised(history), world.folder / "writer.log"))
        with world.flow() as flow:
            assert world.server.process is not None and writer.process is not None
            started_by = (world.server.process, flow, history.process, writer.process)
            running = dict(zip(PROCESSES, started_by, strict=True))
            with world.feed(9000 * seed):
                started = time.monotonic()
                while (now := time.monotonic() - started) < 3600 * hours and not failures:
                    pids = {name: process.pid for name, process in running.items()}
                    series.add(now, _of_processes(pids) | _of_world(world, client))
                    failures += [f"{name} ended" for name, process in running.items() if process.poll() is not None]
                    time.sleep(max(0.0, started + len(series.seconds) * every_secs - time.monotonic()))
            world.await_end(flow)
            world.drain(flow)
        total = examine(world.bootstrap, Since(), patience_secs=CUT_SECS)
    ledger = {"inputs": total.total.records_in, "ledger_balance": total.total.balance}
    lost = {"lost": world.acknowledged - total.total.records_in, "ledger_findings": len(total.findings)}
    return {"hours": hours, **ledger, **lost, "failures": failures, **judge(series, hours)}


def judge(series: Series, hours: float) -> Figures:
    """Whether all of it is flat; of a run shorter than LEAST_HOURS nothing is said."""
    trends = series.trends()
    judged = hours >= LEAST_HOURS and all(t.judged for t in trends.values())
    shown = {
        name: {k: round(getattr(t, k), 3) for k in ("median", "per_hour", "low", "high", "tolerance")}
        | {"quarters": series.quarters(name)}
        for name, t in trends.items()
    }
    growing = [name for name, t in trends.items() if not t.flat] if judged else []
    return {"samples": len(series.seconds), "judged": judged, "flat": not growing, "growing": growing, "trends": shown}


def _of_processes(pids: Mapping[str, int]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, pid in pids.items():
        found[f"rss_mb/{name}"] = memory_mb([pid])
        found[f"handles/{name}"] = psutil.Process(pid).num_fds()
    return found


def _of_world(world: World, client: ClickHouse) -> dict[str, float]:
    """Lag, and the disk less what is kept on purpose: records until retention, rows of the history, checkpoints."""
    ends = sum(world.ends().values())
    [(rows,)] = client.rows("SELECT sum(bytes_on_disk) FROM system.parts WHERE active")
    kept = sum(_bytes(path) for p in RETAINED for path in (world.folder / "kafka" / "log").glob(f"*/{p}"))
    kept += _tree(world.state.parent / "checkpoints") + int(rows)
    return {"lag": max(0, ends - world.done()), "disk_mb": (_tree(world.folder) - kept) / 1e6}


def _tree(folder: Path) -> int:
    return sum(_bytes(Path(at, name)) for at, _, names in os.walk(folder) for name in names)


def _bytes(path: Path) -> int:
    """Of a file on the disk; 0 for one that has gone meanwhile."""
    try:
        return path.stat().st_blocks * 512 if path.is_file() else 0
    except OSError:
        return 0


def main(argv: list[str]) -> int:
    """Run and tell."""
    options = parser("soak", __doc__, hours=1.0).parse_args(argv)
    return tell(options, lambda: alone(lambda world: run(world, hours=options.hours, seed=options.seed)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
