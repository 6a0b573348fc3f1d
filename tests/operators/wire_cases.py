"""Twin types, messages and packed blocks for the tests of decode and what follows it."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from operators.decode import Decoder
from operators.decoded import Decoded
from operators.definition import SECOND, Signal, TwinType, Vector
from operators.envelope import MESSAGE, STREAM
from operators.frames import Frames
from operators.roster import Roster
from operators.types import Batch

Columns: TypeAlias = Mapping[str, Any]
Texts: TypeAlias = Mapping[str, str]
T0 = 1_700_000_000 * SECOND
ARM = TwinType(
    "arm",
    1,
    (
        Signal("temp", unit="degC", low=-40.0, high=150.0, sentinels=(-9999.0,), normal_high=90.0),
        Signal("speed", unit="m/s"),
        *(Signal(f"imu.{i}", unit="m/s^2") for i in range(3)),
        *(Signal(f"q.{i}") for i in range(4)),
    ),
    vectors=(Vector("imu", 3), Vector("q", 4, unit_norm=True)),
    report={"type": "object", "properties": {"task": {"type": "string"}}, "required": ["task"]},
)
PUMP = TwinType("pump", 1, (Signal("flow"), Signal("temp"), Signal("axis.0"), Signal("axis.1")), clock="device")


def type_of(name: str) -> TwinType | None:
    """Arms and pumps; all else is unknown."""
    return PUMP if name.startswith("pump") else ARM if name.startswith(("arm", "ärm")) else None


def decoder(max_devices: int = 1000) -> Decoder:
    """A fresh one for arms and pumps."""
    return Decoder(Roster(type_of, max_devices))


def message(device: str = "arm-1", **fields: Any) -> bytes:
    """One JSON message."""
    return json.dumps({"device": device, **fields}).encode()


def sample(sensor: str = "temp", v: Any = 20.5, ts: Any = T0, device: str = "arm-1", **more: Any) -> bytes:
    """One message of the sensor shape."""
    return message(device, sensor=sensor, ts=ts, v=v, **more)


def block(columns: Columns, meta: Texts | None = None, units: Texts | None = None) -> bytes:
    """A self-contained Arrow stream."""
    batch = record_batch(columns, meta, units)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def record_batch(columns: Columns, meta: Texts | None = None, units: Texts | None = None) -> pa.RecordBatch:
    """A record batch with units per field."""
    arrays = [c if isinstance(c, pa.Array) else pa.array(c) for c in columns.values()]
    fields = [
        pa.field(name, array.type, metadata={"unit": units[name]} if units and name in units else None)
        for name, array in zip(columns, arrays, strict=True)
    ]
    return pa.record_batch(arrays, schema=pa.schema(fields, metadata=dict(meta or {})))


STREAM_HEADERS = {"content-type": STREAM.encode(), "device": b"arm-1"}
BLOCK_HEADERS = {"content-type": MESSAGE.encode(), "schema-id": b"s1", "device": b"arm-1"}
SCHEMA_HEADERS = {"content-type": MESSAGE.encode(), "schema-id": b"s1", "kind": b"schema"}


def cut(frames: Frames, bounds: Sequence[int]) -> list[Frames]:
    """The same messages in several frames."""
    edges = [0, *sorted(bounds), len(frames)]
    return [
        Frames(
            frames.partition, frames.buffer, frames.start[a:b], frames.end[a:b], frames.key_start[a:b],
            frames.key_end[a:b], frames.offset[a:b], frames.arrival[a:b],
            {row - a: h for row, h in frames.headers.items() if a <= row < b}, frames.end_offset,
        )
        for a, b in pairwise(edges)
    ]  # fmt: skip


def told(pushed: Sequence[Decoded]) -> dict[str, Any]:
    """All that pushes gave, values as their bits, so that equal means equal bytes."""
    types = max((len(d.batches) for d in pushed), default=0)
    batches = [Batch.join([d.batches[t] for d in pushed if t < len(d.batches)]) for t in range(types)]
    columns = ("series", "ts", "arrival", "quality", "seq", "boot", "offset")
    facts = ("offset", "kind", "type", "device", "seq", "boot", "rows", "aside", "trusted")
    return {
        "batches": [[getattr(b, c).tolist() for c in columns] + [b.value.view(np.int64).tolist()] for b in batches],
        "messages": [np.concatenate([getattr(d.messages, f) for d in pushed]).tolist() for f in facts],
        "dead": [row for d in pushed for row in zip(d.dead.offset, d.dead.reason, d.dead.detail, d.dead.raw, d.dead.key,
                                                    d.dead.samples, strict=True)],
        "aside": [row for d in pushed for row in zip(d.aside.offset, d.aside.device, d.aside.signal, d.aside.ts,
                                                     d.aside.value, strict=True)],
        "reports": [r for d in pushed for r in d.reports],
        "control": [c for d in pushed for c in d.control],
    }  # fmt: skip
