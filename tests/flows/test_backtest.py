"""Backtest: windows equal polars, rows equal an interpolation oracle, whatever the cuts; the ledger balances."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.backtest import KEYS, Result, backtest, hash_tables, read_inputs, write
from operators.definition import TwinType
from operators.definition_yaml import load, loads
from operators.frames import Frames
from tests.bench.backtest import compare
from tests.bench.generated import PROBE, Recording, generate, lines
from tests.bench.generated import write as write_recording

SMALL = """\
twin_type: small
version: 1
signals: {a: {unit: "1", rate_hz: 1}}
window: {length: 10s, hop: 10s, lateness: 5s, allowed_lateness: 20s}
"""


@pytest.fixture(scope="module")
def recording() -> Recording:
    return generate(60_000, devices=10)


@pytest.fixture(scope="module")
def probe() -> TwinType:
    return loads(PROBE)


@pytest.fixture(scope="module")
def result(recording: Recording, probe: TwinType) -> Result:
    return backtest([Frames.of(lines(recording))], probe)


def test_windows_equal_polars_and_rows_equal_the_interpolation_oracle(result: Result, recording: Recording) -> None:
    found = compare(result, recording)
    assert found["windows"] == result.tables["windows"].num_rows > 1000


def test_cutting_the_input_changes_no_table(result: Result, recording: Recording, probe: TwinType) -> None:
    text = lines(recording)

    def cut() -> Iterator[Frames]:
        at = 0
        for step in range(1, len(text)):
            yield Frames.of(text[at : at + step * 7], first_offset=at)
            at += step * 7
            if at >= len(text):
                return

    assert hash_tables(backtest(cut(), probe).tables) == hash_tables(result.tables)


def test_another_order_of_arrival_within_the_wait_gives_the_same_rows_and_counts(
    result: Result, recording: Recording, probe: TwinType
) -> None:
    text = lines(recording)
    order = sorted(range(len(text)), key=lambda i: (int(recording.ts[i]) // 50_000_000, i))
    other = backtest([Frames.of([text[i] for i in order])], probe)
    assert hash_tables(other.tables)["rows"] == hash_tables(result.tables)["rows"]
    for column in ("count", "min", "max"):
        assert other.tables["windows"][column].equals(result.tables["windows"][column])


def test_files_hold_the_tables_and_the_ledger(result: Result, tmp_path: Path) -> None:
    paths = write(result, tmp_path / "new" / "folder")
    assert set(paths) == {*KEYS, "ledger"} - {"named_windows"}  # this type names none
    assert {n: pq.read_table(paths[n]).num_rows for n in result.tables} == {
        n: t.num_rows for n, t in result.tables.items()
    }
    ledger = json.loads(paths["ledger"].read_text())
    assert ledger["balance"] == 0
    assert ledger["records"]["rejected"] == result.tables["dead_letters"].num_rows


def test_columns_are_the_documented_ones(result: Result) -> None:
    names = {name: table.column_names for name, table in result.tables.items()}
    assert names["windows"][:10] == [
        *("device", "signal", "window_start_ns", "window_end_ns", "count", "mean", "sd", "min", "max", "slope"),
    ]
    assert {"revision", "is_final", "rms"} <= set(names["windows"])
    assert names["rows"][:4] == ["device", "ts_ns", "a", "b"]
    assert {"skew_ns", "degraded"} <= set(names["rows"])
    assert {"device", "signal", "ts_ns", "score", "severity", "cause"} <= set(names["anomalies"])
    assert {"reason", "raw"} <= set(names["dead_letters"])


def test_a_late_sample_revises_its_window_until_the_allowed_lateness_and_is_late_after_it() -> None:
    seconds = [0, 9, 16, 4, 40, 3]
    text = [b'{"device":"d","sensor":"a","ts":%d,"v":1}' % (1_700_000_000 + s) for s in seconds]
    found = backtest([Frames.of(text)], loads(SMALL))
    first = [r for r in found.tables["windows"].to_pylist() if r["window_start_ns"] == 1_700_000_000_000_000_000]
    assert [(r["revision"], r["count"], r["is_final"]) for r in first] == [(0, 2, False), (1, 3, True)]
    assert found.tables["late"]["ts_ns"].to_pylist() == [1_700_000_003_000_000_000]
    assert found.ledger.samples.late == 1
    assert found.ledger.balance == 0


def test_a_tick_closes_the_windows_of_a_silent_device() -> None:
    lines_before = [b'{"device":"d","sensor":"a","ts":1700000001,"arrival":1700000001,"v":1}']
    tick = b'{"tick":1700000300}'
    later = b'{"device":"d","sensor":"a","ts":1700000002,"arrival":1700000301,"v":1}'
    found = backtest([Frames.of([*lines_before, tick, later])], loads(SMALL))
    assert found.tables["windows"]["count"].to_pylist() == [1]
    assert found.ledger.records.control == 1
    assert found.ledger.samples.late == 1


def test_an_input_of_nothing_but_bad_lines_is_all_dead_letters() -> None:
    found = backtest([Frames.of([b"{", b"", b"[]"])], loads(SMALL))
    assert found.tables["dead_letters"].num_rows == 3
    assert found.ledger.records.rejected == 3
    assert found.ledger.balance == 0


def test_an_empty_input_writes_empty_tables(tmp_path: Path) -> None:
    found = backtest([], loads(SMALL))
    assert found.ledger.balance == 0
    assert write(found, tmp_path)["ledger"].exists()


def test_files_are_read_one_after_the_other_with_offsets_counted_on(tmp_path: Path, recording: Recording) -> None:
    data, definition = write_recording(recording, tmp_path)
    half = len(lines(recording)) // 2
    parts = [tmp_path / "1.ndjson", tmp_path / "2.ndjson"]
    parts[0].write_bytes(b"\n".join(lines(recording)[:half]))
    parts[1].write_bytes(b"\n".join(lines(recording)[half:]))
    twin = load(definition)
    whole, split = backtest(read_inputs([data]), twin), backtest(read_inputs(parts), twin)
    assert hash_tables(whole.tables) == hash_tables(split.tables)
