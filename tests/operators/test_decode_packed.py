"""Packed blocks: one block is many rows, taken whole or not at all, equal to the same values as JSON."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.arrow_guard import ArrowRefused, claim
from operators.frames import Frames, Headers
from operators.types import Quality
from tests.operators.wire_cases import (
    BLOCK_HEADERS,
    SCHEMA_HEADERS,
    STREAM_HEADERS,
    T0,
    block,
    cut,
    decoder,
    message,
    record_batch,
    sample,
    told,
)

TS = [T0, T0 + 1, T0 + 2]


def push(raw: bytes, headers: Headers = STREAM_HEADERS) -> list[str]:
    """Reasons given for a block between two good neighbours, which must pass."""
    out = decoder().push(Frames.of([sample(), raw, sample(v=7)], headers={1: headers}))
    assert out.batches[0].offset.tolist()[:1] + out.batches[0].offset.tolist()[-1:] == [0, 2]
    return out.dead.reason


def test_a_wide_block_is_rows_in_row_order_and_null_is_no_sample() -> None:
    raw = block(
        {"ts": TS, "temp": [1.0, None, 3.0], "imu": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], None], "lidar": [9, 9, None]}
    )
    out = decoder().push(Frames.of([raw], headers={0: {**STREAM_HEADERS, "seq": b"4", "boot": b"x"}}, arrival=T0 + 99))
    batch = out.batches[0]
    assert batch.series.tolist() == [0, 2, 3, 4, 2, 3, 4, 0]
    assert batch.value.tolist() == [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 3.0]
    assert batch.ts.tolist() == [T0] * 4 + [T0 + 1] * 3 + [T0 + 2]
    assert set(batch.arrival.tolist()) == {T0 + 99}
    assert (out.messages.rows.tolist(), out.messages.aside.tolist()) == ([8], [2])
    assert out.aside.ts == [T0, T0 + 1]


def test_a_long_block_is_put_in_order_of_time() -> None:
    raw = block({"ts": [T0 + 1, T0, T0 + 1], "signal": ["temp", "temp", "speed"], "value": [1.0, 2.0, 3.0]})
    batch = decoder().push(Frames.of([raw], headers={0: STREAM_HEADERS})).batches[0]
    assert (batch.series.tolist(), batch.value.tolist()) == ([0, 0, 1], [2.0, 1.0, 3.0])


def test_a_schema_sent_once_serves_the_blocks_after_it_and_a_restart() -> None:
    batch = record_batch({"ts": TS, "temp": [1.0, 2.0, 3.0]})
    schema, raw = batch.schema.serialize().to_pybytes(), batch.serialize().to_pybytes()
    frames = Frames.of(
        [raw, schema, raw, raw], headers={0: BLOCK_HEADERS, 1: SCHEMA_HEADERS, 2: BLOCK_HEADERS, 3: BLOCK_HEADERS}
    )
    whole = decoder().push(frames)
    assert whole.dead.reason == ["unknown_schema"]
    assert len(whole.batches[0]) == 6
    first, second = decoder(), decoder()
    parts = cut(frames, [2])
    pushed = [first.push(parts[0])]
    second.restore(first.snapshot())
    assert told([*pushed, second.push(parts[1])]) == told([whole])


def test_another_schema_under_a_taken_id_is_refused() -> None:
    one, two = (
        record_batch({"ts": TS, name: [1.0, 2.0, 3.0]}).schema.serialize().to_pybytes() for name in ("temp", "speed")
    )
    out = decoder().push(Frames.of([one, two, one], headers=dict.fromkeys(range(3), SCHEMA_HEADERS)))
    assert out.dead.reason == ["bad_block"]


@given(values=st.lists(st.tuples(st.integers(0, 50), st.floats(-40, 150)), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_a_block_equals_its_rows_sent_as_json(values: list[tuple[int, float]]) -> None:
    raw = block({"ts": [T0 + t for t, _ in values], "temp": [v for _, v in values]})
    packed = decoder().push(Frames.of([raw], headers={0: STREAM_HEADERS}, arrival=T0)).batches[0]
    plain = decoder().push(Frames.of([sample(v=v, ts=T0 + t) for t, v in values], arrival=T0)).batches[0]
    for name in ("series", "ts", "arrival", "quality"):
        assert getattr(packed, name).tolist() == getattr(plain, name).tolist()
    assert packed.value.tobytes() == plain.value.tobytes()


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint16(), pa.int64(), pa.float16(), pa.float32(), pa.float64()], ids=str
)
def test_every_number_type_is_read(kind: pa.DataType) -> None:
    raw = block({"ts": TS, "temp": pa.array(np.array([1, 2, 3], kind.to_pandas_dtype()), kind)})
    out = decoder().push(Frames.of([raw], headers={0: STREAM_HEADERS}))
    assert out.batches[0].value.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_every_unit_are_read(unit: str) -> None:
    raw = block(
        {
            "ts": pa.array([1_700_000_000], pa.int64()).cast(pa.timestamp("s", "UTC")).cast(pa.timestamp(unit, "UTC")),
            "temp": [1.0],
        }
    )
    assert decoder().push(Frames.of([raw], headers={0: STREAM_HEADERS})).batches[0].ts.tolist() == [T0]


def test_units_are_converted_at_the_edge_and_sentinels_are_not() -> None:
    raw = block({"ts": TS, "temp": [212.0, -9999.0, 32.0]}, units={"temp": "degF"})
    batch = decoder().push(Frames.of([raw], headers={0: STREAM_HEADERS})).batches[0]
    assert batch.value.round(9).tolist() == [100.0, -9999.0, 0.0]
    assert batch.quality.tolist() == [0, Quality.SENTINEL, 0]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"ts": TS, "temp": [1.0, float("nan"), 3.0]}, "bad_value"),
        ({"ts": TS, "temp": [True, False, True]}, "bad_value"),
        ({"ts": TS, "temp": ["1", "2", "3"]}, "bad_value"),
        ({"ts": TS, "temp": [1.0, 2.0, 151.0]}, "out_of_range"),
        ({"ts": TS, "imu": [[1.0, 2.0]] * 3}, "wrong_length"),
        ({"ts": TS, "imu": [1.0, 2.0, 3.0]}, "wrong_length"),
        ({"ts": TS, "temp": [[1.0], [2.0], [3.0]]}, "wrong_length"),
        ({"ts": TS, "q": [[1.0, 0.0, 0.0, 0.01], [1.0, 0.0, 0.0, 0.1], [0.0, 0.0, 0.0, 1.0]]}, "bad_quaternion"),
        ({"ts": [T0], "signal": ["q.0"], "value": [7.0]}, ""),
        ({"ts": [T0] * 4, "signal": ["q.0", "q.1", "q.2", "q.3"], "value": [1.0] * 4}, "bad_quaternion"),
        ({"ts": TS, "imu": [[1.0, 2.0, 3.0]] * 3, "imu.0": [1.0, 2.0, 3.0]}, "duplicate_key"),
        ({"ts": [T0, 0, T0], "temp": [1.0, 2.0, 3.0]}, "bad_time"),
        ({"ts": [T0, None, T0], "temp": [1.0, 2.0, 3.0]}, "bad_time"),
        ({"ts": [1.5, 2.5, 3.5], "temp": [1.0, 2.0, 3.0]}, "bad_time"),
        ({"temp": [1.0, 2.0, 3.0]}, "no_time"),
        ({"ts": TS}, "empty"),
        ({"ts": pa.array([], pa.int64()), "temp": pa.array([], pa.float64())}, "empty"),
        ({"ts": [T0] * 5001, "temp": [1.0] * 5001}, "too_large"),
        ({"ts": TS, "a\u202eb": [1.0, 2.0, 3.0]}, "bad_name"),
        ({"ts": [T0], "signal": ["temp"], "value": [None]}, "bad_value"),
        ({"ts": [T0], "signal": ["temp"], "value": [1.0], "temp": [1.0]}, "bad_shape"),
    ],
)
def test_a_bad_block_is_a_dead_letter_whole(columns: dict[str, object], reason: str) -> None:
    assert push(block(columns)) == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("unit", "reason"), [("bar", ["wrong_unit"]), ("furlong", ["wrong_unit"]), ("K", ["out_of_range"])]
)
def test_a_unit_of_another_kind_is_refused(unit: str, reason: list[str]) -> None:
    assert push(block({"ts": [T0], "temp": [20.0]}, units={"temp": unit})) == reason


def test_a_compression_bomb_is_refused_before_it_is_unpacked() -> None:
    batch = record_batch({"ts": TS, "temp": pa.array([[0.0] * 3_000_000, [1.0], [2.0]], pa.list_(pa.float64()))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    raw = sink.getvalue().to_pybytes()
    assert len(raw) < 10_000
    assert push(raw) == ["too_large"]


def test_a_compressed_block_of_ordinary_size_is_read() -> None:
    batch = record_batch({"ts": TS * 100, "temp": [1.0, 2.0, 3.0] * 100})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    assert push(sink.getvalue().to_pybytes()) == []


@given(at=st.integers(0, 400), junk=st.binary(max_size=4), keep=st.booleans())
@example(at=168, junk=b"\x80", keep=True)  # a column name that is no UTF-8
@settings(max_examples=60, deadline=None)
def test_a_damaged_block_never_crashes_nor_touches_its_neighbours(at: int, junk: bytes, keep: bool) -> None:
    raw = block({"ts": TS, "temp": [1.0, 2.0, 3.0]})
    at = min(at, len(raw))
    push(raw[:at] + junk + (raw[at + len(junk) :] if keep else b""))


def test_what_is_no_arrow_is_refused_with_the_place() -> None:
    with pytest.raises(ArrowRefused, match="byte 0"):
        claim(message(ts=T0, signals={}))
