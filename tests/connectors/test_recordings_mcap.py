"""MCAP: JSON and ROS 2 messages, damaged chunks, files that were cut off."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from mcap.writer import CompressionType

from connectors.recordings.faults import MappingError, RecordingError
from connectors.recordings.mcap_reader import contents
from connectors.recordings.recording import SHIPPED, Recording, open_recording
from tests.connectors.recording_files import FLEET, ROVER, decoded, messages, speeds_mcap, trees


def opened(path: Path, mapping: str = ROVER) -> Recording:
    path.with_name(path.name + ".mapping.yaml").write_text(mapping)
    return open_recording(path, type_of=FLEET.type_of)


@pytest.mark.parametrize("compression", CompressionType)
def test_json_messages_are_read_and_converted_whatever_packs_the_chunks(
    tmp_path: Path, compression: CompressionType
) -> None:
    found = trees(opened(speeds_mcap(tmp_path / "a.mcap", [3.6, 7.2, 0.0], compression=compression)))
    assert [tree["signals"]["odom.speed"] for tree in found] == pytest.approx([1.0, 2.0, 0.0], rel=1e-15)
    assert [tree["ts"] - found[0]["ts"] for tree in found] == [0, 10**9, 2 * 10**9]
    assert {tree["device"] for tree in found} == {"rover-1"}


def test_ros_messages_carry_the_stamp_of_their_header_and_vectors_as_lists() -> None:
    first = trees(open_recording("husky", type_of=FLEET.type_of))[0]
    assert first["ts"] == 1432235497988949113
    assert first["signals"]["imu.orientation"] == [
        0.4441650138815254, -0.544871234893404, -0.5507411489153416, 0.45001884929497193
    ]  # fmt: skip


def test_a_value_that_is_not_a_number_is_no_sample_and_an_infinite_one_a_fault(tmp_path: Path) -> None:
    recording = opened(speeds_mcap(tmp_path / "a.mcap", [1.0, math.nan, math.inf, 2.0]))
    assert len(messages(recording)) == 2
    assert recording.faults.counts == {"bad_value": 1}


def test_a_damaged_chunk_costs_only_itself(tmp_path: Path) -> None:
    path = speeds_mcap(
        tmp_path / "a.mcap", [float(i) for i in range(12)], per_chunk=2, compression=CompressionType.NONE
    )
    whole = messages(opened(path))
    raw = bytearray(path.read_bytes())
    at = raw.index(json.dumps({"v": 5.0}).encode())
    raw[at + 6] ^= 1
    path.write_bytes(raw)
    recording = opened(path)
    left = messages(recording)
    assert 0 < len(whole) - len(left) < 4
    assert set(left) < set(whole)
    assert recording.faults.counts == {"bad_chunk": 1}
    assert "crc validation failed" in recording.faults.first[0].detail


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.999])
def test_a_file_that_was_cut_off_gives_all_that_came_before(tmp_path: Path, share: float) -> None:
    whole = messages(open_recording("husky"))
    raw = SHIPPED["husky"].read_bytes()
    cut = tmp_path / "husky.mcap"
    cut.write_bytes(raw[: int(len(raw) * share)])
    try:
        recording = open_recording(cut, type_of=FLEET.type_of)
    except RecordingError as error:  # not even one chunk is whole
        assert share == 0.2
        assert "no shipped mapping fits" in str(error)
        return
    left = messages(recording)
    assert left == whole[: len(left)]
    assert len(left) >= (share - 0.35) * len(whole)
    assert share == 0.999 or recording.faults.counts == {"cut_off": 1}
    assert len(decoded(recording).dead) == 0


def test_a_message_that_does_not_decode_costs_only_itself(tmp_path: Path) -> None:
    recording = opened(speeds_mcap(tmp_path / "a.mcap", [3.6, b'{"v"=2}', 7.2]))
    assert [tree["signals"]["odom.speed"] for tree in trees(recording)] == [1.0, 2.0]
    assert recording.faults.counts == {"bad_message": 1}


def test_a_missing_topic_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = speeds_mcap(tmp_path / "a.mcap", [1.0])
    with pytest.raises(RecordingError, match=r"has no topic '/odometry' .*did you mean '/odom'"):
        messages(opened(path, ROVER.replace("/odom", "/odometry")))


def test_a_missing_field_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = speeds_mcap(tmp_path / "a.mcap", [1.0])
    with pytest.raises(
        MappingError, match=r"a\.mcap\.mapping\.yaml:6: signals\.odom\.speed: .*no number at w.*fields: v"
    ):
        messages(opened(path, ROVER.replace("field: v,", "field: w,")))


def test_a_vector_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.mcap"
    shutil.copy(SHIPPED["husky"], path)
    mapping = (
        "recording: h\nkind: mcap\ndevice: rover-1\ntime: {field: header.stamp}\nsignals:\n"
        "  imu.orientation: {topic: /imu/data, fields: [orientation.x, orientation.y]}\n"
    )
    with pytest.raises(MappingError, match=r":6: signals\.imu\.orientation: has 2 elements, but 4 in 'rover'"):
        messages(opened(path, mapping))


def test_what_is_no_mcap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(RecordingError, match="is no MCAP"):
        contents(path)
