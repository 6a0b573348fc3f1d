"""What clickhouse-connect uses of ClickHouse's HTTP interface, through the front."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import lz4.frame
import numpy as np
import psutil
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.summary import QuerySummary

from tests.support_history import HistoryHandle, running_history


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryHandle]:
    with running_history(tmp_path_factory.mktemp("history")) as handle:
        yield handle


@pytest.fixture
def client(history: HistoryHandle) -> Iterator[Client]:
    with connect(history) as connected:
        yield connected


def connect(history: HistoryHandle, **options: Any) -> Client:
    given: dict[str, Any] = {"username": history.writer.user, "password": history.writer.password, **options}
    return clickhouse_connect.get_client(host="127.0.0.1", port=history.port, **given)


def ask(
    history: HistoryHandle,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    method: str = "POST",
    **params: str,
) -> tuple[int, dict[str, str], bytes]:
    """One request without any client library."""
    connection = http.client.HTTPConnection("127.0.0.1", history.port, timeout=30)
    login = {"X-ClickHouse-User": history.writer.user, "X-ClickHouse-Key": history.writer.password}
    connection.request(method, f"/?{urlencode(params)}", body, {**login, **(headers or {})})
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


def test_the_handshake_tells_version_and_time_zone(client: Client) -> None:
    assert client.ping()
    assert client.server_version == client.command("SELECT version()")
    assert client.query("SELECT now()").result_rows[0][0].tzinfo is None
    assert client.server_settings["max_threads"].readonly == 0


def test_values_bound_by_the_server_and_by_the_client_arrive_unharmed(client: Client) -> None:
    values = [
        "plain",
        "it's",
        'quote "',
        "tab\tnew\nline",
        "back\\slash",
        "µ→😀",
        "{x:String}",
        "%s",
        "'; DROP TABLE t; --",
    ]
    for value in values:
        assert client.query("SELECT {v:String}", parameters={"v": value}).result_rows == [(value,)]
        assert client.query("SELECT %(v)s", parameters={"v": value}).result_rows == [(value,)]
    moment = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
    row = client.query(
        "SELECT {a:Array(Int64)}, {n:Nullable(Float64)}, {t:DateTime64(6, 'Europe/Berlin')}, {f:Float64}",
        parameters={"a": [1, -2], "n": None, "t": moment, "f": 0.1},
    ).result_rows[0]
    assert row == ([1, -2], None, moment, 0.1)
    client.command("CREATE OR REPLACE TABLE named (v Int8) ENGINE = Memory")
    assert client.query("SELECT count() FROM {t:Identifier}", parameters={"t": "named"}).result_rows == [(0,)]


def test_parameters_too_long_for_the_url_come_as_a_form(client: Client) -> None:
    many = [f"device-{i}" for i in range(20_000)]
    assert client.query("SELECT length({d:Array(String)})", parameters={"d": many}).result_rows == [(20_000,)]


def test_a_statement_of_megabytes_is_one_statement(client: Client) -> None:
    numbers = ", ".join(f"1{n:019d}" for n in range(50_000))
    found = client.query(
        f"SELECT count() FROM numbers(10) WHERE number NOT IN ({numbers})", settings={"max_query_size": 9_000_000}
    )
    assert found.result_rows == [(10,)]
    client.command("CREATE OR REPLACE TABLE listed (v UInt64) ENGINE = Memory")
    client.command("INSERT INTO listed VALUES " + ", ".join(f"({n})" for n in range(300_000)))
    assert client.query("SELECT count() FROM listed").result_rows == [(300_000,)]


def test_settings_hold_for_their_statement_only(client: Client) -> None:
    query = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
    usual = client.query(query).result_rows
    assert client.query(query, settings={"max_block_size": 1234}).result_rows == [("1234",)]
    assert client.query(query).result_rows == usual
    with pytest.raises(DatabaseError, match=r"TIMEOUT_EXCEEDED|TOO_SLOW"):
        client.query("SELECT count() FROM numbers(100000000000)", settings={"max_execution_time": 1})


def test_unknown_settings_are_refused_as_the_server_does(history: HistoryHandle) -> None:
    status, headers, body = ask(history, b"SELECT 1", no_such_setting="1")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (404, "115")
    assert b"UNKNOWN_SETTING" in body
    assert ask(history, b"SELECT 1", None, "POST", **{"a = 1, b": "1"})[1]["X-ClickHouse-Exception-Code"] == "115"


def test_the_database_of_a_client_is_where_its_names_lie(history: HistoryHandle, client: Client) -> None:
    client.command("CREATE DATABASE IF NOT EXISTS `odd name`")
    with connect(history, database="odd name") as other:
        other.command("CREATE OR REPLACE TABLE here (v UInt8) ENGINE = Memory")
        other.insert("here", [[1]], column_names=["v"])
        assert other.query("SELECT currentDatabase(), v FROM here").result_rows == [("odd name", 1)]
    with pytest.raises(DatabaseError) as raised:
        client.query("SELECT * FROM here")
    assert (raised.value.code, raised.value.name) == (60, "UNKNOWN_TABLE")
    with pytest.raises(DatabaseError) as raised:
        connect(history, database="missing")
    assert raised.value.code == 81


def test_a_million_rows_stream_through_bounded_memory(history: HistoryHandle, client: Client) -> None:
    front = psutil.Process(history.process.pid)
    query = "SELECT number, repeat('x', 200) AS s FROM numbers(1000000)"
    before, highest, rows = front.memory_info().rss, 0, 0
    with client.query_row_block_stream(query) as blocks:
        for block in blocks:
            rows += len(block)
            highest = max(highest, front.memory_info().rss)
    with client.query_arrow_stream(query) as batches:
        rows += sum(batch.num_rows for batch in batches)
        highest = max(highest, front.memory_info().rss)
    assert rows == 2_000_000
    assert highest - before < 150 << 20  # the result is 210 MB


def test_a_stream_left_early_frees_its_handle(client: Client, history: HistoryHandle) -> None:
    for _ in range(40):  # more than run at once
        with connect(history) as other, other.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
            next(iter(blocks))
    assert client.query("SELECT 1").result_rows == [(1,)]


def test_an_error_in_the_middle_of_a_stream_reaches_the_reader(client: Client) -> None:
    query = "SELECT throwIf(number = 800000, 'thrown late') FROM numbers(1000000)"
    query += " SETTINGS max_block_size = 50000, max_threads = 1"
    seen = 0
    with (
        pytest.raises(StreamFailureError, match="thrown late") as raised,
        client.query_row_block_stream(query) as blocks,
    ):
        for block in blocks:
            seen += len(block)
    assert seen > 0
    assert raised.value.code == 395
    with pytest.raises(DatabaseError) as held:  # not streamed: nothing of it is seen
        client.query(query)
    assert held.value.code == 395


@pytest.mark.parametrize("coding", ["lz4", "zstd", "gzip", False])
def test_bodies_are_compressed_both_ways_as_the_client_likes(history: HistoryHandle, coding: str | bool) -> None:
    with connect(history, compress=coding) as packed:
        packed.command("CREATE OR REPLACE TABLE packed (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
        rows = [[n, f"row {n}"] for n in range(50_000)]
        packed.insert("packed", rows, column_names=["n", "s"])
        assert packed.query("SELECT n, s FROM packed ORDER BY n").result_rows == [tuple(row) for row in rows]
        with packed.query_row_block_stream("SELECT number FROM numbers(200000)") as blocks:
            assert sum(len(block) for block in blocks) == 200_000
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            packed.query("SELECT * FROM nowhere")


def test_every_coding_decodes_to_the_same_body(history: HistoryHandle) -> None:
    unpack = {
        "lz4": lz4.frame.decompress,
        "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
    }
    query = b"SELECT number, 'text' FROM numbers(100000) FORMAT CSV"
    plain = ask(history, query)[2]
    for coding, decompress in unpack.items():
        _, headers, body = ask(history, query, {"Accept-Encoding": f"snappy, {coding}"}, enable_http_compression="1")
        assert (headers["Content-Encoding"], decompress(body)) == (coding, plain)
        assert len(body) < len(plain) / 2
    assert "Content-Encoding" not in ask(history, query, {"Accept-Encoding": "zstd"})[1]


def test_a_compressed_body_that_is_cut_or_broken_inserts_nothing(history: HistoryHandle, client: Client) -> None:
    client.command("CREATE OR REPLACE TABLE broken (n UInt64) ENGINE = MergeTree ORDER BY n")
    body = lz4.frame.compress("".join(f"{n}\n" for n in range(100_000)).encode())
    for damaged in (body[:-200], b"not lz4 at all"):
        status, headers, text = ask(
            history, damaged, {"Content-Encoding": "lz4"}, query="INSERT INTO broken FORMAT TabSeparated"
        )
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (500, "354"), text
    assert ask(history, body, {"Content-Encoding": "lzma"}, query="INSERT INTO broken FORMAT TSV")[0] == 501
    assert client.query("SELECT count() FROM broken").result_rows == [(0,)]


def test_a_client_that_dies_in_its_insert_inserts_nothing(history: HistoryHandle, client: Client) -> None:
    client.command("CREATE OR REPLACE TABLE half (n UInt64) ENGINE = MergeTree ORDER BY n")
    connection = http.client.HTTPConnection("127.0.0.1", history.port, timeout=30)
    login = {"X-ClickHouse-User": history.writer.user, "X-ClickHouse-Key": history.writer.password}
    connection.putrequest("POST", "/?query=INSERT+INTO+half+FORMAT+TabSeparated")
    for name, value in {**login, "Content-Length": "1000000"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"1\n2\n3\n" * 1000)
    connection.close()
    assert client.insert("half", [[7]], column_names=["n"]).written_rows == 1
    assert client.query("SELECT groupArray(n) FROM half").result_rows == [([7],)]


def test_frames_arrays_and_generators_go_in(client: Client) -> None:
    pd = pytest.importorskip("pandas")
    client.command("CREATE OR REPLACE TABLE mixed (n UInt64, v Float64) ENGINE = MergeTree ORDER BY n")
    client.insert_df("mixed", pd.DataFrame({"n": np.arange(10, dtype=np.uint64), "v": np.arange(10) / 2}))
    client.insert_arrow("mixed", pa.table({"n": pa.array([10, 11], pa.uint64()), "v": [5.0, np.nan]}))
    client.insert("mixed", [[12, 13], [6.0, 6.5]], column_names=["n", "v"], column_oriented=True)
    lines = (f"{n},0.5\n".encode() for n in range(14, 20))
    assert client.raw_insert("mixed", ["n", "v"], lines, fmt="CSV").written_rows == 6
    packed = lz4.frame.compress(b"20,1\n") + lz4.frame.compress(b"21,2\n")
    assert client.raw_insert("mixed", ["n", "v"], packed, fmt="CSV", compression="lz4").written_rows == 2
    assert client.query_np("SELECT n FROM mixed ORDER BY n").ravel().tolist() == list(range(22))
    assert client.query_df("SELECT countIf(isNaN(v)) AS nan FROM mixed")["nan"].tolist() == [1]
    assert client.query("SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts WHERE table = 'mixed' "
                        "AND active AND rows >= 10)").result_rows[0][0] <= 2  # fmt: skip


def test_the_summary_counts_what_was_read_and_written(client: Client) -> None:
    client.command("CREATE OR REPLACE TABLE counted (n UInt64) ENGINE = MergeTree ORDER BY n")
    summary = client.insert("counted", [[n] for n in range(500)], column_names=["n"], settings={"query_id": "mine"})
    assert (summary.written_rows, summary.query_id()) == (500, "mine")
    result = client.query("SELECT n FROM counted", settings={"wait_end_of_query": "1"})
    assert result.query_id
    written = client.command("INSERT INTO counted VALUES (1), (2)")
    assert isinstance(written, QuerySummary)
    assert written.written_rows == 2


def test_a_session_keeps_its_settings_and_temporary_tables(history: HistoryHandle, client: Client) -> None:
    with connect(history, session_id="keeps") as session:
        session.command("CREATE TEMPORARY TABLE scratch (n UInt8)")
        session.insert("scratch", [[3]], column_names=["n"])
        session.command("SET max_block_size = 4321")
        query = "SELECT n, getSetting('max_block_size') FROM scratch"
        assert session.query(query).result_rows == [(3, 4321)]
        assert session.query(query, settings={"max_block_size": 99}).result_rows == [(3, 99)]
        assert session.query(query).result_rows == [(3, 4321)]
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM scratch")
    assert ask(history, b"SELECT 1", session_id="new", session_check="1")[1]["X-ClickHouse-Exception-Code"] == "372"


def test_a_session_answers_one_request_at_a_time(history: HistoryHandle) -> None:
    with connect(history, session_id="busy") as one:
        with one.query_row_block_stream("SELECT number, repeat('x', 1000) FROM numbers(1000000)") as blocks:
            next(iter(blocks))
            code = ask(history, b"SELECT 1", session_id="busy")[1]["X-ClickHouse-Exception-Code"]
        assert code == "373"
        assert one.query("SELECT 1").result_rows == [(1,)]


def test_statements_that_change_a_session_leave_nothing_without_one(history: HistoryHandle) -> None:
    assert ask(history, b"USE system")[0] == ask(history, b"SET max_block_size = 77")[0] == 200
    answers = {ask(history, b"SELECT currentDatabase(), getSetting('max_block_size')")[2] for _ in range(4)}
    assert len(answers) == 1
    assert answers.pop().startswith(b"default\t")


def test_tables_sent_along_are_there_for_one_query(client: Client) -> None:
    sent = ExternalData(file_name="devices.csv", data=b"a,1\nb,2\n", fmt="CSV", structure=["name String", "n UInt8"])
    assert client.query("SELECT name, n FROM devices ORDER BY n", external_data=sent).result_rows == [
        ("a", 1),
        ("b", 2),
    ]
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM devices")


def test_errors_carry_the_engines_code_name_and_status(history: HistoryHandle) -> None:
    cases = {
        b"SELECT * FROM nowhere": (404, "60", b"UNKNOWN_TABLE"),
        b"SELEC 1": (400, "62", b"SYNTAX_ERROR"),
        b"SELECT 1; SELECT 2": (400, "62", b"Multi-statements"),
        b"": (400, "62", b"Empty query"),
        b"SELECT intDiv(1, 0)": (500, "153", b"ILLEGAL_DIVISION"),
        b"SELECT 1 INTO OUTFILE '/tmp/out.csv'": (500, "1", b"INTO OUTFILE is not allowed"),
        b"SELECT 1 FORMAT Nope": (404, "73", b"UNKNOWN_FORMAT"),
        b"INSERT INTO nowhere FORMAT CSV\n1\n": (404, "60", b"UNKNOWN_TABLE"),
    }
    for statement, expected in cases.items():
        status, headers, body = ask(history, statement)
        assert (status, headers["X-ClickHouse-Exception-Code"], expected[2] in body) == (*expected[:2], True), statement
        assert body.startswith(b"Code: " + expected[1].encode())
    assert ask(history, b"SELECT 1", compress="1")[1]["X-ClickHouse-Exception-Code"] == "48"


def test_plain_http_gets_what_a_server_gives(history: HistoryHandle) -> None:
    status, headers, body = ask(
        history, method="GET", query="SELECT 1 AS a", default_format="JSONEachRow", query_id="q-1"
    )
    assert (status, json.loads(body)) == (200, {"a": 1})
    assert headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert headers["X-ClickHouse-Query-Id"] == "q-1"
    assert headers["Content-Type"].startswith("application/json")
    assert (
        ask(history, method="GET", query="CREATE TABLE got (a Int8) ENGINE = Memory")[1]["X-ClickHouse-Exception-Code"]
        == "164"
    )  # GET only reads
    connection = http.client.HTTPConnection("127.0.0.1", history.port, timeout=10)
    for path, expected in (("/ping", (200, b"Ok.\n")), ("/healthz", (200, b"ok\n")), ("/other", (404, b"There is no"))):
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, response.read()[:11]) == (expected[0], expected[1][:11])
    connection.close()
    assert ask(history, b"SELECT 1", {"Origin": "http://elsewhere.example"})[0] == 403


def test_many_clients_at_once_all_get_their_own_answer(history: HistoryHandle, client: Client) -> None:
    client.command("CREATE OR REPLACE TABLE busy (worker UInt32, n UInt32) ENGINE = MergeTree ORDER BY (worker, n)")
    wrong: list[object] = []

    def work(worker: int) -> None:
        with connect(history) as own:
            for n in range(15):
                own.insert("busy", [[worker, n]], column_names=["worker", "n"])
                rows = own.query(
                    "SELECT count() FROM busy WHERE worker = {w:UInt32}", parameters={"w": worker}
                ).result_rows
                if rows != [(n + 1,)]:
                    wrong.append((worker, n, rows))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert client.query("SELECT count() FROM busy").result_rows == [(180,)]
