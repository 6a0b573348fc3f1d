"""Golden messages: bytes a producer in any language can send, and what they must be read as.

Rewrite after a change of the contract: `python -m tests.operators.test_wire_golden`, then read the difference.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from operators.definition import TwinType
from operators.frames import Frames
from tests.operators.wire_cases import (
    ARM,
    BLOCK_HEADERS,
    SCHEMA_HEADERS,
    STREAM_HEADERS,
    T0,
    block,
    decoder,
    record_batch,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"
ROWS: dict[str, Any] = {"ts": [T0, T0 + 10**7], "temp": [68.0, None], "imu": [[0.0, 0.25, 9.75], [0.5, 0.25, 9.5]]}
LONG: dict[str, Any] = {"ts": [T0, T0], "signal": ["temp", "speed"], "value": [20.5, 1.25]}


def cases() -> dict[str, list[tuple[bytes, dict[str, bytes]]]]:
    """Values and headers by case; the last message of a case is the one it is about."""
    batch = record_batch(ROWS, units={"temp": "degF"})
    schema = (batch.schema.serialize().to_pybytes(), SCHEMA_HEADERS)
    wide = block(ROWS, {"device": "arm-1", "boot": "b-1"}, {"temp": "degF"})
    return {
        "signals": [(b'{"device":"arm-1","ts":1700000000.123456789,"signals":{"temp":20.5,"imu":[0,0.25,9.75]}}', {})],
        "sensor": [(b'{"device":"arm-1","sensor":"temp","ts":1700000000123,"v":20.5,"seq":7,"boot":"b-1"}', {})],
        "vector": [(b'{ "v": [1, 0, 0, 0], "sensor": "q", "device": "arm-1", "ts": "2023-11-14T22:13:20.5Z" }', {})],
        "arrival": [(b'{"device":"arm-1","sensor":"temp","v":-9999,"arrival":1700000000}', {})],
        "report": [(b'{"device":"arm-1","ts":1700000000,"report":{"task":"lift","done":0.5}}', {})],
        "tick": [(b'{"device":"arm-1","ts":1,"sensor":"temp","v":1}', {}), (b'{"tick":1700000005}', {"kind": b"tick"})],
        "unknown": [(b'{"device":"arm-1","ts":1700000000,"signals":{"temp":1,"lidar":[2,3]}}', {})],
        "refused": [(b'{"device":"arm-1","ts":1700000000,"signals":{"temp":1,"speed":NaN}}', {})],
        "stream": [(wide, {"content-type": STREAM_HEADERS["content-type"], "seq": b"7"})],
        "stream_long": [(block(LONG, {"unit.speed": "km/h"}), STREAM_HEADERS)],
        "message": [schema, (batch.serialize().to_pybytes(), BLOCK_HEADERS)],
    }  # fmt: skip


def reading(sent: list[tuple[bytes, dict[str, bytes]]], twin_type: TwinType = ARM) -> dict[str, Any]:
    """What decode makes of the messages, names spelled out."""
    out = decoder().push(Frames.of([v for v, _ in sent], headers={i: h for i, (_, h) in enumerate(sent) if h}))
    rows = []
    for batch in out.batches:
        for i in range(len(batch)):
            series = int(batch.series[i])
            signal = twin_type.signals[series % len(twin_type.signals)].name if series >= 0 else "(tick)"
            whole = {n: int(getattr(batch, n)[i]) for n in ("ts", "arrival", "quality", "seq", "boot", "offset")}
            rows.append({"signal": signal, "value": float(batch.value[i]), **whole})
    return {
        "headers": [{k: v.decode() for k, v in h.items()} for _, h in sent],
        "samples": rows,
        "aside": [[n, v] for n, v in zip(out.aside.signal, out.aside.value, strict=True)],
        "reports": [r.document for r in out.reports],
        "dead": out.dead.reason,
    }


def stored(case: str) -> list[tuple[bytes, dict[str, bytes]]]:
    """The golden messages of a case."""
    headers = json.loads((GOLDEN / f"{case}.json").read_text())["headers"]
    return [
        ((GOLDEN / f"{case}.{i}.bin").read_bytes(), {k: v.encode() for k, v in h.items()})
        for i, h in enumerate(headers)
    ]


@pytest.mark.parametrize("case", sorted(cases()))
def test_golden_bytes_are_read_as_written_down(case: str) -> None:
    assert reading(stored(case)) == json.loads((GOLDEN / f"{case}.json").read_text())


def test_arrow_itself_reads_the_golden_stream() -> None:
    table = pa.ipc.open_stream((GOLDEN / "stream.0.bin").read_bytes()).read_all()
    assert table.column("temp").to_pylist() == [68.0, None]
    assert table.schema.field("temp").metadata == {b"unit": b"degF"}


def main() -> None:
    """Write the golden files anew."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for case, sent in cases().items():
        for i, (value, _) in enumerate(sent):
            (GOLDEN / f"{case}.{i}.bin").write_bytes(value)
        (GOLDEN / f"{case}.json").write_text(json.dumps(reading(sent), indent=1) + "\n")


if __name__ == "__main__":
    main()
