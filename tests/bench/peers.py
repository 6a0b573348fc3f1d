"""`twinflow bench peers`: the reference job by naive Bytewax, Kafka Streams, Flink in Java, Rust by hand and by us.

Every round runs each of them once over the same topic, on the same broker, one after the other. Rates and memory are
taken at `--n` messages, CPU per million at `--long-n`, where start-up weighs less. Our windows, rows and anomalies must
equal the offline truth in every round; what the others deviate is printed. A job that cannot be had here is printed as
absent. `--folder` keeps everything, so that `--steps 1` can do one run at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.collect import collect
from tests.bench import flow_run, ratios
from tests.bench.core import REFERENCE, prepared, warm_up
from tests.bench.job_run import ALWAYS, MORE, run_job
from tests.bench.jobs import Absent, hashes
from tests.bench.jvm import versions
from tests.bench.plot import svg
from tests.bench.stage import Stage
from tests.bench.truth import Deviation, Truth, compare
from tests.bench.usage import machine

OURS = ratios.OURS
LONG = (OURS, "flink_java", "rust_hand")
Row = dict[str, Any]


def schedule(jobs: Sequence[str], n: int, rounds: int, long_n: int, long_rounds: int) -> list[tuple[int, int, str]]:
    """(messages, round, job) in the order they run.

    >>> schedule(["twinflow", "flink_java"], 10, 2, 30, 1)[1:4]
    [(10, 1, 'flink_java'), (10, 2, 'twinflow'), (10, 2, 'flink_java')]
    """
    short = [(n, number, job) for number in range(1, rounds + 1) for job in jobs]
    return short + [(long_n, k, job) for k in range(1, long_rounds + 1) for job in LONG if job in jobs]


def ours(stage: Stage, topic: str, n: int, true: Truth) -> Row:
    """One run of ours, its results compared with the truth."""
    with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
        done = flow_run.run(stage, topic, n, Path(folder))
        tables = collect(stage.bootstrap, flow_run.TYPE, since_ns=done.began_ns)
        equal = compare(tables, true, REFERENCE, closed=False)
    return {**asdict(done), "per_s": done.per_s, "cpu_s_per_million": done.cpu_s_per_million, "equal_to_offline": equal}


def step(stage: Stage, n: int, job: str) -> Row:
    """One run of one job, as a row of figures; absent jobs say why."""
    topic, true = prepared(stage, n, check=True)
    assert true is not None
    if job == OURS:
        warm_up(stage)
        return ours(stage, topic, n, true)
    try:
        return run_job(stage, job, topic, n, true)
    except Absent as why:
        return {"absent": str(why)}


def main(argv: list[str]) -> int:
    """Run what is still to run, print; exit 1 when our results differ from the truth."""
    parser = argparse.ArgumentParser(prog="twinflow bench peers", description=__doc__)
    parser.add_argument("--n", type=int, default=2_000_000, help="messages")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long-n", type=int, default=6_000_000, help="messages of the rounds for CPU per million")
    parser.add_argument("--long-rounds", type=int, default=1)
    parser.add_argument("--only", help=f"some of {', '.join((OURS, *ALWAYS, *MORE))}")
    parser.add_argument("--all", action="store_true", help=f"also {', '.join(MORE)}, where their packages install")
    parser.add_argument("--folder", type=Path, help="keeps broker, messages and rows; else a temporary one")
    parser.add_argument("--steps", type=int, help="at most so many runs now, with --folder; the rest next time")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="the figures as a picture too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    jobs = options.only.split(",") if options.only else [OURS, *ALWAYS, *(MORE if options.all else ())]
    if unknown := set(jobs) - {OURS, *ALWAYS, *MORE}:
        parser.error(f"no such job: {', '.join(sorted(unknown))}")
    plan = schedule(jobs, options.n, options.rounds, options.long_n, options.long_rounds)
    with ExitStack() as held:
        folder = options.folder or Path(held.enter_context(tempfile.TemporaryDirectory()))
        kept = folder / "peers.json"
        rows: list[Row] = json.loads(kept.read_text()) if kept.exists() else []
        done = {(row["n"], row["round"], row["job"]) for row in rows}
        todo = [one for one in plan if one not in done][: options.steps]
        stage = held.enter_context(Stage(folder))
        for n, number, job in todo:
            try:
                row = {"job": job, "round": number, "n": n, **step(stage, n, job)}
            except Deviation as wrong:
                _say(f"not equal to the offline truth: {wrong}")
                return 1
            rows.append(row)
            kept.write_text(json.dumps(rows, indent=1))
            _say(_line(row))
    report = {
        **ratios.of(rows, options.n, options.long_n),
        "complete": len(rows) >= len(plan),
        "rounds": rows,
        "versions": versions(),
        "machine": machine(),
        "baselines": hashes(),
    }
    if options.plot and any("per_s" in row for row in rows):
        options.plot.write_text(svg(report))
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 0


def _line(row: Row) -> str:
    name = f"round {row['round']}, {row['n']:,} messages, {row['job']}"
    if "per_s" not in row:
        return f"{name}: {row.get('absent') or row.get('failed')}"
    return f"{name}: {row['per_s']:,.0f}/s, {row['cpu_s_per_million']:.2f} CPU s per million, load {row['load']:.1f}"


def _say(words: str) -> None:
    sys.stderr.write(f"bench peers: {words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
