"""The recordings that ship, and how a mapping is found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from connectors.recordings.faults import MappingError, RecordingError
from connectors.recordings.mapping import load_mapping
from connectors.recordings.mcap_reader import contents
from connectors.recordings.recording import MAPPINGS, SHIPPED, open_recording, read_recording, shipped_mappings
from connectors.recordings.tabular import header_of
from tests.connectors.recording_files import FLEET, decoded, messages, pump_csv, speeds_mcap, trees

EXPECTED = {"nab": ("meter", 7267, 7267), "husky": ("rover", 1914, 17899), "citylearn": ("building", 8760, 78840)}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_shipped_recording_decodes_without_a_dead_letter(name: str) -> None:
    recording = open_recording(name, type_of=FLEET.type_of)
    result = decoded(recording)
    twin_type = FLEET.type_of(recording.device)
    assert twin_type is not None
    assert (twin_type.name, len(result.messages), sum(map(len, result.batches))) == EXPECTED[name]
    assert (len(result.dead), len(result.aside), recording.faults.total) == (0, 0, 0)


def test_names_and_mappings_belong_together() -> None:
    assert set(SHIPPED) == set(EXPECTED)
    assert set(shipped_mappings()) == {*SHIPPED, "skab"}
    assert all(path.stat().st_size <= 300_000 for path in SHIPPED.values())
    notice = (MAPPINGS.parent / "data" / "NOTICE.md").read_text()
    assert all(path.name in notice for path in SHIPPED.values())


@pytest.mark.parametrize("name", SHIPPED)
def test_only_what_a_shipped_mapping_lists_is_sent_and_no_label_is_among_it(name: str) -> None:
    mapping = load_mapping(MAPPINGS / f"{name}.yaml")
    sent = {signal for tree in trees(open_recording(name)) for signal in tree["signals"]}
    assert sent <= set(mapping.signals)
    words = ("anomal", "changepoint", "label", "truth")
    columns = [c for source in mapping.signals.values() for c in source.names]
    assert [c for c in [*columns, *sent] if any(word in c.lower() for word in words)] == []


@pytest.mark.parametrize("column", ["anomaly", "changepoint", "is_anomaly", "Label", "ground_truth", "secret"])
def test_a_label_column_can_not_be_a_signal(tmp_path: Path, column: str) -> None:
    text = "recording: r\nkind: table\ntime: {column: t}\nsignals:\n  a: {column: COLUMN}\nlabels: [secret]\n"
    path = tmp_path / "m.yaml"
    path.write_text(text.replace("COLUMN", column))
    with pytest.raises(MappingError, match=r"m\.yaml:5: signals\.a: column '.*' is a label, not a reading"):
        load_mapping(path)


def test_labels_of_a_skab_file_never_enter_a_message(tmp_path: Path) -> None:
    header = "datetime;Accelerometer1RMS;Accelerometer2RMS;Current;Pressure;Temperature;Thermocouple;Voltage;"
    header += "Volume Flow RateRMS;anomaly;changepoint"
    folder = tmp_path / "valve1"
    folder.mkdir()
    (folder / "1.csv").write_text(
        f"{header}\n2020-03-09 10:34:33;0.027;0.039;0.87;0.054;75.4;25.8;244.0;32.0;7777;8888\n"
    )
    recording = open_recording(folder / "1.csv", type_of=FLEET.type_of)
    (message,) = messages(recording)
    assert recording.device == "skab-valve1-1"
    assert b"7777" not in message
    assert b"8888" not in message
    assert json.loads(message)["ts"] == 1583750073000000000
    assert len(json.loads(message)["signals"]) == 8


def test_frames_carry_device_as_key_and_count_their_offsets() -> None:
    parts = list(read_recording("nab", chunk_bytes=10_000, first_offset=5))
    assert len(parts) > 1
    assert [parts[0].offset[0], parts[-1].end_offset] == [5, 5 + 7267]
    assert parts[0].key(0) == b"nab-ambient_temperature_system_failure"


def test_a_file_that_no_mapping_fits_says_how_to_give_one(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("timestamp,value,more\n2020-01-01,1,2\n")
    with pytest.raises(RecordingError, match=r"no shipped mapping fits it .*write x\.csv\.mapping\.yaml beside it"):
        open_recording(path)
    assert open_recording(path, "nab").chosen == "shipped mapping nab"


def test_a_mapping_beside_the_file_goes_before_the_shipped_ones(tmp_path: Path) -> None:
    recording = pump_csv(tmp_path, "2020-01-01 00:00:00;100;3;0")
    assert recording.chosen == "mapping x.csv.mapping.yaml beside it"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nba", r"nba: there is no such file; give a file, or one of nab, husky, citylearn"),
        (".", r"\.: is a folder"),
        (__file__, r"is of no known kind"),
    ],
)
def test_what_is_no_recording_is_refused(path: str, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        open_recording(path)


def test_an_unknown_mapping_gets_the_near_one() -> None:
    with pytest.raises(RecordingError, match="did you mean 'husky'"):
        open_recording("husky", "huski")


def test_a_mapping_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="is for table"):
        open_recording(speeds_mcap(tmp_path / "a.mcap", [1.0]), "nab")


def test_a_device_of_no_type_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(RecordingError, match="device 'toaster': no twin type fits it"):
        list(read_recording("nab", device="toaster", type_of=FLEET.type_of))


@pytest.mark.datasets
@pytest.mark.skipif("TWINFLOW_DATASETS" not in os.environ, reason="needs TWINFLOW_DATASETS")
def test_whole_public_sets_are_read_with_no_fault_and_no_dead_letter() -> None:
    root = Path(os.environ["TWINFLOW_DATASETS"])
    files = [*root.glob("skab/data/*/*.csv"), *root.glob("nab/data/*/*.csv"), *root.glob("citylearn2022/Build*.csv.gz")]
    assert files
    for file in [*files, root / "ros_husky" / "husky.mcap"]:
        recording = open_recording(file, type_of=FLEET.type_of)
        result = decoded(recording)
        assert (len(result.dead), len(result.aside), recording.faults.total) == (0, 0, 0), file
        if file.suffix == ".mcap":
            assert len(result.messages) == 11865 + 3952 + 989
        elif not file.name.endswith(".gz"):
            assert len(result.messages) == len(file.read_text().splitlines()) - 1
            assert load_mapping(MAPPINGS / "skab.yaml").labels == ("anomaly", "changepoint")


def test_the_husky_cut_holds_its_three_topics_and_the_tables_their_columns() -> None:
    assert contents(SHIPPED["husky"]).topics == {"/imu/data", "/husky_velocity_controller/odom", "/fix"}
    assert header_of(SHIPPED["nab"], load_mapping(MAPPINGS / "nab.yaml").csv) == ["timestamp", "value"]
