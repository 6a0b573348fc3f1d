"""Record batch codecs with a limit on what may come out, so that a few bytes cannot fill the memory."""

from __future__ import annotations

import struct
import zlib

import lz4.frame
import pyarrow as pa
import zstandard

LIMIT_BYTES = 64 << 20
"""Most bytes one record batch may unpack to; the broker's own limit on what goes in is 1 MiB by default."""
NAMES = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_DAMAGED = (
    zlib.error,
    pa.ArrowInvalid,
    zstandard.ZstdError,
    struct.error,
    RuntimeError,
    OSError,
    EOFError,
    MemoryError,
)
_XERIAL = b"\x82SNAPPY\x00"


class TooLargeError(ValueError):
    """A record batch unpacks to more than the limit."""


def decompress(codec: int, data: bytes, limit: int = LIMIT_BYTES) -> bytes:
    """Unpack the records of a batch; codec 1 gzip, 2 snappy, 3 lz4, 4 zstd.

    Raises:
        TooLargeError: more than `limit` bytes come out; no more than that is ever held.
        ValueError: damaged data or an unknown codec.

    >>> decompress(1, b"not gzip")
    Traceback (most recent call last):
    ValueError: gzip: Error -3 while decompressing data: incorrect header check
    """
    name = NAMES.get(codec, f"codec {codec}")
    try:
        out = _unpack(codec, data, limit + 1)
    except _DAMAGED as error:
        raise ValueError(f"{name}: {error}") from error
    if len(out) > limit:
        raise TooLargeError(f"{name}: {len(data)} bytes unpack to more than {limit}")
    return out


def _unpack(codec: int, data: bytes, room: int) -> bytes:
    if codec == 1:
        return _gunzip(data, room)
    if codec == 2:
        return _unsnap(data, room)
    if codec == 3:
        return _unlz4(data, room)
    if codec == 4:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return reader.read(room)
    raise ValueError(f"unknown codec {codec}")


def _gunzip(data: bytes, room: int) -> bytes:
    member = zlib.decompressobj(wbits=31)
    out = member.decompress(data, room)
    if len(out) < room and (not member.eof or member.unused_data):
        raise EOFError("ends early, or something follows")
    return out


def _unlz4(data: bytes, room: int) -> bytes:
    frame = lz4.frame.LZ4FrameDecompressor()
    out = bytes(frame.decompress(data, max_length=room))
    if len(out) < room and (not frame.eof or frame.unused_data):
        raise EOFError("ends early, or something follows")
    return out


def _unsnap(data: bytes, room: int) -> bytes:
    """One raw block (librdkafka), or length-prefixed blocks behind a 16-byte header (Java)."""
    if not data.startswith(_XERIAL):
        return _snappy_block(data, room)
    out, p = bytearray(), 16
    while p < len(data) and len(out) < room:
        (size,) = struct.unpack_from(">i", data, p)
        if not 0 < size <= len(data) - p - 4:
            raise EOFError("ends early")
        out += _snappy_block(data[p + 4 : p + 4 + size], room - len(out))
        p += 4 + size
    return bytes(out)


def _snappy_block(data: bytes, room: int) -> bytes:
    """A block states its size first, seven bits a byte; a larger one than there is room for is not unpacked."""
    size = 0
    for i, byte in enumerate(data[:5]):
        size |= (byte & 127) << (7 * i)
        if byte < 128:
            break
    if size >= room:
        return bytes(room)
    return bytes(pa.Codec("snappy").decompress(data, decompressed_size=size, asbytes=True))
