"""One run of somebody else's job over a topic: started as the kit starts it, measured as ours, compared as ours."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from tests.bench import jvm, rust, venvs
from tests.bench.jobs import BASELINES, environment
from tests.bench.stage import Stage
from tests.bench.truth import SIGNALS, Truth
from tests.bench.usage import Usage, children_cpu, load

JOB_SECS = 420.0
SECOND_NS, MS_NS = 10**9, 10**6
ALIGNED_TO_NS = 1_767_225_600 * SECOND_NS
"""2026-01-01: naive Bytewax numbers its windows from there."""


@dataclass(frozen=True)
class Job:
    """How to start a job, and what its windows are numbered in: start = origin + number * unit, ns."""

    command: Callable[[], list[str]]
    unit_ns: int = SECOND_NS
    origin_ns: int = 0


def _python(venv: str, script: str) -> Callable[[], list[str]]:
    return lambda: [venvs.python(venv), str(BASELINES / "jobs" / script)]


JOBS: dict[str, Job] = {
    "bytewax_naive_full": Job(_python("bytewax", "bytewax_naive_full.py"), origin_ns=ALIGNED_TO_NS),
    "kafka_streams": Job(lambda: jvm.command("kafka-streams", "KS.java"), unit_ns=MS_NS),
    "flink_java": Job(lambda: jvm.command("flink", "FlinkJ1a.java"), unit_ns=MS_NS),
    "rust_hand": Job(rust.command, unit_ns=MS_NS),
    "quix": Job(_python("quix", "quix.py"), unit_ns=MS_NS),
    "faust": Job(_python("faust", "faust_job.py")),
    "pathway": Job(_python("pathway", "pathway_job.py")),
    "pyflink": Job(_python("pyflink", "pyflink_job.py"), unit_ns=MS_NS),
}
ALWAYS = ("bytewax_naive_full", "kafka_streams", "flink_java", "rust_hand")
MORE = tuple(name for name in JOBS if name not in ALWAYS)


def run_job(stage: Stage, name: str, topic: str, n: int, true: Truth) -> dict[str, Any]:
    """Run a job once; `failed` instead of figures when it gave none.

    Raises:
        Absent: it cannot be had here.
    """
    command = JOBS[name].command()
    out = stage.output(name)
    given = environment(stage, topic, out, n)
    before, broker = children_cpu(), stage.broker_cpu()
    log = stage.folder / f"{name}.log"
    with log.open("w") as errors, tempfile.TemporaryDirectory(dir=stage.folder) as scratch:
        own = {"TMPDIR": scratch, "BENCH_TMP": scratch, "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={scratch}"}
        process = subprocess.Popen(
            command, env=os.environ | given | own, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=scratch
        )
        killer = threading.Timer(JOB_SECS, process.kill)
        killer.start()
        with Usage([process.pid]) as usage:
            assert process.stdout is not None
            told = [line for line in process.stdout if line.startswith("REPORT ")]
            broker_s = stage.broker_cpu() - broker
            process.wait()
        killer.cancel()
    cpu = children_cpu() - before
    found = json.loads(told[-1].removeprefix("REPORT ")) if told else {"n": 0}
    if not found["n"]:
        return {"failed": f"exit {process.returncode}: {log.read_text()[-300:]}"}
    wall = found["t_end"] - found["t_start"]
    counts = {key: found[key] for key in ("windows", "anoms", "aligned", "bad", "late") if key in found}
    row = {
        "wall_s": wall,
        "per_s": found["n"] / wall,
        "cpu_s": cpu,
        "cpu_s_per_million": cpu / found["n"] * 1e6,
        "broker_cpu_s": broker_s,
        "rss_mb": usage.peak_mb,
        "load": load(),
        **counts,
        "against_offline": deviations(stage.values(out), JOBS[name], true),
    }
    stage.delete(out)
    stage.delete_of(given["GROUP"])
    return row


def deviations(values: Iterable[bytes], job: Job, true: Truth) -> dict[str, dict[str, int]]:
    """Windows and anomalies of a job against the truth: right, wrong, missing, too many, told more than once."""
    lines: dict[bytes, list[bytes]] = {b'"win"': [], b'"anom"': []}
    for value in values:
        for mark, kept in lines.items():
            if mark in value:
                kept.append(value)
    windows = _read(lines[b'"win"'], {"w": pl.Int64, "n": pl.Float64, "mean": pl.Float64})
    windows = windows.with_columns(window_start_ns=pl.col("w") * job.unit_ns + job.origin_ns)
    anomalies = _read(lines[b'"anom"'], {"ts": pl.Int64, "z": pl.Float64})
    return {
        "windows": _against(
            windows, true.windows, ["device", "signal", "window_start_ns"], pl.col("n") == pl.col("count")
        ),
        "anomalies": _against(
            anomalies.rename({"ts": "ts_ns"}), true.anomalies, ["device", "signal", "ts_ns"], pl.lit(True)
        ),
    }


def _read(lines: list[bytes], columns: dict[str, Any]) -> pl.DataFrame:
    schema = {"device": pl.String, "sensor": pl.String, **columns}
    if not lines:
        return pl.DataFrame(schema=schema).with_columns(signal=pl.col("sensor"))
    frame = pl.read_ndjson(io.BytesIO(b"\n".join(lines)), schema=schema)
    return frame.with_columns(signal=pl.col("sensor").replace_strict(SIGNALS))


def _against(theirs: pl.DataFrame, true: pl.DataFrame, keys: list[str], right: pl.Expr) -> dict[str, int]:
    distinct = theirs.unique(keys, keep="last")
    both = distinct.join(true, on=keys, how="inner")
    agreeing = both.filter(right).height
    return {
        "right": agreeing,
        "wrong": both.height - agreeing,
        "missing": true.height - both.height,
        "too_many": distinct.height - both.height,
        "again": theirs.height - distinct.height,
    }
