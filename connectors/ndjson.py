"""Newline-delimited JSON files as `Frames`: one message per line, bounds found by one pass over each chunk."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from operators.frames import Frames
from operators.types import U8

NEWLINE, RETURN = 10, 13


def read_ndjson(path: Path, *, first_offset: int = 0, chunk_bytes: int = 8 << 20) -> Iterator[Frames]:
    """All lines of a file in order; `.gz` is unpacked; blank lines are passed over (they hold no message).

    Args:
        path: the file.
        first_offset: offset of the first line; the following lines count up from there.
        chunk_bytes: most bytes read at once; a longer line is still read whole.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.ndjson"
    >>> _ = path.write_bytes(b'{"a":1}' + bytes([10, 10]) + b'{"a":2}')
    >>> [frames.value(row) for frames in read_ndjson(path) for row in range(len(frames))]
    [b'{"a":1}', b'{"a":2}']
    """
    offset = first_offset
    with _open(path) as file:
        rest = b""
        while chunk := file.read(chunk_bytes):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                frames = _frames(np.frombuffer(whole, np.uint8), offset)
                offset = frames.end_offset
                yield frames
        if rest.strip():
            yield _frames(np.frombuffer(rest, np.uint8), offset)


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _frames(text: U8, first_offset: int) -> Frames:
    breaks = np.flatnonzero(text == NEWLINE)
    start = np.concatenate([[0], breaks + 1]).astype(np.int64)
    end = np.concatenate([breaks, [text.size]]).astype(np.int64)
    if text.size:
        last = np.maximum(end - 1, start)
        end -= (end > start) & (text[np.minimum(last, text.size - 1)] == RETURN)
    filled = end > start
    start, end = start[filled], end[filled]
    n = start.size
    none = np.full(n, -1, np.int64)
    return Frames(
        partition=0,
        buffer=text if text.size else np.zeros(1, np.uint8),
        start=start,
        end=end,
        key_start=none,
        key_end=none,
        offset=np.arange(first_offset, first_offset + n, dtype=np.int64),
        arrival=np.zeros(n, np.int64),
        end_offset=first_offset + n,
    )
