"""`twinflow bench backtest`: a generated recording through `twinflow backtest`, its tables against offline oracles."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from flows.backtest import Result, backtest, hash_tables, read_inputs
from operators.definition_yaml import load, loads
from operators.types import F64
from tests.bench import oracle
from tests.bench.generated import PROBE, Recording, generate, write


def compare(result: Result, recording: Recording) -> dict[str, object]:
    """Counts and the largest deviation from the oracles; AssertionError where windows or rows differ."""
    samples = oracle.frame(recording)
    windows = pl.from_arrow(result.tables["windows"])
    rows = pl.from_arrow(result.tables["rows"])
    assert isinstance(windows, pl.DataFrame)
    assert isinstance(rows, pl.DataFrame)
    expect = oracle.windows(samples)
    keys = ["device", "signal", "window_start_ns"]
    windows = windows.sort(keys)
    assert windows.select([*keys, "count", "min", "max"]).equals(expect.select([*keys, "count", "min", "max"]))
    assert windows["is_final"].all()
    deviations = {
        f"windows.{name}": _deviation(windows[name].to_numpy(), expect[name].to_numpy()) for name in ("mean", "sd")
    }
    truth = oracle.rows(samples, loads(PROBE))
    exact = ["device", "ts_ns", "skew_ns", "degraded"]
    assert rows.select(exact).equals(truth.select(exact))
    for name in ("a", "b"):
        assert rows[name].is_null().equals(truth[name].is_null())
        deviations[f"rows.{name}"] = _deviation(rows[name].drop_nulls().to_numpy(), truth[name].drop_nulls().to_numpy())
    assert max(deviations.values()) <= 1e-9, deviations
    assert result.ledger.records.rejected == int(recording.bad.sum())
    assert result.ledger.balance == 0
    return {"windows": windows.height, "rows": rows.height, "largest_deviation": deviations}


def _deviation(ours: F64, theirs: F64) -> float:
    return float(np.max(np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs)), initial=0.0))


def main(argv: list[str]) -> int:
    """Run, compare, print; exit 1 when a table differs from its oracle."""
    parser = argparse.ArgumentParser(prog="twinflow bench backtest", description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    recording = generate(options.samples)
    with tempfile.TemporaryDirectory() as folder:
        data, definition = write(recording, Path(folder))
        twin = load(definition)
        backtest(read_inputs([data]), twin)  # compiles the kernels
        result = backtest(read_inputs([data]), twin)
    try:
        found = compare(result, recording)
    except AssertionError as wrong:
        sys.stderr.write(f"bench backtest: a table differs from its oracle: {wrong}\n")
        return 1
    report = {
        "samples": len(recording),
        "malformed": int(recording.bad.sum()),
        "samples_per_sec": round(result.samples_per_sec),
        **found,
        "hashes": hash_tables(result.tables),
        "ledger": result.ledger.to_dict(),
    }
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
