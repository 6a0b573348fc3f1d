"""The table of docs/bad-input.md, row by row, as JSON and as packed blocks, between good neighbours."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from operators.decode import Decoder
from operators.dedupe import Dedupe
from operators.envelope import MESSAGE
from operators.frames import Frames, Headers
from operators.quality import Assess
from operators.roster import Roster
from operators.types import Quality
from tests.operators.wire_cases import ARM, STREAM_HEADERS, T0, block, message, sample

DOC = Path(__file__).parents[2] / "docs" / "bad-input.md"
TABLE = {
    case: (plain, packed)
    for case, plain, packed in re.findall(
        r"^\| (\d*[a-z]?) \| .* \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", DOC.read_text(), re.M
    )
}
KIND = replace(ARM, signals=(replace(ARM.signals[0], stuck_after_ns=10**9), *ARM.signals[1:]))
Sent = tuple[bytes | None, Headers] | tuple[bytes | None, Headers, bytes]


def j(v: Any = 20.5, **more: Any) -> list[Sent]:
    return [(sample(v=v, **more), {})]


def raw(value: bytes | None, **headers: bytes) -> list[Sent]:
    return [(value, {k.replace("_", "-"): v for k, v in headers.items()})]


def p(columns: dict[str, Any] | None = None, units: dict[str, str] | None = None, **headers: bytes) -> list[Sent]:
    given = {k.replace("_", "-"): v for k, v in headers.items()}
    return [(block({"ts": [T0], **(columns or {"temp": [20.5]})}, units=units), {**STREAM_HEADERS, **given})]


def text(find: bytes, put: bytes) -> list[Sent]:
    assert find in sample()
    return [(sample().replace(find, put), {})]


def deep() -> pa.Array:
    array = pa.array([1.0])
    for _ in range(40):
        array = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), array)
    return array


def twice() -> bytes:
    schema = pa.schema([("ts", pa.int64()), ("temp", pa.float64()), ("temp", pa.float64())])
    batch = pa.record_batch([pa.array([T0]), pa.array([1.0]), pa.array([2.0])], schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def not_utf8() -> pa.Array:
    offsets = pa.py_buffer(b"\0\0\0\0\x02\0\0\0")
    return pa.StringArray.from_buffers(1, offsets, pa.py_buffer(b"\xff\xfe"))


DIGITS = b"1" * 5000
LONG = "arm-" + "x" * 10_000
CASES: dict[str, tuple[list[Sent] | None, list[Sent] | None]] = {
    "1a": (raw(None), [(None, STREAM_HEADERS)]),
    "1b": (raw(b""), [(b"", STREAM_HEADERS)]),
    "2": (text(b"temp", b"te\xffmp"), p({"signal": not_utf8(), "value": [1.0]})),
    "3": ([(sample()[:-5], {})], [(block({"ts": [T0], "temp": [1.0]})[:200], STREAM_HEADERS)]),
    "3b": (None, None),
    "3c": (None, None),
    "4": (raw(b"[" * 100_000), p({"temp": deep()})),
    "5": (text(b"20.5", b"NaN"), p({"temp": [float("nan")]})),
    "6": (text(b"20.5", b"1e999"), p({"temp": [float("inf")]})),
    "7a": (text(b"20.5", DIGITS), None),
    "7b": (text(str(T0).encode(), DIGITS), None),
    "8a": (text(b'"v"', b'"v": 1, "v"'), [(twice(), STREAM_HEADERS)]),
    "8b": (raw(message(ts=T0, signals={"imu": [1, 2, 3], "imu.1": 2})), p({"imu": [[1.0, 2.0, 3.0]], "imu.1": [2.0]})),
    "9a": (text(b"arm-1", b"arm\\ud800"), None),
    "9b": (text(b"temp", b"temp\\ud800"), None),
    "10a": (j("20.5"), p({"temp": ["20.5"]})),
    "10b": (j(True), p({"temp": [True]})),
    "10c": (j(None), p({"temp": pa.array([None], pa.float64())})),
    "11": (text(b'"device"', b'"devise"'), p(device=b"")),
    "12a": (j(sensor="lidar"), p({"lidar": [1.0]})),
    "12b": (j(colour="red"), None),
    "12c": (j(schema=2), p(content_type=MESSAGE.encode(), schema_id=b"never")),
    "13a": (j(ts=0), p({"ts": [0], "temp": [1.0]})),
    "13b": (j(ts=-T0), p({"ts": [-T0], "temp": [1.0]})),
    "13c": (j(ts=T0), p({"ts": [T0], "temp": [1.0]})),
    "13d": (j(ts=9_214_646_400), p({"ts": [9_214_646_400], "temp": [1.0]})),
    "13e": (raw(message(sensor="temp", v=1)), [(block({"temp": [1.0]}), STREAM_HEADERS)]),
    "16": (
        j(seq=5, boot="a") + j(21, seq=5, boot="a"),
        p(seq=b"5", boot=b"a") + p({"temp": [1.0]}, seq=b"5", boot=b"a"),
    ),
    "17a": (j(seq=9, boot="a") + j(seq=0, boot="b"), p(seq=b"9", boot=b"a") + p(seq=b"0", boot=b"b")),
    "17b": (j(seq=9000) + j(seq=0), p(seq=b"9000") + p(seq=b"0")),
    "17c": (j(seq=1) + j(seq=4), p(seq=b"1") + p(seq=b"4")),
    "17d": (j(seq=-1), p(seq=b"1.5")),
    "18a": (None, p(units={"temp": "bar"})),
    "18b": (None, p(units={"temp": "degF"})),
    "18c": (j(451), p({"temp": [451.0]})),
    "19a": (j([0, 0, 0, 0], sensor="q"), p({"q": [[0.0] * 4]})),
    "19b": (j([1, 2], sensor="imu"), p({"imu": [[1.0, 2.0]]})),
    "19c": (j(1, sensor="imu"), p({"imu": [1.0]})),
    "20a": (j(-9999), p({"temp": [-9999.0]})),
    "20b": (j(5e-324), p({"temp": [5e-324]})),
    "20c": (j(ts=T0) + j(ts=T0 + 2 * 10**9), p({"ts": [T0, T0 + 2 * 10**9], "temp": [1.0, 1.0]})),
    "20d": (j(100), p({"temp": [100.0]})),
    "21a": (raw(b" " * 2_000_000 + sample()), [(bytes(2_000_000), STREAM_HEADERS)]),
    "21b": (None, p({"ts": [T0] * 5001, "temp": [1.0] * 5001})),
    "22a": (j(device="../etc/passwd"), p(device=b"../etc/passwd")),
    "22b": (j(device="arm'; DROP TABLE x"), p(device=b"arm'; DROP TABLE x")),
    "22c": (j(device="arm<script>"), p(device=b"arm<script>")),
    "22d": (j(device="arm\u202egpj"), p(device="arm\u202egpj".encode())),
    "22e": (j(device=LONG), p(device=LONG.encode())),
    "23": (j(device="arm-one-too-many"), p(device=b"arm-one-too-many")),
    "24a": (raw(b"!!python/object/apply:os.system [ls]"), [(b"\x80\x04\x95!!python", STREAM_HEADERS)]),
    "24b": (raw(b'{"__proto__": {"x": 1}, ' + sample()[1:]), None),
    "25": (raw(sample(), x=b"last"), p(x=b"last")),
    "k": ([(sample(), {}, b"arm-9")], [(*p()[0][:2], b"arm-9")]),
    "t": (j(device="valve-1"), p(device=b"valve-1")),
    "s": (raw(message(ts=T0)), [(block({"ts": [T0]}), STREAM_HEADERS)]),
    "h": (raw(sample(), content_type=b"text/csv"), p(kind=b"gossip")),
    "b": (j(boot="x" * 65), p(boot=b"x" * 65)),
    "r": (raw(message(ts=T0, report={"task": 7})), None),
}


def outcome(sent: list[Sent], *, devices: int) -> str:
    """What became of the messages, and that both neighbours passed untouched."""
    values = [sample(device="arm-0", v=1), *(s[0] for s in sent), sample(device="arm-0", v=2)]
    keys = [None, *(s[2] if len(s) > 2 else None for s in sent), None]
    headers = {i + 1: s[1] for i, s in enumerate(sent) if s[1]}
    out = Decoder(Roster(lambda name: KIND if name.startswith("arm") else None, devices)).push(
        Frames.of(values, keys=keys, headers=headers)
    )
    deduped = Dedupe(9).push(out.batches[0], out.messages.of_type(0))
    assessed = Assess(KIND).push(deduped.batch)
    last = len(values) - 1
    good = [
        (int(o), float(v)) for o, v in zip(assessed.batch.offset, assessed.batch.value, strict=True) if o in (0, last)
    ]
    assert good == [(0, 1.0), (last, 2.0)]
    assert len(out.messages) == len(values)
    if len(out.dead):
        assert out.dead.offset == [last - 1]
        return f"dead letter `{out.dead.reason[0]}`"
    flags = int(assessed.batch.quality.max())
    if flags:
        return f"flag `{Quality(flags).name}`"
    if deduped.duplicate_messages.any():
        return "duplicate"
    return "gap" if len(deduped.gaps) else "kept aside" if len(out.aside) else "applied"


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("shape", [0, 1], ids=["json", "packed"])
def test_each_row_of_the_table_has_the_outcome_it_names(case: str, shape: int) -> None:
    sent = CASES[case][shape]
    if sent is None:
        assert TABLE[case][shape] == "-"
    else:
        assert outcome(sent, devices=1 if case == "23" else 10) == TABLE[case][shape]


def test_the_table_and_the_cases_name_the_same_rows() -> None:
    assert set(TABLE) == set(CASES)
    assert {int(n) for n in re.findall(r"^\| (\d+)[a-z]? \|", DOC.read_text(), re.M)} == set(range(1, 26))
