"""Recordings made for tests, and what is in any recording, as plain values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from connectors.recordings.recording import Recording, open_recording
from operators.decode import Decoder
from operators.decoded import Decoded
from operators.definition import Fleet
from operators.definition_yaml import load_fleet
from operators.frames import Frames
from operators.roster import Roster

TWINS = Path(__file__).resolve().parent.parent.parent / "models" / "twins"
FLEET: Fleet = load_fleet(TWINS / "fleet.yaml", TWINS)
PUMP = """
recording: bench
kind: table
csv: {separator: ";"}
device: pump-{name}
time: {column: t}
signals:
  pressure: {column: P, unit: kPa}
  volume_flow: {column: Q, unit: l/min}
labels: [anomaly]
"""
ROVER = """
recording: r
kind: mcap
device: rover-1
time: {field: log_time}
signals: {odom.speed: {topic: /odom, field: v, unit: km/h}}
"""


def pump_csv(folder: Path, *rows: str, mapping: str = PUMP, name: str = "x.csv") -> Recording:
    """A CSV `t;P;Q;anomaly` and its mapping beside it."""
    path = folder / name
    path.write_text("\n".join(["t;P;Q;anomaly", *rows]) + "\n")
    path.with_name(name + ".mapping.yaml").write_text(mapping)
    return open_recording(path, type_of=FLEET.type_of)


def speeds_mcap(
    path: Path,
    speeds: Sequence[float | bytes],
    *,
    per_chunk: int = 2,
    compression: CompressionType = CompressionType.ZSTD,
) -> Path:
    """JSON messages {"v": speed}, or these bytes, on /odom, one a second from 2023-11-14T22:13:20Z."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=50 * per_chunk, compression=compression)
        writer.start()
        schema = writer.register_schema("speed", "jsonschema", b"{}")
        channel = writer.register_channel("/odom", "json", schema)
        for i, speed in enumerate(speeds):
            at = 1_700_000_000_000_000_000 + i * 1_000_000_000
            data = speed if isinstance(speed, bytes) else json.dumps({"v": speed}).encode()
            writer.add_message(channel, at, data.ljust(26), at)
        finish: Callable[[], None] = writer.finish
        finish()
    return path


def messages(recording: Recording) -> list[bytes]:
    """Everything a recording says."""
    return [message for piece in recording.pieces() for message in piece.messages()]


def trees(recording: Recording) -> list[dict[str, Any]]:
    """As `messages`, read."""
    return [json.loads(message) for message in messages(recording)]


def decoded(recording: Recording) -> Decoded:
    """A recording through the decoder of the flow."""
    sent = messages(recording)
    keys = [json.loads(m)["device"].encode() for m in sent]
    return Decoder(Roster(FLEET.type_of)).push(Frames.of(sent, keys=keys))
