"""Decoding JSON: the compiled scanner and the judge agree to the bit, and one bad message costs only itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.decimals import read_number
from operators.decode import Decoder
from operators.decoded import Kind
from operators.definition import Signal, TwinType
from operators.frames import FAULT, Frames
from operators.roster import Roster
from operators.types import NO_SEQ, TICK, Quality
from tests.operators.wire_cases import T0, cut, decoder, message, sample, told

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALED = st.tuples(st.integers(0, 10**19), st.integers(-350, 320)).map(lambda p: f"-{p[0]}E{p[1]:+d}")
SPELLED = st.one_of(FINITE.map(repr), st.integers(0, 2**64).map(str), SCALED)
READING = st.one_of(FINITE, st.integers(-(10**25), 10**25), st.sampled_from([0.0, -0.0, 5e-324, 1e22, 1e23, 1.5]))
NAMES = st.sampled_from(
    ["temp", "speed", "imu", "q", "imu.0", "q.1", "who", "tem\\u0070", "é", "axis", "axis.2", "flow"]
)
VALUES = st.one_of(
    READING, st.lists(READING, max_size=4), st.sampled_from([None, True, "1", [1, [2]], [1, 0, 0, 0], -9999])
)
DEVICES = st.sampled_from(["arm-1", "arm-2", "pump-1", "ärm", "valve", "", "arm/1"])
TIMES = st.one_of(st.sampled_from([T0, 1700000000.25, "2023-11-14T22:13:20Z", 0, None, 1e400]), st.integers(1, 2 * T0))
MORE = st.fixed_dictionaries(
    {},
    optional={
        "ts": TIMES,
        "arrival": TIMES,
        "seq": st.sampled_from([0, 7, 2**63, -1, 1.5, "7"]),
        "boot": st.sampled_from(["a", "b", 3, "", None, "x" * 65]),
        "extra": VALUES,
    },
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A message, mostly good, keys in any order, in any spacing, sometimes broken."""
    fields = {"device": draw(DEVICES), "ts": T0, **draw(MORE)}
    if draw(st.booleans()):
        fields |= {"sensor": draw(NAMES), "v": draw(VALUES)}
    else:
        fields["signals"] = draw(st.dictionaries(NAMES, VALUES, max_size=3))
    order = draw(st.permutations(list(fields)))
    text = json.dumps(
        {k: fields[k] for k in order}, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    )
    raw = text.replace("\\\\u0070", "\\u0070").encode()
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = (
            raw[:at]
            + draw(st.sampled_from([b"", b" ", b"}", b'"', b"\\", b"\x00", b"0", b",", b"\xff"]))
            + raw[at + 1 :]
        )
    return raw


STREAMS = st.lists(
    st.one_of(lines(), st.sampled_from([b'{"tick": 1700000005}', message(report={"task": "lift"}, ts=T0)])), max_size=12
)


CLOCKS = st.lists(st.sampled_from([b"trusted", b"device", b"", None]), min_size=14, max_size=14)


def judged(frames: Frames) -> Frames:
    """The same messages, each of which the compiled scanner must leave to the judge."""
    return Frames(
        frames.partition, frames.buffer, frames.start, frames.end, frames.key_start, frames.key_end, frames.offset,
        frames.arrival, {row: {**frames.headers.get(row, {}), "kind": b""} for row in range(len(frames))},
        frames.end_offset,
    )  # fmt: skip


@given(stream=STREAMS, arrival=st.sampled_from([0, T0 + 5]), clocks=CLOCKS)
@settings(max_examples=100, deadline=None)
def test_the_scanner_and_the_judge_agree_to_the_bit(
    stream: list[bytes], arrival: int, clocks: list[bytes | None]
) -> None:
    known = [sample(), sample(device="pump-1", sensor="flow")]
    headers = {row: {"clock": c} for row, c in enumerate(clocks[: 2 + len(stream)]) if c is not None}
    frames = Frames.of([*known, *stream], arrival=arrival, headers=headers)
    assert told([decoder().push(frames)]) == told([decoder().push(judged(frames))])


@given(stream=STREAMS, bounds=st.lists(st.integers(0, 12), max_size=3), resume=st.booleans())
@settings(max_examples=60, deadline=None)
def test_batch_cuts_replays_and_restarts_change_nothing(stream: list[bytes], bounds: list[int], resume: bool) -> None:
    frames = Frames.of(stream, first_offset=40)
    whole, parts = decoder(), decoder()
    pushed = []
    for piece in cut(frames, [min(b, len(stream)) for b in bounds]):
        if resume:
            state, parts = parts.snapshot(), decoder()
            assert all(isinstance(a, np.ndarray) and a.dtype != object for a in state.values())
            parts.restore(state)
        pushed.append(parts.push(piece))
    assert told(pushed) == told([whole.push(frames)])


@given(value=SPELLED)
@settings(max_examples=60, deadline=None)
def test_a_compiled_number_is_the_nearest_float_or_none(value: str) -> None:
    read = read_number(value.encode())
    assert read is None or np.float64(read).view(np.int64) == np.float64(value).view(np.int64)


def test_both_shapes_become_rows_in_log_order() -> None:
    out = decoder().push(
        Frames.of(
            [
                message(ts=1700000000.5, signals={"temp": 20, "imu": [1, 2, 3]}, seq=4, boot="b", arrival=T0),
                sample("speed", 1.25, device="arm-2"),
                sample("flow", 3, device="pump-1"),
            ],
            arrival=T0 + 9,
        )
    )
    arm, pump = out.batches
    assert arm.series.tolist() == [0, 2, 3, 4, 10]
    assert arm.value.tolist() == [20.0, 1.0, 2.0, 3.0, 1.25]
    assert arm.ts.tolist() == [T0 + 500_000_000] * 4 + [T0]
    assert arm.arrival.tolist() == [T0] * 4 + [T0 + 9]
    assert (arm.seq.tolist(), arm.boot.tolist()) == ([4] * 4 + [NO_SEQ], [1] * 4 + [0])
    assert (pump.series.tolist(), pump.arrival.tolist()) == ([0], [T0 + 9])
    assert out.messages.rows.tolist() == [4, 1, 1]
    assert out.messages.trusted.tolist() == [True, True, False]


def test_a_tick_is_a_row_of_every_type_met_before_it() -> None:
    out = decoder().push(
        Frames.of([b'{"tick": 1700000001}', sample(), b'{"tick": 1700000002}', sample(device="pump-1", sensor="flow")])
    )
    assert out.batches[0].series.tolist() == [0, TICK]
    assert out.batches[0].arrival.tolist() == [T0, T0 + 2 * 10**9]
    assert out.batches[1].series.tolist() == [0]
    assert out.messages.kind.tolist() == [Kind.CONTROL, Kind.SAMPLES, Kind.CONTROL, Kind.SAMPLES]


def test_a_device_cannot_tick_for_its_neighbours() -> None:
    tick = b'{"tick": 1700000001}'
    out = decoder().push(Frames.of([tick, tick], keys=[b"arm-1", b"arm-1"], headers={1: {"kind": b"tick"}}))
    assert out.dead.reason == ["wrong_key"]
    assert out.messages.kind.tolist() == [Kind.REJECTED, Kind.CONTROL]


def test_without_ts_the_arrival_stands_in_and_is_flagged() -> None:
    line = message(sensor="temp", v=1)
    out = decoder().push(Frames.of([line, line, message(sensor="temp", v=1, arrival=T0)], arrival=[T0 + 7, 0, 0]))
    assert out.batches[0].ts.tolist() == [T0 + 7, T0]
    assert out.batches[0].quality.tolist() == [Quality.ARRIVAL_AS_TIME] * 2
    assert out.dead.reason == ["no_time"]


def test_unknown_signals_are_kept_aside_and_the_rest_is_applied() -> None:
    out = decoder().push(Frames.of([message(ts=T0, signals={"temp": 1, "lidar": 2, "pose": [3, 4]})]))
    assert out.batches[0].value.tolist() == [1.0]
    assert list(zip(out.aside.signal, out.aside.value, strict=True)) == [
        ("lidar", 2.0),
        ("pose.0", 3.0),
        ("pose.1", 4.0),
    ]
    assert out.messages.aside.tolist() == [3]


def test_a_report_is_checked_by_the_schema_of_its_type() -> None:
    good, bad = message(ts=T0, report={"task": "lift", "n": 1.5}), message(ts=T0, report={"task": 7})
    out = decoder().push(Frames.of([good, bad]))
    assert out.reports[0].document == {"task": "lift", "n": 1.5}
    assert out.dead.reason == ["bad_report"]
    assert out.messages.kind.tolist() == [Kind.REPORT, Kind.REJECTED]


def test_headers_can_carry_boot_sequence_and_clock() -> None:
    out = decoder().push(Frames.of([sample()], headers={0: {"seq": b"5", "boot": b"z", "clock": b"device"}}))
    assert (out.batches[0].seq.tolist(), out.batches[0].boot.tolist()) == ([5], [1])
    assert out.messages.trusted.tolist() == [False]


def test_a_definition_is_passed_on_as_it_came() -> None:
    out = decoder().push(Frames.of([b"anything"], headers={0: {"kind": b"definition"}}))
    assert [(c.offset, c.raw) for c in out.control] == [(0, b"anything")]


def test_a_sentinel_passes_the_range_check_and_is_flagged() -> None:
    out = decoder().push(Frames.of([sample(), sample(v=-9999)]))
    assert out.batches[0].quality.tolist() == [0, Quality.SENTINEL]


def test_a_million_made_up_names_cost_dead_letters_not_memory() -> None:
    decode = decoder(max_devices=3)
    out = decode.push(Frames.of([sample(device=f"arm-{i}") for i in range(50)]))
    assert out.dead.reason == ["too_many_devices"] * 47
    assert len(decode.roster) == 3


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_columns_grow_with_long_vectors(size: int) -> None:
    lines = [message(ts=T0, signals={"imu": [i, 2, 3], "speed": i, "temp": 1}) for i in range(size)]
    out = decoder().push(Frames.of(lines))
    assert len(out.batches[0]) == 5 * size
    assert not len(out.dead)


@pytest.mark.parametrize("fault", ["bad_compression", "bad_record"])
def test_a_record_that_the_source_could_not_read_is_a_dead_letter_between_good_neighbours(fault: str) -> None:
    good = b'{"device":"arm-1","ts":1700000000,"signals":{"a":1}}'
    frames = Frames.of([good, None, good], headers={1: {FAULT: fault.encode()}})
    out = Decoder(Roster(lambda name: TwinType("arm", 1, (Signal("a"),)))).push(frames)
    assert (out.dead.reason, out.dead.offset) == ([fault], [1])
    assert [Kind(k) for k in out.messages.kind] == [Kind.SAMPLES, Kind.REJECTED, Kind.SAMPLES]
