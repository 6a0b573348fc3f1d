"""What the front answers is what chDB answers: types, functions, DDL, errors, formats in and out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.infra.history_statements import STATEMENTS
from tests.support_chdb import own_answers
from tests.support_history import running_history


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running_history(tmp_path_factory.mktemp("history")) as history:
        connected = clickhouse_connect.get_client(
            host="127.0.0.1", port=history.port, username=history.writer.user, password=history.writer.password
        )
        yield connected
        connected.close()


def code_of(error: Exception) -> int:
    found = re.search(r"Code: (\d+)", str(error))
    return int(found[1]) if found else -1


def test_every_statement_gets_the_answer_chdb_gives_itself(client: Client, tmp_path: Path) -> None:
    assert len(STATEMENTS) >= 100
    differences = []
    for statement, own in zip(STATEMENTS, own_answers(tmp_path / "own", STATEMENTS), strict=True):
        text = rows = ""
        code = 0
        try:
            text = client.raw_query(statement).decode("latin-1")
            if text:
                rows = repr(client.query(statement).result_rows)
        except DatabaseError as error:
            code = code_of(error)
            assert (error.code, bool(error.name)) == (code, True), statement
        if (text, rows, code) != (own.text, own.rows, own.code):
            differences.append((statement, (text, rows, code), own))
    assert differences == []


@pytest.mark.parametrize(
    "fmt",
    (
        *("Native", "RowBinary", "RowBinaryWithNamesAndTypes", "Arrow", "ArrowStream", "Parquet", "ORC", "Avro"),
        *("MsgPack", "CSV", "CSVWithNames", "TabSeparated", "TSVWithNamesAndTypes", "JSON", "JSONCompact", "Values"),
        *("JSONEachRow", "JSONCompactEachRow", "JSONCompactEachRowWithNamesAndTypes", "JSONStringsEachRow"),
        "JSONColumns",
    ),
)
def test_a_table_goes_out_and_back_in_unchanged(client: Client, fmt: str) -> None:
    columns = "id UInt64, f Float64, n Nullable(Float64), s String, a Array(Int32), t DateTime64(3, 'UTC'), dev String"
    for table in ("source", "target"):
        client.command(f"CREATE OR REPLACE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY id")
    client.command(
        "INSERT INTO source SELECT number, number / 3, if(number % 5 = 0, NULL, -number), 'tab\\t\"q\" ' || number, "
        "[number, -1], toDateTime64(number, 3), 'dev' || number % 4 FROM numbers(70000)"
    )
    body = client.raw_query("SELECT * FROM source ORDER BY id", fmt=fmt)
    assert client.raw_insert("target", insert_block=body, fmt=fmt).written_rows == 70_000
    lost, new = (f"SELECT * FROM {a} EXCEPT SELECT * FROM {b}" for a, b in (("source", "target"), ("target", "source")))
    assert client.query("SELECT count() FROM target").result_rows == [(70_000,)]
    assert client.query(f"SELECT count() FROM (({lost}) UNION ALL ({new}))").result_rows == [(0,)]


@pytest.mark.parametrize("fmt", ["ArrowStream", "CSV", "JSONEachRow", "Native", "CSVWithNames", "JSON", "Parquet"])
def test_a_result_of_many_blocks_is_one_result(client: Client, fmt: str) -> None:
    query = "SELECT number AS n, toString(number) AS s FROM numbers(200000)"
    client.command("CREATE OR REPLACE TABLE blocks (n UInt64, s String) ENGINE = Memory")
    with client.raw_stream(query, fmt=fmt) as stream:
        client_body = stream.read()
    assert client.raw_insert("blocks", insert_block=client_body, fmt=fmt).written_rows == 200_000
    assert client.query("SELECT count(), sum(n), uniqExact(s) FROM blocks").result_rows == [
        (200_000, 19_999_900_000, 200_000)
    ]


@pytest.mark.parametrize("fmt", ["ArrowStream", "Arrow", "CSVWithNames", "JSON", "Parquet", "Native", "TSV"])
def test_an_empty_result_keeps_the_frame_its_format_has(client: Client, fmt: str) -> None:
    body = client.raw_query("SELECT 1 AS x WHERE 0", fmt=fmt)
    assert (body == b"") == (fmt in {"Native", "TSV"})
    if fmt == "ArrowStream":
        assert client.query_arrow("SELECT 1 AS x WHERE 0").column_names == ["x"]
