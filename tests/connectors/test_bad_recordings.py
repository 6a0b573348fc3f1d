"""The column replay of docs/bad-input.md: each bad thing in a recording, between good neighbours."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from mcap.writer import CompressionType, Writer
from pyarrow import parquet

from connectors.recordings.recording import Recording, open_recording
from operators.decode import Decoder
from operators.errors import TwinflowError
from operators.frames import Frames
from operators.quality import Assess
from operators.roster import Roster
from operators.types import Quality
from tests.connectors.recording_files import FLEET

DOC = Path(__file__).parents[2] / "docs" / "bad-input.md"
TABLE = dict(re.findall(r"^\| (\d*[a-z]?) \| .* \| [^|]+ \| [^|]+ \| ([^|]+) \|$", DOC.read_text(), re.M))
T0 = 1_700_000_000
GOOD = 0.5
Make = Callable[[Path], Recording]
PUMP = """
recording: bench
kind: table
device_column: device
time: {column: t, format: unix_s}
signals:
  pressure: {column: P, unit: bar, optional: true}
"""
ROVER = """
recording: r
kind: mcap
device: rover-1
time: {field: log_time}
signals: {odom.speed: {topic: /odom, field: v, unit: m/s}}
"""
POSE = """
recording: pose
kind: table
device: rover-1
time: {column: t, format: unix_s}
signals: {odom.speed: {column: P, unit: m/s}, imu.orientation: {columns: [a, b, c, d]}}
"""


def table(*rows: str | bytes, header: str = "device,t,P", mapping: str = PUMP, name: str = "x.csv") -> Make:
    """A CSV of these rows between two good ones; `{t}` in a row is the time between theirs."""

    def make(folder: Path) -> Recording:
        cells = header.count(",") - 2
        first, last = (f"pump-1,{T0 + at},{GOOD}{',' * cells}" for at in (0, 99))
        if mapping is POSE:
            first, last = (f"{T0 + at},{GOOD},0,0,0,1" for at in (0, 99))
        raw = [row if isinstance(row, bytes) else row.replace("{t}", str(T0 + 50)).encode() for row in rows]
        content = b"\n".join([header.encode(), first.encode(), *raw, last.encode()]) + b"\n"
        return written(folder, name, gzip.compress(content, 1) if name.endswith(".gz") else content, mapping)

    return make


def written(folder: Path, name: str, content: bytes, mapping: str = PUMP) -> Recording:
    path = folder / name
    path.write_bytes(content)
    path.with_name(name + ".mapping.yaml").write_text(mapping)
    return open_recording(path, type_of=FLEET.type_of)


def container(*bad: bytes, encoding: str = "json", damage: Callable[[bytes], bytes] = bytes) -> Make:
    """An MCAP of these messages, each a chunk of its own, between two good ones."""

    def make(folder: Path) -> Recording:
        path = folder / "x.mcap"
        with path.open("wb") as file:
            writer = Writer(file, chunk_size=1, compression=CompressionType.NONE)
            writer.start()
            channel = writer.register_channel("/odom", encoding, writer.register_schema("s", "jsonschema", b"{}"))
            good = json.dumps({"v": GOOD}).encode()
            for i, data in enumerate([good, *bad, good]):
                writer.add_message(channel, (T0 + i) * 10**9, data, (T0 + i) * 10**9)
            finish: Callable[[], None] = writer.finish
            finish()
        return written(folder, "x.mcap", damage(path.read_bytes()), ROVER)

    return make


def parquet_bytes() -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table({"device": ["pump-1"], "t": [T0], "P": [GOOD]}), sink)
    return bytes(sink.getvalue())


def other_unit(unit: str) -> str:
    return PUMP.replace("unit: bar", f"unit: {unit}")


NO_SEQUENCE = None  # a recording has no sequence numbers, headers, keys or reports
CASES: dict[str, Make | None] = {
    "1a": container(b""),
    "1b": lambda folder: written(folder, "x.csv", b""),
    "2": table(b"pump-1,%d,2\xff" % T0),
    "3": table("pump-1,{t}"),
    "3b": container(damage=lambda content: content[: content.rindex(b'{"v"') + 2]),
    "3c": lambda folder: written(folder, "x.parquet", parquet_bytes()[:-60]),
    "4": container(b"[" * 100_000),
    "5": table("pump-1,{t},NaN"),
    "6": table("pump-1,{t},1e999"),
    "7a": table("pump-1,{t}," + "1" * 5000),
    "7b": table("pump-1," + "1" * 5000 + ",2"),
    "8a": table("pump-1,{t},2,3", header="device,t,P,P"),
    "8b": table(
        "{t},2,0,0,0,1",
        header="t,P,a,b,c,d",
        mapping=POSE.replace("signals: {", "signals: {imu.orientation.0: {column: a}, "),
    ),
    "9a": table(b"pump-\xed\xa0\x80,%d,2" % T0),
    "9b": table("pump-1,{t},2", mapping=PUMP.replace("pressure", '"pressure\\ud800"')),
    "10a": container(b'{"v": "2.5"}'),
    "10b": container(b'{"v": true}'),
    "10c": table("pump-1,{t},"),
    "11": table(",{t},2"),
    "12a": table("pump-1,{t},2,3", header="device,t,P,Z", mapping=PUMP + "  humidity: {column: Z}\n"),
    "12b": table("pump-1,{t},2,red", header="device,t,P,colour"),
    "12c": container(b"\x0a\x01", encoding="protobuf"),
    "13a": table("pump-1,0,2"),
    "13b": table("pump-1,-5,2"),
    "13c": table(f"pump-1,{T0 * 10**9},2"),
    "13d": table("pump-1,9214646400,2"),
    "13e": table("pump-1,,2"),
    "16": NO_SEQUENCE,
    "17a": NO_SEQUENCE,
    "17b": NO_SEQUENCE,
    "17c": NO_SEQUENCE,
    "17d": NO_SEQUENCE,
    "18a": table(mapping=other_unit("degC")),
    "18b": table("pump-1,{t},2", mapping=other_unit("bar")),
    "18c": table("pump-1,{t},451"),
    "19a": table("{t},2,0,0,0,0", header="t,P,a,b,c,d", mapping=POSE),
    "19b": table(header="t,P,a,b,c,d", mapping=POSE.replace("[a, b, c, d]", "[a, b]")),
    "19c": table(header="t,P,a,b,c,d", mapping=POSE.replace("columns: [a, b, c, d]", "column: a")),
    "20a": table("pump-1,{t},-9999", mapping=PUMP.replace("pressure: {column: P, unit: bar", "temperature: {column: P")
                 .replace("temperature: {column: P", "temperature: {column: P, unit: degC")),
    "20b": table("pump-1,{t},5e-324"),
    "20c": table(*(f"pump-1,{T0 + i},{GOOD}" for i in (40, 80)), mapping=PUMP.replace("pressure", "accelerometer_1_rms")
                 .replace("unit: bar", "unit: g")),
    "20d": table("pump-1,{t},9"),
    "21a": table("pump-1,{t}," + "1" * 2_000_000),
    "21b": table("pump-1,{t}," + "1" * 40_000_000, name="x.csv.gz"),
    "22a": table("../etc/passwd,{t},2"),
    "22b": table("pump-'; DROP TABLE x,{t},2"),
    "22c": table("pump-<script>,{t},2"),
    "22d": table("pump-\u202egpj,{t},2"),
    "22e": table("pump-" + "x" * 10_000 + ",{t},2"),
    "23": table("pump-one-too-many,{t},2"),
    "24a": lambda folder: written(folder, "x.csv", b"\x80\x04\x95!!python/object/apply:os.system [ls]"),
    "24b": table("pump-1,{t},2,3", header="device,t,P,__proto__"),
    "25": container(b'{"v": 2.5}', damage=lambda content: content.replace(b"2.5", b"9.5")),
    "k": None,
    "t": table("valve-1,{t},2"),
    "s": table("pump-1,{t},,,", header="device,t,P,Q,R"),
    "h": None,
    "b": None,
    "r": None,
}  # fmt: skip


def outcome(make: Make, folder: Path, *, devices: int) -> str:
    """What became of a recording, and that the good rows around came through."""
    try:
        recording = make(folder)
        sent = [message for piece in recording.pieces() for message in piece.messages()]
    except TwinflowError:
        return "refused"
    keys = [json.loads(message)["device"].encode() for message in sent]
    out = Decoder(Roster(FLEET.type_of, devices)).push(Frames.of(sent, keys=keys))
    assessed = Assess(FLEET.type_of(keys[0].decode()) or pytest.fail("no type")).push(out.batches[0]).batch
    last = recording.faults.counts["cut_off"] == 0
    assert assessed.offset[0] == 0 and GOOD in assessed.value[assessed.offset == 0].tolist()
    assert GOOD in assessed.value[assessed.offset == len(sent) - 1].tolist() or not last
    for kind in recording.faults.counts:
        assert recording.faults.total == 1
        return f"fault `{kind}`"
    if len(out.dead):
        return f"dead letter `{out.dead.reason[0]}`"
    between = (assessed.offset > 0) & (assessed.offset < len(sent) - 1)
    flags = int(assessed.quality[between].max(initial=0))
    if flags:
        return f"flag `{Quality(flags).name}`"
    if len(out.aside):
        return "kept aside"
    return "applied" if len(sent) > 2 else "no sample"


@pytest.mark.parametrize("case", list(CASES))
def test_each_row_of_the_table_has_the_outcome_it_names(case: str, tmp_path: Path) -> None:
    make = CASES[case]
    found = "-" if make is None else outcome(make, tmp_path, devices=1 if case == "23" else 10)
    assert found == TABLE[case]


def test_the_table_and_the_cases_name_the_same_rows() -> None:
    assert set(TABLE) == set(CASES)
