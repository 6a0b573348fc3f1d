"""`twinflow backtest`: files through the telemetry core, tables out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from flows.backtest import backtest, hash_tables, read_inputs, warm, write
from infra.errors import CannotStart, UsageFault
from operators.definition_yaml import load


def run_backtest(inputs: list[Path], definition: Path, output: Path, *, as_json: bool) -> int:
    """Run and write; prints what came out.

    Raises:
        UsageFault: no input, or one that is not there.
        DefinitionError: the twin type does not hold together.
        CannotStart: the output folder cannot be written.
    """
    if not inputs:
        raise UsageFault(what="backtest", why="no input was named", fix="add --input FILE")
    for path in inputs:
        if not path.is_file():
            raise UsageFault(what=f"--input {path}", why="there is no such file", fix="name an existing file")
    twin = load(definition)
    warmed = warm(twin)
    result = backtest(read_inputs(inputs), twin)
    try:
        paths = write(result, output)
    except OSError as error:
        fix = "name a folder that can be written and has room"
        raise CannotStart(what=f"--output {output}", why=error.strerror or str(error), fix=fix) from error
    report = {
        "twin_type": twin.name,
        "version": twin.version,
        "warm_up_seconds": round(warmed, 3),
        "seconds": round(result.seconds, 3),
        "samples_per_sec": round(result.samples_per_sec),
        "tables": {name: {"rows": table.num_rows, "path": str(paths[name])} for name, table in result.tables.items()},
        "hashes": hash_tables(result.tables),
        "alerts": len(result.alerts),
        "ledger": result.ledger.to_dict(),
    }
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _said(report, result.ledger.balance, output))
    return 0 if result.ledger.balance == 0 else 1


def _said(report: dict[str, object], balance: int, output: Path) -> list[str]:
    tables, ledger = report["tables"], report["ledger"]
    assert isinstance(tables, dict)
    assert isinstance(ledger, dict)
    counts = ", ".join(f"{n} {name}" for name, n in ledger["records"].items() if n)
    lines = [f"{ledger['records_in']:>12,} records: {counts}; {'balanced' if balance == 0 else f'{balance} missing'}"]
    lines += [f"{t['rows']:>12,} {name.replace('_', ' ')}" for name, t in tables.items()]
    lines.append(f"{report['samples_per_sec']:>12,} samples/s, tables in {output}")
    return lines
