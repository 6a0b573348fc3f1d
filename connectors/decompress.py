"""Record batch codecs with a limit on what may come out, so that a few bytes cannot fill the memory."""

from __future__ import annotations

import zlib

import lz4.frame
import zstandard
from kafka.codec import has_snappy, snappy_decode

LIMIT_BYTES = 64 << 20
"""Most bytes one record batch may unpack to; the broker's own limit on what goes in is 1 MiB by default."""


class TooLargeError(ValueError):
    """A record batch unpacks to more than the limit."""


def decompress(codec: int, data: bytes, limit: int = LIMIT_BYTES) -> bytes:
    """Unpack the records of a batch; codec 1 gzip, 2 snappy, 3 lz4, 4 zstd.

    Raises:
        TooLargeError: more than `limit` bytes come out.
        ValueError: damaged data or an unknown codec.

    >>> decompress(1, b"not gzip")
    Traceback (most recent call last):
    ValueError: gzip: Error -3 while decompressing data: incorrect header check
    """
    name = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}.get(codec, f"codec {codec}")
    try:
        out = _unpack(codec, data, limit + 1)
    except (zlib.error, RuntimeError, zstandard.ZstdError, EOFError) as error:
        raise ValueError(f"{name}: {error}") from error
    if len(out) > limit:
        raise TooLargeError(f"{name}: {len(data)} bytes unpack to more than {limit}")
    return out


def _unpack(codec: int, data: bytes, room: int) -> bytes:
    if codec == 1:
        return zlib.decompressobj(wbits=31).decompress(data, room)
    if codec == 3:
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=room))
    if codec == 4:
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            return reader.read(room)
    if codec == 2 and has_snappy():
        return bytes(snappy_decode(data))
    raise ValueError(f"unknown or missing codec {codec}")
