"""Walking record batches: equal to kafka-python's own reader, and harmless whatever the bytes claim."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.util import calc_crc32c

from connectors.crc32c import TABLES, crc32c
from connectors.decompress import LIMIT_BYTES
from connectors.fetched import frames_of
from connectors.record_batches import CONTROL, LOG_APPEND_TIME, batch_headers
from operators.compiled import kernel
from operators.envelope import note
from operators.frames import FAULT, READ, Frames
from operators.types import U8
from tests.connectors.batches import (
    NOW_MS,
    SENT,
    Message,
    Sent,
    as_array,
    batch,
    by_kafka_python,
    messages,
    next_base,
    sealed,
)

BATCHES = st.lists(st.tuples(st.lists(SENT, min_size=1, max_size=6), st.sampled_from([0, 0, 1, 3, 4])), max_size=4)
HEADER = 61


def fetched(groups: list[tuple[list[Sent], int]], first: int = 0) -> bytes:
    raw, base = b"", first
    for sent, codec in groups:
        one = batch(sent, base=base, codec=codec)
        raw, base = raw + one, next_base(one)
    return raw


def frames(raw: bytes | U8, first_offset: int = 0, limit: int = LIMIT_BYTES) -> list[Frames]:
    buffer = as_array(raw) if isinstance(raw, bytes) else raw
    found = batch_headers(buffer)
    assert found.sound.all()
    take = (found.attributes & CONTROL) == 0
    return (
        list(frames_of(buffer, found, take, partition=0, first_offset=first_offset, limit=limit)) if len(found) else []
    )


def walked(raw: bytes | U8, first_offset: int = 0, limit: int = LIMIT_BYTES) -> list[Message]:
    return [m for one in frames(raw, first_offset, limit) for m in messages(one)]


checksum = kernel(crc32c)


@given(st.binary(max_size=100), st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_the_checksum_equals_kafka_pythons(data: bytes, start: int) -> None:
    start = min(start, len(data))
    assert checksum(as_array(data + b"\0"), start, len(data), TABLES) == calc_crc32c(data[start:])


@given(BATCHES, st.integers(0, 1 << 40))
@settings(max_examples=60, deadline=None)
def test_the_walk_finds_what_kafka_python_finds(groups: list[tuple[list[Sent], int]], first: int) -> None:
    raw = fetched(groups, first)
    assert walked(raw) == by_kafka_python(raw)


@given(BATCHES, st.data())
@settings(max_examples=40, deadline=None)
def test_reading_from_the_middle_is_the_rest_of_reading_all(
    groups: list[tuple[list[Sent], int]], data: st.DataObject
) -> None:
    raw = fetched(groups, 100)
    whole = by_kafka_python(raw)
    first = data.draw(st.integers(100, 100 + 3 * len(whole) + 1))
    assert walked(raw, first) == [m for m in whole if m.offset >= first]


@given(BATCHES.filter(bool), st.data())
@settings(max_examples=40, deadline=None)
def test_a_cut_off_last_batch_is_left_alone(groups: list[tuple[list[Sent], int]], data: st.DataObject) -> None:
    raw, before = fetched(groups), fetched(groups[:-1])
    cut = data.draw(st.integers(len(before), len(raw) - 1))
    assert walked(raw[:cut]) == by_kafka_python(before)


@given(BATCHES.filter(bool), st.data())
@settings(max_examples=60, deadline=None)
def test_any_flipped_bit_that_the_checksum_covers_is_seen(
    groups: list[tuple[list[Sent], int]], data: st.DataObject
) -> None:
    raw = bytearray(fetched(groups))
    size = 12 + struct.unpack_from(">i", raw, 8)[0]
    at = data.draw(st.integers(16, size - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    assert not batch_headers(as_array(bytes(raw))).sound[0]


@given(st.lists(SENT, min_size=1, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_lies_under_a_sound_checksum_end_as_rows_that_say_so(sent: list[Sent], data: st.DataObject) -> None:
    raw = bytearray(batch(sent, base=7))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(HEADER, len(raw) - 1))] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]))
    lying = sealed(raw)
    [one] = frames(lying)
    assert len(one) == len(sent)
    assert (np.diff(one.offset) > 0).all()
    assert one.offset[0] >= 7
    assert one.offset[-1] < one.end_offset == next_base(lying)
    for start, end in ((one.start, one.end), (one.key_start, one.key_end)):
        assert ((start == -1) | ((start >= HEADER) & (start <= end) & (end <= len(lying)))).all()
    try:
        told = by_kafka_python(lying)
    except Exception:
        told = []
    if told and walked(lying) != told:  # stricter than kafka-python: offsets that repeat or leave the batch
        assert any(FAULT in h for h in one.headers.values())


@given(st.lists(SENT, min_size=1, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_what_lies_around_a_batch_does_not_change_its_rows(sent: list[Sent], data: st.DataObject) -> None:
    raw = bytearray(batch(sent))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(HEADER, len(raw) - 1))] = data.draw(st.integers(0, 255))
    lying = sealed(raw)
    inside = [np.concatenate([as_array(lying), np.full(11, fill, np.uint8)]) for fill in (0, 2, 255)]
    assert walked(inside[0]) == walked(inside[1]) == walked(inside[2]) == walked(lying)


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_random_bytes_are_never_sound(data: bytes) -> None:
    assert not batch_headers(as_array(data)).sound.any()


@given(st.binary(max_size=120), st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), st.integers(0, 15))
@settings(max_examples=60, deadline=None)
def test_random_records_under_a_sound_header_cost_no_more_than_their_bytes(
    records: bytes, count: int, delta: int, attributes: int
) -> None:
    raw = bytearray(batch([Sent(None, b"")])[:HEADER] + records)
    struct.pack_into(">i", raw, 8, len(raw) - 12)
    struct.pack_into(">h", raw, 21, attributes)
    struct.pack_into(">i", raw, 23, delta)
    struct.pack_into(">i", raw, 57, count)
    found = batch_headers(as_array(sealed(raw)))
    if attributes & 7 == 0 and count > len(records) // 7:
        assert not found.sound[0]
    elif count <= delta + 1 and count < 1000:
        rows = walked(sealed(raw))
        assert len(rows) == count


@pytest.mark.parametrize(
    ("at", "kind", "value"),
    [(8, ">i", 3), (8, ">i", -1), (23, ">i", -1), (57, ">i", -1), (57, ">i", 3), (57, ">i", 2**31 - 1), (0, ">q", -5)],
)
def test_a_header_that_contradicts_itself_is_not_sound(at: int, kind: str, value: int) -> None:
    raw = bytearray(batch([Sent(None, b"x"), Sent(None, b"y")]))
    struct.pack_into(kind, raw, at, value)
    found = batch_headers(as_array(sealed(raw)))
    assert found.sound.tolist() == [False]


def test_offsets_that_go_back_are_not_sound() -> None:
    one = batch([Sent(None, b"x")] * 3, base=10)
    assert batch_headers(as_array(one + one)).sound.tolist() == [True, False]


def test_a_batch_that_compaction_emptied_moves_the_end_on() -> None:
    raw = bytearray(batch([Sent(None, b"x")] * 3, base=10)[:HEADER])
    struct.pack_into(">i", raw, 8, len(raw) - 12)
    struct.pack_into(">i", raw, 57, 0)
    for attributes in (0, 3):
        raw[22] = attributes
        after = batch([Sent(b"k", b"y")], base=20)
        assert [(len(f), f.end_offset) for f in frames(sealed(raw))] == [(0, 13)]
        assert [m.offset for m in walked(sealed(raw) + after)] == [20]


def test_a_record_in_the_middle_that_lies_leaves_its_neighbours() -> None:
    raw = bytearray(batch([Sent(b"k", b"a"), Sent(b"k", b"b"), Sent(b"k", b"c")], base=5))
    second = HEADER + (len(raw) - HEADER) // 3
    raw[second + 4] = 120  # its key claims 60 bytes
    rows = walked(sealed(raw))
    assert [m.value for m in rows] == [b"a", None, b"c"]
    assert [m.headers for m in rows] == [{}, {FAULT: b"bad_record"}, {}]
    assert [m.offset for m in rows] == [5, 6, 7]


def test_a_record_whose_own_length_lies_takes_those_behind_it_along() -> None:
    raw = bytearray(batch([Sent(b"k", b"a"), Sent(b"k", b"b"), Sent(b"k", b"c")], base=5) + b"")
    raw[HEADER + (len(raw) - HEADER) // 3] = 126  # claims 63 bytes
    rows = walked(sealed(raw) + batch([Sent(None, b"next")], base=8))
    assert [m.value for m in rows] == [b"a", None, None, b"next"]
    assert [m.offset for m in rows] == [5, 6, 7, 8]


def test_arrival_is_the_brokers_or_the_records_own_and_0_where_nobody_tells() -> None:
    sent = [Sent(None, b"x", ms=NOW_MS), Sent(None, b"y", ms=NOW_MS + 5)]
    assert [m.arrival_ms for m in walked(batch(sent))] == [NOW_MS, NOW_MS + 5]
    assert [m.arrival_ms for m in walked(batch(sent, attributes=LOG_APPEND_TIME))] == [NOW_MS + 5] * 2
    for ms in (-1, 2**62, -(2**62)):
        assert [m.arrival_ms for m in walked(batch([Sent(None, b"x", ms=ms)]))] == [0]


def test_a_sender_cannot_set_our_own_fault_header() -> None:
    assert walked(batch([Sent(None, b"x", ((FAULT, b"bad_json"), ("a", b"b")))]))[0].headers == {"a": b"b"}


def test_a_header_repeated_a_thousand_times_keeps_its_last_value() -> None:
    headers = tuple(("seq", str(i).encode()) for i in range(1000))
    assert walked(batch([Sent(None, b"x", headers)]))[0].headers == {"seq": b"999"}


@pytest.mark.parametrize("codec", [1, 3, 4])
def test_a_batch_that_unpacks_to_too_much_becomes_rows_and_its_neighbours_stay(codec: int) -> None:
    raw = batch([Sent(b"k", b"a")], base=5, codec=codec)
    raw += batch([Sent(b"k", bytes(5000))] * 2, base=6, codec=codec) + batch([Sent(b"k", b"c")], base=8)
    rows = walked(raw, limit=4096)
    assert [m.value for m in rows] == [b"a", None, None, b"c"]
    assert [m.headers.get(FAULT, b"") for m in rows] == [b"", b"bad_compression", b"bad_compression", b""]
    assert [m.offset for m in rows] == [5, 6, 7, 8]
    assert frames(raw, limit=4096)[-1].end_offset == 9
    assert [m.offset for m in walked(raw, 7, limit=4096)] == [7, 8]


def test_what_many_small_batches_unpack_to_is_handed_over_in_pieces() -> None:
    raw = b"".join(batch([Sent(None, bytes(1000))], base=i, codec=1) for i in range(10))
    pieces = frames(raw, limit=2500)
    assert [len(one) for one in pieces] == [2] * 5
    assert [one.end_offset for one in pieces] == [2, 4, 6, 8, 10]
    assert max(one.buffer.size for one in pieces) <= 2500


def test_millions_of_lost_records_are_handed_over_in_pieces() -> None:
    raw = bytearray(batch([Sent(None, bytes(5000))], base=5, codec=1))
    struct.pack_into(">i", raw, 23, 199_999)
    struct.pack_into(">i", raw, 57, 200_000)
    pieces = frames(sealed(raw), limit=100)
    assert [len(one) for one in pieces] == [65536, 65536, 65536, 3392]
    assert [one.end_offset for one in pieces] == [5 + 65536, 5 + 131072, 5 + 196608, 200_005]
    assert sum(len(one) for one in frames(sealed(raw), 200_000, limit=100)) == 5


HEADER_PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["clock", "content-type", "kind", "seq", "x", "clocks", "é"]),
        st.sampled_from([b"trusted", b"device", b"", b"application/json", b"trusteD", b"y", None]),
    ),
    max_size=3,
)


@given(sent=st.lists(HEADER_PAIRS, min_size=1, max_size=5))
@settings(max_examples=80, deadline=None)
def test_notes_on_headers_say_what_reading_them_says_or_ask_to_read_them(
    sent: list[list[tuple[str, bytes | None]]],
) -> None:
    [read] = frames(batch([Sent(b"k", b"v", tuple(pairs)) for pairs in sent]))
    assert read.notes is not None
    told = [note(read.headers.get(row, {})) for row in range(len(sent))]
    repeated = [len({key for key, _ in pairs}) < len(pairs) for pairs in sent]
    for found, wanted, twice in zip(read.notes.tolist(), told, repeated, strict=True):
        assert found == wanted or (twice and found == READ)
