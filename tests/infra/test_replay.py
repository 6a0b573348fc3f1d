"""`twinflow replay` against a real broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from pytest import CaptureFixture, TempPathFactory

from connectors.recordings.recording import open_recording
from infra.cli import main
from infra.errors import ExitCode
from infra.kafka.topics import load_topics
from tests.connectors.recording_files import FLEET, messages, pump_csv, speeds_mcap
from tests.connectors.recording_files import ROVER as ROVER_MAPPING
from tests.infra.command import Command
from tests.infra.supervised import until
from tests.support_kafka import running_broker

SECOND = 1_000_000_000
PARTITIONS = load_topics()["samples"].partitions


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: TempPathFactory) -> Iterator[str]:
    with running_broker(tmp_path_factory.mktemp("replay") / "kafka") as bootstrap:
        yield bootstrap


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINFLOW_DATA", str(tmp_path / "data"))


def of_device(bootstrap: str, device: str) -> list[Message]:
    """All messages with this key, partition by partition."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False, "log_level": 0}
    )
    found: list[Message] = []
    try:
        for number in range(PARTITIONS):
            low, high = consumer.get_watermark_offsets(TopicPartition("samples", number), timeout=10)
            consumer.assign([TopicPartition("samples", number, low)])
            while low < high:
                for message in consumer.consume(1000, timeout=1.0):
                    low = (message.offset() or 0) + 1
                    found += [message] if message.key() == device.encode() else []
    finally:
        consumer.close()
    return found


def replayed(capsys: CaptureFixture[str], kafka: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = main(["replay", *arguments, "--json", "--set", f"kafka={kafka}"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else {}, err


def test_a_shipped_recording_arrives_keyed_trusted_and_in_order(kafka: str, capsys: CaptureFixture[str]) -> None:
    before = time.time_ns()
    code, report, err = replayed(capsys, kafka, "husky", "--speed", "max")
    assert (code, report["messages"], report["samples"], report["faults"]) == (0, 1914, 17899, {})
    assert "fits the shipped mapping husky" in err
    arrived = of_device(kafka, "husky-1")
    assert len(arrived) == 1914
    assert {m.partition() for m in arrived} == {arrived[0].partition()}
    assert {tuple(m.headers() or ()) for m in arrived} == {(("clock", b"trusted"),)}
    whole = [json.loads(m) for m in messages(open_recording("husky"))]
    sent = [json.loads(m.value() or b"") for m in arrived]
    assert [m["signals"] for m in sent] == [m["signals"] for m in whole]
    assert {a["ts"] - b["ts"] for a, b in zip(sent, whole, strict=True)} == {sent[0]["ts"] - whole[0]["ts"]}
    assert before <= max(m["ts"] for m in sent) <= time.time_ns()


def test_recorded_times_and_a_part_of_it(kafka: str, capsys: CaptureFixture[str]) -> None:
    wanted = ("citylearn", "--speed", "max", "--at", "recorded", "--device", "building-part")
    code, report, _ = replayed(capsys, kafka, *wanted, "--from", "2h", "--to", "2016-08-01T04:00:00Z")
    assert (code, report["messages"]) == (0, 3)
    hours = sorted(json.loads(m.value() or b"")["ts"] for m in of_device(kafka, "building-part"))
    assert hours == [1_470_013_200 * SECOND + i * 3600 * SECOND for i in range(3)]


def test_a_part_that_holds_nothing_says_how_long_the_recording_is(kafka: str, capsys: CaptureFixture[str]) -> None:
    code, _, err = replayed(capsys, kafka, "husky", "--from", "1h")
    assert code == ExitCode.FAILED
    assert "it is 45 s long and begins 2015-05-21T19:11:37Z" in err


def test_faults_are_said_counted_and_told_by_the_exit_code(
    kafka: str, capsys: CaptureFixture[str], tmp_path: Path
) -> None:
    rows = ("2020-01-01 00:00:00;100;1;0", "2020-01-01 00:00:01;oops;2;0", "2020-01-01 00:00:02;10")
    recording = pump_csv(tmp_path, *rows, name="broken.csv")
    code, report, err = replayed(capsys, kafka, str(recording.path), "--speed", "max")
    assert (code, report["messages"], report["faults"]) == (ExitCode.FAILED, 2, {"bad_value": 1, "bad_row": 1})
    assert "bad_value: row 3: P = 'oops' is no finite number" in err
    assert "bad_row: row 4: 2 fields, the header has 4" in err
    assert len(of_device(kafka, "pump-broken")) == 2


def test_a_cut_mcap_is_replayed_up_to_the_cut(kafka: str, capsys: CaptureFixture[str], tmp_path: Path) -> None:
    path = speeds_mcap(tmp_path / "a.mcap", [1.0] * 20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    path.with_name("a.mcap.mapping.yaml").write_text(ROVER_MAPPING)
    code, report, err = replayed(capsys, kafka, str(path), "--speed", "max", "--device", "rover-cut")
    assert (code, report["faults"]) == (ExitCode.FAILED, {"cut_off": 1})
    assert "without a footer" in err
    assert 0 < len(of_device(kafka, "rover-cut")) == report["messages"] < 20


def sent(bootstrap: str, device: str) -> int:
    """How many messages have this key; none while a broker that just started has no leaders yet."""
    try:
        return len(of_device(bootstrap, device))
    except KafkaException:
        return 0


def test_a_loop_goes_on_in_time_until_ctrl_c(kafka: str, tmp_path: Path) -> None:
    recording = pump_csv(tmp_path, *(f"2020-01-01 00:00:0{i};100;{i};0" for i in range(3)), name="loop.csv")
    command = Command(tmp_path / "data")
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "replay", str(recording.path), "--speed", "50", "--loop", "--json"],
        env={**command.environment(), "TWINFLOW_KAFKA": kafka},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: sent(kafka, "pump-loop") >= 7, "two rounds and one message")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert out, err
    report = json.loads(out)
    times = [json.loads(m.value() or b"")["ts"] for m in of_device(kafka, "pump-loop")]
    assert (process.returncode, len(times)) == (0, report["messages"]), err
    assert {b - a for a, b in pairwise(times)} == {SECOND}
    assert report["rounds"] >= 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nab", "--speed", "fast"], ExitCode.USAGE, "--speed fast: is no speed"),
        (["nab", "--at", "noon"], ExitCode.USAGE, "--at noon"),
        (["nab", "--loop", "--speed", "max"], ExitCode.USAGE, "goes with no --speed max"),
        (["nabb"], ExitCode.FAILED, "there is no such file; give a file, or one of nab, husky, citylearn"),
        (["nab", "--device", "toaster"], ExitCode.FAILED, "no twin type fits it"),
        (["nab"], ExitCode.NOT_RUNNING, "twinflow up starts it"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], code: ExitCode, message: str, capsys: CaptureFixture[str]
) -> None:
    assert main(["replay", *arguments]) == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_wrong_unit_is_refused_before_anything_is_sent(
    kafka: str, capsys: CaptureFixture[str], tmp_path: Path
) -> None:
    recording = pump_csv(tmp_path, "2020-01-01 00:00:00;100;1;0", name="unit.csv")
    beside = recording.path.with_name("unit.csv.mapping.yaml")
    beside.write_text(beside.read_text().replace("kPa", "rpm"))
    code, report, err = replayed(capsys, kafka, str(recording.path))
    assert (code, report) == (ExitCode.FAILED, {})
    assert "is 'rpm', but 'bar' in the twin type 'pump'" in err
    assert of_device(kafka, "pump-unit") == []
    assert FLEET.type_of("pump-unit") is not None
