"""Rows 14 and 15 of docs/bad-input.md through the whole shard: as JSON, as a packed block and as a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.shard import Shard
from operators.frames import Frames, Headers
from operators.ledger import Counts
from tests.connectors.recording_files import FLEET, messages, pump_csv
from tests.operators.wire_cases import STREAM_HEADERS, block, message

NOW_S = 1_700_000_000
HOUR, MONTH = 3600, 30 * 86_400
Sent = tuple[bytes, Headers]
Shape = Callable[[Path, str, int], Sent]


def as_json(_folder: Path, device: str, ts_s: int) -> Sent:
    return message(device=device, ts=ts_s, signals={"pressure": 1.5}), {}


def as_block(_folder: Path, device: str, ts_s: int) -> Sent:
    return block({"ts": [ts_s], "pressure": [1.5]}), {**STREAM_HEADERS, "device": device.encode()}


def as_recording(folder: Path, device: str, ts_s: int) -> Sent:
    """What replay sends `--at recorded`."""
    recording = pump_csv(folder, f"{ts_s};150;1;0", name=f"{device.removeprefix('pump-')}.csv", mapping=UNIX)
    [sent] = messages(recording)
    return sent, {"clock": b"trusted"}


UNIX = """
recording: bench
kind: table
csv: {separator: ";"}
device: pump-{name}
time: {column: t, format: unix_s}
signals: {pressure: {column: P, unit: kPa}}
"""
SHAPES = pytest.mark.parametrize("shape", [as_json, as_block, as_recording])


def counts(*sent: Sent, clock: bytes | None = None) -> Counts:
    """What becomes of messages that arrive now, after a minute of ordinary ones of pump-1 by a clock of that kind."""
    ordinary = [as_json(Path(), "pump-1", NOW_S - 60 + i) for i in range(60)]
    rows = [(value, {**({"clock": clock} if clock else {}), **header}) for value, header in [*ordinary, *sent]]
    arrival = [(NOW_S - 60 + min(i, 60)) * 10**9 + 5_000_000 for i in range(len(rows))]
    shard = Shard(FLEET.type_of)
    values, headers = [value for value, _ in rows], {i: header for i, (_, header) in enumerate(rows)}
    found = shard.push(Frames.of(values, headers=headers, arrival=arrival)).ledger.records
    assert found.total == len(rows)
    assert found.applied >= 60
    return found


@SHAPES
def test_a_time_an_hour_ahead_is_quarantined_by_the_clock_of_a_device_and_believed_of_a_trusted_one(
    shape: Shape, tmp_path: Path
) -> None:
    ahead = shape(tmp_path, "pump-1", NOW_S + HOUR)
    assert counts(ahead, clock=b"trusted").applied == 61
    if shape is not as_recording:  # a replay says that its clock is trusted
        assert counts(ahead, clock=b"device").quarantined == 1


@SHAPES
def test_a_burst_of_a_month_ago_is_late_where_newer_samples_came_and_applied_where_none_did(
    shape: Shape, tmp_path: Path
) -> None:
    assert counts(shape(tmp_path, "pump-1", NOW_S - MONTH)).late == 1
    assert counts(shape(tmp_path, "pump-2", NOW_S - MONTH)).applied == 61
