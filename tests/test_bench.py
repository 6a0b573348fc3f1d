"""The benchmarks measure what they say: unchanged baselines, and comparisons that fail when a result is not right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from xml.etree import ElementTree

import polars as pl
import pyarrow as pa
import pytest

from flows.shard import Shard
from flows.tables import anomalies_table, plain, rows_table, windows_table
from infra.testing import programs
from operators.frames import Frames
from tests.bench import oracle
from tests.bench.baselines import common
from tests.bench.core import REFERENCE
from tests.bench.job_run import Job, deviations
from tests.bench.jobs import BASELINES
from tests.bench.latency import figures
from tests.bench.packed_blocks import ROWS
from tests.bench.packed_blocks import check as packed_check
from tests.bench.plot import svg
from tests.bench.truth import SIGNALS, Deviation, Truth, compare, samples_of

Tables = dict[str, pa.Table]
START_NS = 1_700_000_000_000_000_000
ORIGINAL = "b41ad7997b51034d749166ce10fc5c7edf04302a68547659e80235aff35a63fd"


def test_the_messages_are_those_of_the_kit_but_for_the_number_of_partitions() -> None:
    text = (BASELINES / "common.py").read_bytes().replace(b"PARTS = 12\n", b"PARTS = 8\n")
    assert hashlib.sha256(text).hexdigest() == ORIGINAL


def test_the_faster_encoder_writes_the_same_bytes_as_the_one_of_the_kit() -> None:
    given = {"device": "robot-0001", "sensor": "imu", "ts": START_NS + 1, "v": [0.0001, -3.25, 40.0]}
    kits = b'{"device":"robot-0001","sensor":"imu","ts":1700000000000000001,"v":[0.0001,-3.25,40.0]}'
    assert common.dumps(given) == kits


@pytest.fixture(scope="module")
def messages() -> list[bytes]:
    """Some 8 s of fifty robots: the generator makes a thousand, the others are left out."""
    return [value for key, _, value in common.generate(340_000, START_NS) if key < b"robot-0050"]


@pytest.fixture(scope="module")
def found(messages: list[bytes]) -> Tables:
    """What the flow makes of them, all closed."""
    shard = Shard(lambda _device: REFERENCE)
    lanes = [*shard.push(Frames.of(messages)).lanes, *shard.finish()]
    tables: dict[str, list[pa.Table]] = {"windows": [], "rows": [], "anomalies": []}
    for lane in lanes:
        assert lane.rows is not None
        tables["windows"].append(plain(windows_table(lane.windows, lane.twin, lane.names)))
        tables["rows"].append(plain(rows_table(lane.rows, lane.twin, lane.names)))
        tables["anomalies"] += [
            plain(anomalies_table(f.anomalies, f.detect, lane.twin, lane.names)) for f in lane.found
        ]
    return {name: pa.concat_tables(parts) for name, parts in tables.items()}


@pytest.fixture(scope="module")
def true(messages: list[bytes], found: Tables) -> Truth:
    """Windows and rows by the oracle; anomalies as found, since the baseline that finds them needs a broker."""
    samples, bad = samples_of(messages)
    anomalies = pl.from_arrow(found["anomalies"])
    assert isinstance(anomalies, pl.DataFrame)
    return Truth(
        windows=oracle.windows(samples).select("device", "signal", "window_start_ns", "count", "mean", "sd"),
        anomalies=anomalies.select("device", "signal", "ts_ns", "score"),
        rows=oracle.rows(samples, REFERENCE),
        newest=samples.group_by("device").agg(newest=pl.col("ts").max()),
        bad=bad,
    )


def test_the_reference_job_gives_the_windows_and_rows_of_the_oracles(found: Tables, true: Truth) -> None:
    report = compare(found, true, REFERENCE, closed=True)
    assert report["windows"] == true.windows.height > 60
    assert report["rows"] == true.rows.height > 100
    assert true.anomalies.height > 3


@pytest.mark.parametrize("name", ["windows", "rows", "anomalies"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.slice(1), "1 of .* missing"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "1 twice"),
        (lambda t: t.set_column(0, "device", pa.array(["robot-0777"] * t.num_rows)), "too many"),
    ],
    ids=["missing", "twice", "too many"],
)
def test_a_row_that_is_missing_twice_or_too_many_is_an_error(
    found: Tables, true: Truth, name: str, spoil: Callable[[pa.Table], pa.Table], said: str
) -> None:
    with pytest.raises(Deviation, match=f"{name}: .*{said}"):
        compare({**found, name: spoil(found[name])}, true, REFERENCE, closed=True)


@pytest.mark.parametrize(
    ("name", "column"), [("windows", "count"), ("windows", "sd"), ("rows", "imu.0"), ("rows", "skew_ns")]
)
def test_a_figure_that_is_off_is_an_error(found: Tables, true: Truth, name: str, column: str) -> None:
    table = found[name]
    values = table[column].to_pylist()
    values[3] = values[3] + 1 if isinstance(values[3], int) else (values[3] or 0.0) + 1e-6
    at = table.column_names.index(column)
    with pytest.raises(Deviation, match=f"{name}.{column}"):
        compare({**found, name: table.set_column(at, column, pa.array(values))}, true, REFERENCE, closed=True)


def test_only_what_the_watermark_has_not_passed_may_be_missing_before_the_end(found: Tables, true: Truth) -> None:
    newest = min(true.newest["newest"].to_list())
    windows = found["windows"]
    still_open = windows.filter(pa.compute.less(windows["window_end_ns"], newest - 2_000_000_000))
    compare({**found, "windows": still_open}, true, REFERENCE, closed=False)
    with pytest.raises(Deviation, match="windows"):
        compare({**found, "windows": still_open}, true, REFERENCE, closed=True)
    closed = windows.filter(pa.compute.less(windows["window_end_ns"], newest - 4_000_000_000))
    with pytest.raises(Deviation, match="windows"):
        compare({**found, "windows": closed}, true, REFERENCE, closed=False)


def test_a_signal_of_the_type_for_every_sensor_of_the_kit() -> None:
    assert list(SIGNALS) == list(common.SENSORS)
    assert list(SIGNALS.values()) == [s.name for s in REFERENCE.signals]


def test_what_a_job_of_others_deviates_is_counted(true: Truth) -> None:
    job = Job(list, unit_ns=10**6)
    told = true.windows.head(5).with_columns(sensor=pl.col("signal").str.split(".").list.first())
    windows = [
        b'{"k":"win","device":"%b","sensor":"%b","w":%d,"n":%d,"mean":0.5}'
        % (row["device"].encode(), row["sensor"].encode(), row["window_start_ns"] // 10**6, row["count"])
        for row in told.to_dicts()
    ]
    wrong = windows[1].replace(b'"n":', b'"n":1')
    elsewhere = windows[2].replace(b'"device":"robot-', b'"device":"other-')
    found = deviations([windows[0], windows[0], wrong, elsewhere, b"{}"], job, true)
    missing = true.windows.height - 2
    assert found["windows"] == {"right": 1, "wrong": 1, "missing": missing, "too_many": 1, "again": 1}
    assert found["anomalies"]["missing"] == true.anomalies.height


def test_a_spike_that_never_came_back_is_lost_and_one_told_twice_counts_once() -> None:
    arrived = [(1_000_000, 3_000_000), (1_000_000, 9_000_000), (7, 8)]
    found = figures(arrived, {1_000_000, 2_000_000}, 10_000.0)
    assert (found["spikes"], found["lost"], found["p50_ms"], found["max_ms"]) == (2, 1, 2.0, 2.0)


def test_packed_blocks_that_leave_a_window_out_are_an_error() -> None:
    whole = pa.table({"count": [ROWS] * 4})
    packed_check(whole, 3001)  # the first robot has four seconds, of which one is closed
    with pytest.raises(Deviation, match="3 windows"):
        packed_check(whole.slice(1), 3001)
    with pytest.raises(Deviation, match="0 windows"):
        packed_check(None, 3001)


def test_the_picture_is_well_formed_and_names_every_job() -> None:
    rows = [
        {"job": job, "round": 1, "n": n, "per_s": rate, "cpu_s_per_million": cost}
        for n in (10, 30)
        for job, rate, cost in (("twinflow", 500_000.0, 2.0), ("<other>", 20_000.0, 40.0))
    ]
    texts = [node.text for node in ElementTree.fromstring(svg({"rounds": rows})).iter() if node.tag.endswith("text")]
    assert {"twinflow, exactly once", "<other>", "500 k", "40"} <= set(texts)


def test_the_modules_beside_the_benchmarks_are_no_benchmarks() -> None:
    known = programs("bench")
    assert {"backtest", "clock", "commands", "core", "latency", "live", "peers"} <= known.keys()
    assert not {"jvm", "venvs", "oracle", "plot"} & known.keys()
