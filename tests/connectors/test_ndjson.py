"""Reading lines: the chunk size changes nothing, and neither do blank lines or Windows line ends."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.ndjson import read_ndjson

LINES = st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=20)


def lines_of(path: Path, chunk_bytes: int) -> list[tuple[int, bytes | None]]:
    return [
        (int(frames.offset[row]), frames.value(row))
        for frames in read_ndjson(path, chunk_bytes=chunk_bytes)
        for row in range(len(frames))
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, chunk=st.integers(1, 40), end=st.sampled_from([b"\n", b"\r\n"]))
def test_the_chunk_size_changes_nothing(tmp_path: Path, lines: list[bytes], chunk: int, end: bytes) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(end.join(lines))
    expect = list(enumerate(line for line in lines if line.strip()))
    if all(line.strip() or not line for line in lines):
        assert lines_of(path, chunk) == expect


def test_a_packed_file_reads_like_the_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n{"a":2}\n'))
    assert lines_of(path, 8 << 20) == [(0, b'{"a":1}'), (1, b'{"a":2}')]


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n"])
def test_a_file_without_lines_has_no_messages(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(content)
    assert lines_of(path, 8 << 20) == []
