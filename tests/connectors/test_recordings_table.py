"""Tables: units, times, broken lines, and that no cut into pieces changes a message."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from connectors.recordings.faults import Faults, MappingError, RecordingError
from connectors.recordings.recording import open_recording
from tests.connectors.recording_files import FLEET, PUMP, messages, pump_csv, trees

T = "2020-01-01 00:00:0"
T0 = 1_577_836_800_000_000_000


def test_values_are_converted_to_the_unit_of_the_type(tmp_path: Path) -> None:
    (tree,) = trees(pump_csv(tmp_path, f"{T}0;250;3.5;0"))
    assert tree == {"device": "pump-x", "ts": T0, "signals": {"pressure": 2.5, "volume_flow": 3.5}}


def test_a_unit_of_another_kind_is_refused_with_both_units_and_the_line(tmp_path: Path) -> None:
    recording = pump_csv(tmp_path, f"{T}0;250;3.5;0", mapping=PUMP.replace("kPa", "degC"))
    with pytest.raises(
        MappingError, match=r"mapping\.yaml:8: signals\.pressure\.unit: is 'degC', but 'bar' in .*'pump'"
    ):
        messages(recording)


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    recording = pump_csv(tmp_path, f"{T}0;250;3.5;0", mapping=PUMP.replace("column: Q", "column: anomali"))
    with pytest.raises(RecordingError, match=r"has no column 'anomali' .*did you mean 'anomaly'"):
        messages(recording)


def test_a_cell_without_a_value_gives_no_sample_and_a_row_without_any_no_message(tmp_path: Path) -> None:
    recording = pump_csv(tmp_path, f"{T}0;NaN;1;0", f"{T}1;;;0", f"{T}2;100;n/a;0")
    assert [tree["signals"] for tree in trees(recording)] == [{"volume_flow": 1.0}, {"pressure": 1.0}]
    assert recording.faults.total == 0


def test_what_is_broken_costs_only_itself_and_is_said_with_its_row(tmp_path: Path) -> None:
    rows = [
        f"{T}0;100;1;0",
        f"{T}1;abc;2;0",  # row 3: a cell
        f"{T}2;100",  # row 4: cut
        "tomorrow;100;3;0",  # row 5: no time
        f"{T}4;inf;4;0",  # row 6: no finite number
        f'"{T}5";"100";5;0',
        f'"{T}6;100;6;0',  # row 8: the quote stays open
        f"{T}7;100;7;0",
    ]
    recording = pump_csv(tmp_path, *rows)
    assert [tree["signals"].get("volume_flow") for tree in trees(recording)] == [1, 2, 4, 5, 7]
    assert {f.where: f.kind for f in recording.faults.first} == {
        "row 3": "bad_value", "row 4": "bad_row", "row 5": "bad_time", "row 6": "bad_value", "row 8": "bad_row"
    }  # fmt: skip
    assert recording.faults.counts == {"bad_value": 2, "bad_row": 2, "bad_time": 1}


def test_a_line_cut_off_at_the_end_is_a_fault_and_the_rest_is_read(tmp_path: Path) -> None:
    recording = pump_csv(tmp_path, f"{T}0;100;1;0", f"{T}1;100;1;0")
    recording.path.write_bytes(recording.path.read_bytes()[:-8])
    assert len(messages(recording)) == 1
    assert str(recording.faults.first[0]) == "bad_row: row 3: 2 fields, the header has 4"


def test_a_gzip_cut_off_gives_the_whole_lines_before_the_cut(tmp_path: Path) -> None:
    recording = pump_csv(
        tmp_path, *(f"2020-01-01 {i // 3600:02}:{i // 60 % 60:02}:{i % 60:02};{i};1;0" for i in range(9000))
    )
    packed = gzip.compress(recording.path.read_bytes(), mtime=0)
    cut = tmp_path / "x.csv.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    (tmp_path / "x.csv.gz.mapping.yaml").write_text(PUMP)
    shorter = open_recording(cut, type_of=FLEET.type_of)
    got, whole = messages(shorter), messages(recording)
    assert 1000 < len(got) < len(whole)
    assert got == whole[: len(got)]
    assert list(shorter.faults.counts) == ["cut_off"]


def test_bytes_that_are_no_text_and_endless_lines_cost_one_row_each(tmp_path: Path) -> None:
    recording = pump_csv(tmp_path, f"{T}0;100;1;0", "@", f"{T}2;100;2;0", "#", f"{T}4;100;3;0")
    raw = recording.path.read_bytes().replace(b"@", b"\xff;1;1;1").replace(b"#", b"1;" * 200_000)
    recording.path.write_bytes(raw)
    for chunk_bytes in (1 << 20, 50_000):
        faults = Faults()
        assert sum(map(len, replace(recording, chunk_bytes=chunk_bytes).pieces(faults))) == 3
        assert [(f.kind, f.where) for f in faults.first] == [("bad_text", "row 3"), ("long_row", "row 5")]


CELL = st.sampled_from(["1", "2.5", "", "NaN", "x", "1e3", "+4", "inf", '"7"', '"', " 8 ", "1;2", "é", "\r", "-0"])
LINE = st.one_of(
    st.tuples(st.integers(0, 9), CELL, CELL).map(lambda c: f"2020-01-01 00:00:0{c[0]};{c[1]};{c[2]};0"),
    st.tuples(st.integers(0, 9), CELL, CELL).map(lambda c: f"2020-01-01T00:00:0{c[0]}.25Z;{c[1]};{c[2]};0"),
    st.sampled_from(["", "  ", "soon;1;1;0", ";;;", '"a;b";1;1;0', "2020-02-30 00:00:00;1;1;0"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINE, max_size=12), end=st.sampled_from(["\n", "\r\n"]), chunk_bytes=st.integers(1, 200))
def test_any_chunk_size_gives_the_same_messages_and_faults(
    tmp_path: Path, lines: list[str], end: str, chunk_bytes: int
) -> None:
    recording = pump_csv(tmp_path)
    recording.path.write_bytes(end.join(["t;P;Q;anomaly", *lines]).encode())

    def outcome(size: int) -> tuple[list[bytes], list[str], dict[str, int]]:
        faults = Faults()
        pieces = list(replace(recording, chunk_bytes=size).pieces(faults))
        faults_told = sorted(map(str, faults.first)) if faults.total <= 10 else []
        return [m for piece in pieces for m in piece.messages()], faults_told, dict(faults.counts)

    whole = outcome(1 << 20)
    assert outcome(chunk_bytes) == whole
    assert all(json.loads(m)["device"] == "pump-x" for m in whole[0])


@pytest.mark.parametrize(
    ("time", "cell", "ts"),
    [
        ("{column: t, zone: Europe/Berlin}", "2020-07-01 02:00:00", 1_593_561_600_000_000_000),
        ("{column: t, zone: Europe/Berlin}", "2020-07-01T02:00:00.5+02:00", 1_593_561_600_500_000_000),
        ("{column: t, zone: Europe/Berlin}", "2020-07-01 02:00", 1_593_561_600_000_000_000),
        ("{column: t, format: unix_s}", "1593561600.123456789", 1_593_561_600_123_456_789),
        ("{column: t, format: unix_ms}", "1593561600123", 1_593_561_600_123_000_000),
        ("{column: t, format: unix_s, start: 2020-07-01T00:00:00Z}", "0.25", 1_593_561_600_250_000_000),
        ("{column: t, format: '%d.%m.%Y %H:%M', zone: Europe/Berlin}", "01.07.2020 02:00", 1_593_561_600_000_000_000),
        ("{start: 2020-07-01T00:00:00Z, every: 1min}", "", 1_593_561_600_000_000_000),
    ],
)
def test_times_are_read_exactly(tmp_path: Path, time: str, cell: str, ts: int) -> None:
    (tree,) = trees(pump_csv(tmp_path, f"{cell};100;1;0", mapping=PUMP.replace("{column: t}", time)))
    assert tree["ts"] == ts


def test_times_before_1973_are_written_as_the_wire_reads_them(tmp_path: Path) -> None:
    recording = pump_csv(tmp_path, "1971-01-01 00:00:00;100;1;0")
    assert b'"ts":31536000.000000000,' in messages(recording)[0]


def test_decimal_commas_are_read(tmp_path: Path) -> None:
    mapping = PUMP.replace('separator: ";"', 'separator: ";", decimal: ","')
    assert trees(pump_csv(tmp_path, f"{T}0;250,5;3;0", mapping=mapping))[0]["signals"]["pressure"] == 2.505


def test_a_column_may_name_the_device(tmp_path: Path) -> None:
    mapping = PUMP.replace("device: pump-{name}", "device_column: anomalous_pump").replace("[anomaly]", "[]")
    recording = pump_csv(tmp_path, f"{T}0;100;1;pump-a", f"{T}1;100;1;", f"{T}2;100;1;pump-b", mapping=mapping)
    recording.path.write_text(recording.path.read_text().replace("anomaly", "anomalous_pump", 1))
    assert [tree["device"] for tree in trees(recording)] == ["pump-a", "pump-b"]
    assert recording.faults.counts == {"bad_device": 1}


def parquet_of(folder: Path, columns: dict[str, Any]) -> Path:
    path = folder / "x.parquet"
    parquet.write_table(pa.table(columns), path, row_group_size=2)
    path.with_name("x.parquet.mapping.yaml").write_text(PUMP)
    return path


def test_parquet_and_csv_of_the_same_rows_give_the_same_messages(tmp_path: Path) -> None:
    csv = pump_csv(tmp_path, *(f"{T}{i};{100 + i};{i};0" for i in range(5)))
    times = [datetime(2020, 1, 1, 0, 0, i) for i in range(5)]
    columns = {"t": pa.array(times, pa.timestamp("us")), "P": [100, 101, 102, 103, 104], "Q": [0.0, 1.0, 2.0, 3.0, 4.0]}
    table = open_recording(parquet_of(tmp_path, columns), type_of=FLEET.type_of)
    assert messages(table) == messages(csv)
    assert messages(replace(table, chunk_bytes=1)) == messages(csv)


def test_a_parquet_whose_row_group_is_damaged_gives_the_others(tmp_path: Path) -> None:
    columns = {"t": ["2020-01-01T00:00:00Z"] * 6, "P": [1.5, 2.5, 3.5, 4.5, 5.5, 6.5], "Q": [1.0] * 6}
    path = parquet_of(tmp_path, columns)
    start = parquet.ParquetFile(path).metadata.row_group(1).column(1).dictionary_page_offset
    raw = bytearray(path.read_bytes())
    raw[start : start + 8] = b"\xff" * 8
    path.write_bytes(raw)
    recording = open_recording(path, type_of=FLEET.type_of)
    assert len(messages(recording)) == 4
    assert recording.faults.first[0].where == "row 4"
    path.write_bytes(raw[:-20])
    with pytest.raises(RecordingError, match="cut off has lost all its rows"):
        messages(recording)


def test_a_parquet_column_of_text_or_lists_where_a_number_should_be(tmp_path: Path) -> None:
    path = parquet_of(tmp_path, {"t": ["2020-01-01T00:00:00Z"], "P": [[1.0]], "Q": ["3.5"]})
    with pytest.raises(MappingError, match=r"column 'P': list<.*> holds no numbers"):
        messages(open_recording(path, type_of=FLEET.type_of))
