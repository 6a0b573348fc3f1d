"""`twinflow bench state`: what the state of many devices costs: memory, a snapshot, a restart.

The cores of all twelve shards in this process, without Kafka, each with its log in a folder. A snapshot is what
telemetry does at the end of an epoch for all shards, one after the other: the state of a tenth of the devices, then of
all, has changed. The disk is waited for apart (`disk_ms`), as telemetry does. A restart reads the logs back and fills
new cores.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from connectors.shards import SHARDS
from flows.checkpoints import Checkpoints
from flows.shard_states import KeptShard
from operators.definition import TwinType
from operators.definition_yaml import loads
from operators.frames import Frames
from tests.bench.devices import SIGNALS, START_S, TYPE, messages, of_shard

FETCH = 5_000
ROUNDS = 15


class Fleet:
    """Twelve shards with logs in a folder."""

    def __init__(self, folder: Path, twin: TwinType, offsets: list[int] | None = None) -> None:
        type_of: Callable[[str], TwinType | None] = lambda _name: twin  # noqa: E731
        self.offsets = offsets or [0] * len(SHARDS)
        self.kept = [
            KeptShard(
                type_of,
                folder,
                p,
                self.offsets[p],
                checkpoints=Checkpoints(folder / "checkpoints", SHARDS[p]),
                definitions="0" * 64,
            )
            for p in range(len(SHARDS))
        ]

    def feed(self, devices: int, second: int, every: int = 1) -> None:
        """One message of every so-manieth device of each shard."""
        for p, kept in enumerate(self.kept):
            chosen = of_shard(p, devices)[::every]
            for at in range(0, len(chosen), FETCH):
                values = messages(chosen[at : at + FETCH], second)
                frames = Frames.of(values, arrival=(START_S + second) * 10**9, first_offset=self.offsets[p])
                kept.core.push(frames)
                self.offsets[p] += len(values)

    def append_ms(self) -> float:
        """Milliseconds of a snapshot of all shards."""
        started = time.perf_counter()
        for kept in self.kept:
            kept.append()
        return 1e3 * (time.perf_counter() - started)


def snapshots(folder: Path, twin: TwinType, devices: int) -> dict[str, object]:
    """Milliseconds of a snapshot, median and worst of a few; of CPU too, which others on the machine blur less."""
    fleet = Fleet(folder, twin)
    for second in range(4):
        fleet.feed(devices, second)
    figures: dict[str, object] = {"image_ms": round(fleet.append_ms(), 1)}
    second = 4
    for name, every in (("tenth", 10), ("all", 1)):
        taken, cpu = [], []
        for _ in range(ROUNDS):
            fleet.feed(devices, second, every)
            second += 1
            before = time.thread_time()
            taken.append(fleet.append_ms())
            cpu.append(1e3 * (time.thread_time() - before))
        figures[f"{name}_changed_ms"] = round(statistics.median(taken), 1)
        figures[f"{name}_changed_worst_ms"] = round(max(taken), 1)
        figures[f"{name}_changed_cpu_ms"] = round(statistics.median(cpu), 1)
    return figures


def restart(folder: Path, twin: TwinType, devices: int) -> dict[str, object]:
    """Seconds to read the state of so many devices back, and the memory of both."""
    fleet = Fleet(folder, twin)
    for second in range(4):
        fleet.feed(devices, second)
    image_ms = fleet.append_ms()
    fleet.feed(devices, 4, every=10)
    tenth_ms = fleet.append_ms()
    state_mb = sum(column.nbytes for kept in fleet.kept for column in kept.core.view().values()) / 1e6
    peak_mb, rss_mb, offsets = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, _rss_mb(), fleet.offsets
    del fleet
    gc.collect()
    started = time.perf_counter()
    again = Fleet(folder, twin, offsets)
    secs = time.perf_counter() - started
    assert [kept.resume for kept in again.kept] == offsets
    return {
        "state_mb": round(state_mb, 1),
        "state_bytes_per_device": round(1e6 * state_mb / devices),
        "rss_mb": round(rss_mb),
        "peak_rss_mb": round(peak_mb),
        "image_ms": round(image_ms),
        "tenth_changed_ms": round(tenth_ms, 1),
        "log_mb": round(sum(path.stat().st_size for path in folder.glob("*.log")) / 1e6, 1),
        "restart_secs": round(secs, 2),
    }


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def in_folder(run: Callable[[Path], dict[str, object]]) -> dict[str, object]:
    """Run with a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="twinflow-bench-") as folder:
        return run(Path(folder))


def main(argv: list[str]) -> int:
    """Measure and print; exit 1 when an aim is missed."""
    parser = argparse.ArgumentParser(prog="twinflow bench state", description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000, help="of the restart (default 100,000)")
    parser.add_argument("--few", type=int, default=10_000, help="of the snapshot (default 10,000)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    twin = loads(TYPE)
    in_folder(lambda folder: restart(folder, twin, 120))  # compiles the kernels
    few = in_folder(lambda folder: snapshots(folder, twin, options.few))
    many = in_folder(lambda folder: restart(folder, twin, options.devices))
    report = {
        "bench": "state",
        "signals": SIGNALS,
        "shards": len(SHARDS),
        "load": round(os.getloadavg()[0], 1),
        "snapshot": {"devices": options.few, **few},
        "restart": {"devices": options.devices, **many},
        "reached": {
            "snapshot_20_ms": float(str(few["tenth_changed_ms"])) <= 20,
            "restart_2_s": float(str(many["restart_secs"])) <= 2,
            "rss_4_gb": float(str(many["peak_rss_mb"])) < 4000,
        },
    }
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
