"""`twinflow bench core`: the reference job through flows/telemetry; every result against the offline truth.

N JSON messages of 1,000 robots (tests/bench/baselines/common.py) lie in a topic of the embedded broker. The flow, as
the supervisor starts it, with exactly-once commits each second and its state on disk, works them off from nothing:
decode, dead letters, 1 s windows, EWMA z, 10 Hz align, twin states, readings, all into Kafka. Parts (`--only`):
flow: the above. two: one and two processes in turns. packed: blocks of 100 samples instead of JSON. small: a backlog of
1, 10 and 1,000 messages per record batch, from the broker to columns. cores: single cores, without a broker.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from flows.collect import collect
from operators.definition_yaml import load
from tests.bench import cores, flow_run, packed_blocks, small_batches
from tests.bench.flow_run import FlowRun
from tests.bench.jobs import hashes
from tests.bench.stage import Stage
from tests.bench.truth import Deviation, Truth, compare, truth
from tests.bench.usage import machine

REFERENCE = load(flow_run.TYPES / "reference.yaml")
FAR_NS = 3600 * 10**9
WARM_UP = 20_000
PARTS = ("flow", "two", "packed", "small", "cores")


def close_and_compare(stage: Stage, topic: str, run: FlowRun, data: Path, true: Truth) -> dict[str, object]:
    """Ticks of an hour later close what is open; the flow, started again over its state, must now have told it all."""
    newest = max(true.newest["newest"].to_list())
    stage.tick(topic, newest + FAR_NS)
    flow_run.resume(stage, topic, stage.count(topic), data)
    tables = collect(stage.bootstrap, flow_run.TYPE, since_ns=run.began_ns)
    return compare(tables, true, REFERENCE, closed=True)


def prepared(stage: Stage, n: int, *, check: bool) -> tuple[str, Truth | None]:
    """The topic with its messages, and the truth; both kept in the folder of the stage."""
    topic = f"in-{n}"
    kept = stage.folder / f"truth-{n}"
    if stage.load(topic, n):
        shutil.rmtree(kept, ignore_errors=True)
    true = Truth.saved(kept) if check else None
    if check and true is None:
        true = truth(stage, topic, n, REFERENCE)
        true.save(kept)
    return topic, true


def warm_up(stage: Stage) -> None:
    """A short run that compiles the kernels, where the cache lacks them."""
    with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
        stage.load("in-warm", WARM_UP)
        flow_run.run(stage, "in-warm", WARM_UP, Path(folder))


def reference(stage: Stage, n: int, rounds: int, *, check: bool) -> dict[str, object]:
    """Run `rounds` times, compare each run, then close the last one and compare the whole."""
    topic, true = prepared(stage, n, check=check)
    warm_up(stage)
    runs: list[FlowRun] = []
    found: dict[str, object] = {}
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
            run = flow_run.run(stage, topic, n, Path(folder))
            runs.append(run)
            _say(f"round {number}: {run.per_s:,.0f} messages/s, {run.cpu_s_per_million:.2f} CPU s per million")
            if true is not None:
                compare(collect(stage.bootstrap, flow_run.TYPE, since_ns=run.began_ns), true, REFERENCE, closed=False)
                if number == rounds:
                    found = close_and_compare(stage, topic, run, Path(folder), true)
    return {
        "n": n,
        "json_messages_per_s": round(statistics.median(r.per_s for r in runs)),
        "cpu_s_per_million": round(statistics.median(r.cpu_s_per_million for r in runs), 3),
        "rss_mb": round(max(r.rss_mb for r in runs)),
        "equal_to_offline": found or "not compared",
        "rounds": [_rounded(run) for run in runs],
    }


def two_processes(stage: Stage, n: int, rounds: int) -> dict[str, object]:
    """One process and two in turns over the same topic; the share of the machine that the broker took meanwhile."""
    topic, _ = prepared(stage, n, check=False)
    warm_up(stage)
    pairs: list[list[FlowRun]] = []
    for _ in range(rounds):
        pair = []
        for count in (1, 2):
            with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
                pair.append(flow_run.run(stage, topic, n, Path(folder), processes=count))
        pairs.append(pair)
    ratios = [two.per_s / one.per_s for one, two in pairs]
    machine_cores = len(os.sched_getaffinity(0))
    return {
        "two_process_ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "broker_cpu_share": [round(run.broker_cpu_s / run.wall_s / machine_cores, 2) for pair in pairs for run in pair],
        "rounds": [[_rounded(run) for run in pair] for pair in pairs],
    }


def measure(stage: Stage, options: argparse.Namespace) -> dict[str, object]:
    """The parts that were asked for, each under its own key; the figures of `flow` at the top."""
    found: dict[str, object] = {}
    parts = options.only.split(",")
    if "flow" in parts:
        found |= reference(stage, options.n, options.rounds, check=not options.no_check)
    if "cores" in parts:
        found["cores"] = cores.measure(REFERENCE, options.n // 5)
    if "small" in parts:
        small = small_batches.measure(stage, options.n // 20)
        found |= {"small_batch_ratio": small.pop("small_batch_ratio"), "small_batches": small}
    if "packed" in parts:
        packed = packed_blocks.measure(stage, options.n // 20)
        found |= {"packed_samples_per_s": packed.pop("packed_samples_per_s"), "packed": packed}
    if "two" in parts:
        two = two_processes(stage, options.n, options.rounds)
        found |= {"two_process_ratio": two.pop("two_process_ratio"), "two_processes": two}
    return found


def _rounded(run: FlowRun) -> dict[str, float]:
    figures = {name: round(value, 3) for name, value in asdict(run).items()}
    return {**figures, "per_s": round(run.per_s), "cpu_s_per_million": round(run.cpu_s_per_million, 3)}


def _say(words: str) -> None:
    sys.stderr.write(f"bench core: {words}\n")
    sys.stderr.flush()


def main(argv: list[str]) -> int:
    """Run, compare, print; exit 1 when a table differs from the truth."""
    parser = argparse.ArgumentParser(prog="twinflow bench core", description=__doc__)
    parser.add_argument("--n", type=int, default=2_000_000, help="messages")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--no-check", action="store_true", help="figures alone: no truth, no comparison")
    parser.add_argument("--folder", type=Path, help="keeps broker and messages for the next run; else a temporary one")
    parser.add_argument("--prepare", action="store_true", help="only fill the folder, for timed runs that follow")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    started = time.monotonic()
    with ExitStack() as held:
        folder = options.folder or Path(held.enter_context(tempfile.TemporaryDirectory()))
        stage = held.enter_context(Stage(folder))
        facts = machine()
        if options.prepare:
            prepared(stage, options.n, check=not options.no_check)
            warm_up(stage)
            return 0
        try:
            found = measure(stage, options)
        except Deviation as wrong:
            _say(f"not equal to the offline truth: {wrong}")
            return 1
    report = {**found, "machine": facts, "baselines": hashes(), "took_s": round(time.monotonic() - started, 1)}
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
