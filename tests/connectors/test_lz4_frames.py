"""What the compiled walk makes of LZ4 frames is what the library makes of them, or it leaves them to the library."""

from __future__ import annotations

import lz4.frame
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.decompress import decompress
from connectors.lz4_frames import ASK, DONE, GROW, SLACK, unpack

PIECE = st.sampled_from([b"a", b"ab", b'{"device":"', b"\x00" * 30, b"0123456789abcdef", bytes(range(256)), b"x" * 300])
TEXT = st.lists(PIECE, max_size=60).map(b"".join)
FRAME = st.builds(
    lambda text, level, linked, size, sums: lz4.frame.compress(
        text,
        compression_level=level,
        block_linked=linked,
        store_size=size,
        content_checksum=sums,
        block_checksum=sums,
        block_size=lz4.frame.BLOCKSIZE_MAX64KB,
    ),
    TEXT, st.sampled_from([0, 9]), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip


def walked(frames: list[bytes], room: int) -> tuple[int, int, list[bytes]]:
    raw = np.frombuffer(b"".join(frames), np.uint8)
    ends = np.cumsum([len(f) for f in frames], dtype=np.int64)
    starts = np.concatenate([[0], ends])[:-1].astype(np.int64)
    one, arena = np.ones(len(frames), np.int64), np.empty(room + SLACK, np.uint8)
    bounds = np.zeros((2, len(frames)), np.int64)
    take = np.ones(len(frames), np.bool_)
    i, _, code = unpack(raw, starts, ends, 3 * one, one, take, 10, 0, arena, 0, bounds)
    return i, code, [arena[bounds[0, k] : bounds[1, k]].tobytes() for k in range(i)]


@given(st.lists(FRAME, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_frame_unpacks_to_what_the_library_says(frames: list[bytes]) -> None:
    expected = [decompress(3, f) for f in frames]
    assert walked(frames, sum(map(len, expected)) + 64) == (len(frames), DONE, expected)


@given(FRAME, st.data())
@settings(max_examples=60, deadline=None)
def test_without_room_for_it_a_frame_is_asked_for_again(frame: bytes, data: st.DataObject) -> None:
    size = len(decompress(3, frame))
    room = data.draw(st.integers(0, max(size - 1, 0)))
    i, code, found = walked([frame], room)
    assert (i, code) == (0, GROW) if room < size else found == [decompress(3, frame)]


@given(FRAME, st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_frame_is_never_read_outside_and_what_is_taken_is_what_it_says(
    frame: bytes, data: st.DataObject
) -> None:
    raw = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    _, code, _ = walked([cut or b"\0"], 1 << 16)
    assert code in (DONE, ASK, GROW)


def test_megabytes_that_repeat_unpack_in_several_blocks() -> None:
    text = b"".join(b'{"device":"robot-%04d","v":%d}' % (i % 37, i) for i in range(60_000))
    for linked in (False, True):
        frame = lz4.frame.compress(text, block_linked=linked, block_size=lz4.frame.BLOCKSIZE_MAX64KB)
        assert walked([frame], len(text)) == (1, DONE, [text])
