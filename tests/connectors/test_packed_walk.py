"""Packed blocks walked in compiled code: equal to the judge to the bit, harmless whatever the bytes claim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.fetched import frames_of
from connectors.record_batches import batch_headers
from operators.block_plans import Blocks
from operators.decode import Decoder
from operators.envelope import MESSAGE
from operators.frames import PACKED, READ, Frames
from operators.roster import Roster
from operators.signal_plan import Plan
from tests.connectors.batches import Sent, as_array, batch
from tests.operators.wire_cases import T0, decoder, record_batch, told, type_of

KINDS = [
    pa.float64(),
    pa.float32(),
    pa.int64(),
    pa.int32(),
    pa.int16(),
    pa.int8(),
    pa.uint32(),
    pa.uint16(),
    pa.uint8(),
]
SCALARS = ["temp", "speed", "q.0", "who"]
CLOCK = st.sampled_from([(), (("clock", b"trusted"),), (("clock", b"device"),)])
BOOT = st.sampled_from([(), (("boot", b"b1"),), (("boot", b"b2"),), (("boot", b""),)])


@st.composite
def blocks(draw: st.DrawFn) -> pa.RecordBatch:
    """A wide block of an arm, mostly good: any kind of number, nulls, vectors, units, quaternions."""
    rows = draw(st.integers(1, 5))
    unit = draw(st.sampled_from(["ns", "us", "ms", "s"]))
    ticks = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[unit]
    start = draw(st.sampled_from([T0, T0, T0, 0]))
    columns: dict[str, pa.Array] = {
        "ts": pa.array([start // ticks + i for i in range(rows)], pa.timestamp(unit, "UTC"))
    }
    units: dict[str, str] = {}
    number = st.one_of(st.integers(0, 100), st.just(None)) if draw(st.booleans()) else st.integers(0, 100)
    for name in draw(st.lists(st.sampled_from(SCALARS), unique=True, max_size=3)):
        kind = draw(st.sampled_from(KINDS))
        values: list[float | None] = list(draw(st.lists(number, min_size=rows, max_size=rows)))
        if kind == pa.float64() and draw(st.booleans()):
            values[0] = draw(st.sampled_from([-9999.0, float("nan"), 1e300, -0.0, 20.25]))
        columns[name] = pa.array(values, kind)
        if name == "temp":
            units[name] = draw(st.sampled_from(["degC", "degF", "m"]))
    if draw(st.booleans()):
        vector = st.one_of(st.lists(st.floats(-9, 9), min_size=3, max_size=3), st.just(None))
        columns["imu"] = pa.array(draw(st.lists(vector, min_size=rows, max_size=rows)), pa.list_(pa.float64(), 3))
    if draw(st.booleans()):
        turn = st.sampled_from([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 1.0]])
        columns["q"] = pa.array(draw(st.lists(turn, min_size=rows, max_size=rows)), pa.list_(pa.float64(), 4))
    names = draw(st.permutations(list(columns)))
    return record_batch({name: columns[name] for name in names}, None, units)


def sent(block: pa.RecordBatch, raws: list[bytes], more: tuple[tuple[str, bytes], ...]) -> list[Sent]:
    """The schema, then blocks of it, as a device sends them."""
    headers = (("content-type", MESSAGE.encode()), ("schema-id", b"s1"))
    schema = Sent(b"arm-1", block.schema.serialize().to_pybytes(), (*headers, ("kind", b"schema")))
    return [schema, *(Sent(b"arm-1", r, (*headers, ("seq", b"%d" % i), *more)) for i, r in enumerate(raws))]


def fetched(messages: list[Sent]) -> Frames:
    buffer = as_array(batch(messages))
    found = batch_headers(buffer)
    [frames] = frames_of(buffer, found, np.ones(len(found), np.bool_), partition=0, first_offset=0)
    return frames


class Counting(Blocks):
    """Counts the blocks that went to the judge."""

    judged = 0

    def prepare(self, name: str, schema: pa.Schema, type_number: int, plan: Plan) -> bool:
        self.judged += 1
        return super().prepare(name, schema, type_number, plan)


def judged(frames: Frames) -> Frames:
    """The same, of which each block must be left to the judge."""
    return replace(frames, notes=None, told=None, headers=dict(frames.headers))


@given(block=blocks(), more=st.tuples(CLOCK, BOOT))
@settings(max_examples=150, deadline=None)
def test_the_walk_and_the_judge_agree_to_the_bit(
    block: pa.RecordBatch, more: tuple[tuple[tuple[str, bytes], ...], tuple[tuple[str, bytes], ...]]
) -> None:
    raw = block.serialize().to_pybytes()
    frames = fetched(sent(block, [raw] * 3, more[0] + more[1]))
    assert frames.notes is not None and frames.notes.tolist()[0] == READ and frames.notes.min() >= READ
    assert told([decoder().push(frames)]) == told([decoder().push(judged(frames))])


@given(block=blocks(), at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_a_damaged_block_is_judged_as_ever_or_reads_as_the_whole_one_and_its_neighbours_stay(
    block: pa.RecordBatch, at: int, byte: int, cut: int
) -> None:
    raw = block.serialize().to_pybytes()
    hurt = bytearray(raw)
    hurt[at % len(raw)] = byte
    short = raw[: len(raw) - cut]
    frames, whole = (fetched(sent(block, [raw, one, raw, short, raw], ())) for one in (bytes(hurt), raw))
    found = told([decoder().push(frames)])
    # a byte of the metadata that nothing depends on may be wrong: then the block reads as if it were right
    assert found == told([decoder().push(judged(frames))]) or found == told([decoder().push(judged(whole))])


def test_a_plain_block_of_a_known_device_is_not_left_to_the_judge() -> None:
    block = record_batch({"ts": pa.array([T0, T0 + 1], pa.timestamp("ns")), "temp": [1.0, None], "speed": [2.0, 3.0]})
    raw = block.serialize().to_pybytes()
    frames = fetched(sent(block, [raw] * 5, (("clock", b"device"),)))
    assert frames.notes is not None and frames.notes[1] > PACKED
    reading, asked = Decoder(Roster(type_of)), Counting()
    reading.blocks = asked
    out = reading.push(frames)
    assert out.batches[0].value.tolist() == [1.0, 2.0, 3.0] * 5
    assert out.messages.trusted.tolist() == [True] + [False] * 5
    assert asked.judged == 1
