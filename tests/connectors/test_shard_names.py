"""Shard names keep a shard's source part, state and sink part on one worker, so no batch changes process."""

from __future__ import annotations

import pytest

from connectors.shards import SHARDS

MASK = (1 << 64) - 1


def rotated(x: int, bits: int) -> int:
    return ((x << bits) | (x >> (64 - bits))) & MASK


def sip_round(v: list[int]) -> None:
    v[0] = (v[0] + v[1]) & MASK
    v[2] = (v[2] + v[3]) & MASK
    v[1], v[3] = rotated(v[1], 13) ^ v[0], rotated(v[3], 16) ^ v[2]
    v[0] = rotated(v[0], 32)
    v[2] = (v[2] + v[1]) & MASK
    v[0] = (v[0] + v[3]) & MASK
    v[1], v[3] = rotated(v[1], 17) ^ v[2], rotated(v[3], 21) ^ v[0]
    v[2] = rotated(v[2], 32)


def siphash13(data: bytes) -> int:
    """SipHash-1-3 with a zero key (Aumasson & Bernstein 2012): how Bytewax places a key, text ended by 0xff."""
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    padded = data + b"\0" * (7 - len(data) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 6])
def test_state_lands_where_source_and_sink_parts_are(workers: int) -> None:
    assert [siphash13(name.encode() + b"\xff") % workers for name in SHARDS] == [i % workers for i in range(12)]


def test_the_names_are_sorted_because_parts_are_placed_by_sorted_index() -> None:
    assert sorted(SHARDS) == list(SHARDS)
    assert len(set(SHARDS)) == 12
