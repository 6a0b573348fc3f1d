"""Statements taken apart: verb, format, where the data of an INSERT begins; and bodies as they come off the wire."""

from __future__ import annotations

import io
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.history.bodies import Body, CutOff
from infra.history.codings import choose, compressor, decoded
from infra.history.errors import EngineError
from infra.history.sessions import Sessions
from infra.history.sql import InsertHead, insert_head, read


@pytest.mark.parametrize(
    ("statement", "verb", "fmt", "streams"),
    [
        (b"SELECT 1", "SELECT", "", True),
        (b" -- c\n select 1 format CSV ; -- end", "SELECT", "CSV", True),
        (b"SELECT 'x FORMAT CSV'", "SELECT", "", True),
        (b"SELECT format FROM t", "SELECT", "", True),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "SELECT", "JSON", True),
        (b"SELECT $$ FORMAT CSV $$", "SELECT", "", True),
        (b"WITH 1 AS a SELECT a", "WITH", "", True),
        (b"WITH 1 AS a INSERT INTO t SELECT a", "WITH", "", False),
        (b"(SELECT 1) UNION ALL (SELECT 2)", "SELECT", "", True),
        (b"SHOW TABLES FORMAT JSONEachRow", "SHOW", "JSONEachRow", False),
        (b"INSERT INTO t SELECT 1", "INSERT", "", False),
        (b"", "", "", False),
    ],
)
def test_verb_format_and_streaming_are_seen(statement: bytes, verb: str, fmt: str, streams: bool) -> None:
    found = read(statement)
    assert (found.verb, found.format, found.streams) == (verb, fmt, streams)


def test_a_second_statement_is_seen_but_not_a_semicolon_in_text() -> None:
    assert read(b"SELECT 1; DROP TABLE t").several
    assert not any(read(s).several for s in (b"SELECT 1;", b"SELECT ';'", b"SELECT 1; -- x", b"SELECT 1 /* ; x */"))


def test_what_stays_with_the_session_is_seen() -> None:
    assert all(read(s).of_session for s in (b"SET a = 1", b"USE d", b"CREATE TEMPORARY TABLE t (a Int8)"))
    assert not read(b"CREATE TABLE temporary (a Int8)").of_session


INSERTS = [
    (b"INSERT INTO t FORMAT Native\n\x00\x01", InsertHead(b"INSERT INTO t", "Native", 28)),
    (b"INSERT INTO t (a, `FORMAT b`) FORMAT CSV 1,2", InsertHead(b"INSERT INTO t (a, `FORMAT b`)", "CSV", 41)),
    (b"INSERT INTO db.format (a) FORMAT TSV\r\n1", InsertHead(b"INSERT INTO db.format (a)", "TSV", 38)),
    (b"insert into t values (1)", InsertHead(b"insert into t", "Values", 20)),
    (b"/* x */ INSERT INTO TABLE values VALUES (1)", InsertHead(b"/* x */ INSERT INTO TABLE values", "Values", 39)),
    (b"INSERT INTO t SETTINGS a = 1 FORMAT CSV\n", InsertHead(b"INSERT INTO t SETTINGS a = 1", "CSV", 40)),
    (
        b"INSERT INTO FUNCTION file('FORMAT x') FORMAT CSV\n",
        InsertHead(b"INSERT INTO FUNCTION file('FORMAT x')", "CSV", 49),
    ),
]


@pytest.mark.parametrize(("text", "head"), INSERTS)
def test_the_data_of_an_insert_begins_behind_its_format(text: bytes, head: InsertHead) -> None:
    assert insert_head(text, whole=True) == head
    for cut in range(len(text)):
        early = insert_head(text[:cut], whole=False)
        assert early is True or (isinstance(early, InsertHead) and early.sql == head.sql), text[:cut]


@pytest.mark.parametrize(
    "text",
    [b"INSERT INTO t SELECT 1 FORMAT CSV", b"INSERT INTO t (SELECT 1)", b"SELECT 1", b"INSERT INTO t FROM INFILE 'x'"],
)
def test_an_insert_without_data_is_an_ordinary_statement(text: bytes) -> None:
    assert insert_head(text, whole=True) is False


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_no_bytes_upset_the_lexer(text: bytes) -> None:
    read(text)
    insert_head(b"INSERT INTO " + text, whole=True)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    ends = [min(at, len(data)) for at in itertools.accumulate([*sizes, len(data)])]
    return [data[a:b] for a, b in itertools.pairwise([0, *ends])]


@given(
    st.binary(max_size=3000),
    st.lists(st.integers(1, 400), max_size=20),
    st.sampled_from(["lz4", "zstd", "gzip", "deflate"]),
)
@settings(max_examples=60, deadline=None)
def test_bodies_unpack_alike_however_they_are_cut(data: bytes, sizes: list[int], coding: str) -> None:
    frames = b""
    for part in cut(data, sizes):  # a frame each, as the client sends them
        stream = compressor(coding)
        frames += stream.compress(part) + stream.flush()
    assert b"".join(decoded(iter(cut(frames, sizes)), coding)) == data
    with pytest.raises(EngineError):
        list(decoded(iter([frames[:-1]]), coding))


@given(st.binary(min_size=1, max_size=2000), st.lists(st.integers(1, 300), max_size=10))
@settings(max_examples=60, deadline=None)
def test_a_chunked_body_is_its_chunks(data: bytes, sizes: list[int]) -> None:
    wire = (
        b"".join(b"%X;x=y\r\n%s\r\n" % (len(part), part) for part in cut(data, sizes) if part)
        + b"0\r\nt: 1\r\n\r\nNEXT"
    )
    source = io.BytesIO(wire)
    assert b"".join(Body(source, {"Transfer-Encoding": "chunked"})) == data
    assert source.read() == b"NEXT"
    with pytest.raises(CutOff):
        list(Body(io.BytesIO(wire[: len(wire) // 3]), {"Transfer-Encoding": "chunked"}))


def test_brotli_is_spoken_where_it_is_installed() -> None:
    brotli = pytest.importorskip("brotli")
    data = bytes(range(256)) * 500
    stream = compressor("br")
    assert brotli.decompress(stream.compress(data) + stream.flush()) == data
    packed = brotli.compress(data)
    assert b"".join(decoded(iter([packed[:100], packed[100:]]), "br")) == data
    with pytest.raises(EngineError):
        list(decoded(iter([packed[:-5]]), "br"))


def test_the_first_coding_both_know_is_taken() -> None:
    assert choose("br;q=1.0, gzip") in {"br", "gzip"}
    assert [choose(a) for a in ("zstd,lz4", "LZ4", "", "identity", "*")] == ["zstd", "lz4", "", "", ""]


def test_an_idle_session_is_forgotten_after_its_time_out() -> None:
    now = 0.0
    sessions = Sessions(clock=lambda: now)
    with sessions.use("w", "a", timeout_secs=10, must_exist=False):
        pass
    with sessions.use("w", "a", timeout_secs=10, must_exist=True) as held, pytest.raises(EngineError, match="locked"):
        assert held.handle is None
        sessions.use("w", "a", timeout_secs=10, must_exist=True).__enter__()
    with pytest.raises(EngineError, match="SESSION_NOT_FOUND"):  # another user's
        sessions.use("r", "a", timeout_secs=10, must_exist=True).__enter__()
    now = 11.0
    with pytest.raises(EngineError, match="SESSION_NOT_FOUND"):
        sessions.use("w", "a", timeout_secs=10, must_exist=True).__enter__()
