"""Codecs: what other libraries packed comes out, damage is an error, and a bomb never gets room."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from contextlib import suppress

import lz4.frame
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.decompress import NAMES, TooLargeError, decompress

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def packed(codec: int, data: bytes) -> bytes:
    if codec == GZIP:
        return gzip.compress(data)
    if codec == SNAPPY:
        return bytes(pa.Codec("snappy").compress(data, asbytes=True))
    return lz4.frame.compress(data) if codec == LZ4 else zstandard.ZstdCompressor().compress(data)


def xerial(*blocks: bytes) -> bytes:
    parts = [packed(SNAPPY, block) for block in blocks]
    return XERIAL + b"".join(struct.pack(">i", len(part)) + part for part in parts)


@given(st.binary(max_size=2000), st.sampled_from(sorted(NAMES)))
@settings(max_examples=60, deadline=None)
def test_what_was_packed_comes_out(data: bytes, codec: int) -> None:
    assert decompress(codec, packed(codec, data)) == data
    assert decompress(codec, packed(codec, data), limit=len(data)) == data


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
@settings(max_examples=30, deadline=None)
def test_snappy_blocks_as_java_frames_them_come_out_joined(blocks: list[bytes]) -> None:
    assert decompress(SNAPPY, xerial(*blocks)) == b"".join(blocks)


@given(st.binary(max_size=200), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_data_or_a_value_error(data: bytes, codec: int) -> None:
    for one in (data, XERIAL + data):
        with suppress(ValueError):
            assert len(decompress(codec, one, limit=10_000)) <= 10_000


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4])
def test_data_that_end_early_are_an_error(codec: int) -> None:
    whole = packed(codec, bytes(range(256)) * 20)
    for cut in (1, len(whole) // 2, len(whole) - 1):
        with pytest.raises(ValueError, match=f"^{NAMES[codec]}: "):
            decompress(codec, whole[:cut])


@pytest.mark.parametrize("codec", sorted(NAMES))
def test_a_bomb_is_refused_without_ever_being_held(codec: int) -> None:
    bomb = packed(codec, bytes(64 << 20))
    assert len(bomb) < 4 << 20
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match=f"^{NAMES[codec]}: {len(bomb)} bytes unpack to more than 65536$"):
            decompress(codec, bomb, limit=65536)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_in_snappy_blocks_is_refused() -> None:
    with pytest.raises(TooLargeError, match="snappy"):
        decompress(SNAPPY, xerial(*[bytes(30_000)] * 3), limit=65536)


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(ValueError, match="codec 5"):
        decompress(5, b"")
