"""The read-only user reads the database and reaches nothing else; the passwords that tell it from the writer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from infra.errors import UsageFault
from infra.history.errors import EngineError
from infra.history.users import OPEN, Role, from_environment, load, load_or_create
from tests.support_history import HistoryHandle, running_history

WRITES = [
    "INSERT INTO kept VALUES (9)",
    "INSERT INTO kept SELECT 9",
    "WITH 9 AS n INSERT INTO kept SELECT n",
    "INSERT INTO FUNCTION file('{out}', 'CSV', 'n UInt8') VALUES (1)",
    "CREATE TABLE made (n UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE made (n UInt8)",
    "CREATE DATABASE made",
    "CREATE VIEW made AS SELECT 1",
    "CREATE FUNCTION made AS x -> x",
    "CREATE USER made",
    "ALTER TABLE kept ADD COLUMN m UInt8",
    "ALTER TABLE kept DELETE WHERE 1",
    "UPDATE kept SET n = 1 WHERE 1",
    "DELETE FROM kept WHERE 1",
    "DROP TABLE kept",
    "TRUNCATE TABLE kept",
    "RENAME TABLE kept TO lost",
    "EXCHANGE TABLES kept AND kept",
    "OPTIMIZE TABLE kept FINAL",
    "DETACH TABLE kept",
    "ATTACH TABLE kept",
    "SYSTEM FLUSH LOGS",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "BACKUP TABLE kept TO File('{out}')",
    "GRANT ALL ON *.* TO reader",
    "SET max_threads = 7",
    "SET readonly = 0",
    "USE system",
    "SELECT n FROM kept SETTINGS readonly = 0",
    "SELECT n FROM kept SETTINGS max_threads = 7",
    "/* SELECT */ DROP TABLE kept",
    "(SELECT 1); DROP TABLE kept",
]
REACHES = [
    "SELECT * FROM file('{secret}', 'LineAsString')",
    "SELECT * FROM FILE('{secret}', 'LineAsString')",
    "DESCRIBE TABLE file('{secret}')",
    "SELECT 1 WHERE 1 IN file('{secret}', 'LineAsString')",
    "SELECT file('{secret}')",
    "SELECT \"file\"('{secret}')",
    "SELECT `fi\\x6ce`('{secret}')",
    "SELECT file /* ( */ ('{secret}')",
    "SELECT $q$'$q$, file('{secret}'), $q$'$q$",
    "SELECT '/*', file('{secret}'), '*/'",
    "SELECT “file”('{secret}')",
    "SELECT arrayMap(file, ['{secret}'])",
    "SELECT * APPLY file FROM (SELECT '{secret}')",
    "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "EXPLAIN SELECT * FROM file('{secret}', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1', 'system.one')",
    "SELECT * FROM executable('cat', 'LineAsString', 'l String')",
    "SELECT * FROM python('environ')",
    "SELECT * FROM sqlite('{secret}', 't')",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM filesystem('{secret}')",
    "SELECT 1 INTO OUTFILE '{out}'",
    "SELECT aiGenerate('m', 'p')",
]
UNKNOWN = [
    "SELECT * FROM `{secret}`",
    "SELECT * FROM default.`{secret}`",
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
]
READS = [
    "SELECT n FROM kept",
    "WITH 1 AS one SELECT one",
    "FROM kept SELECT n",
    "(SELECT n FROM kept)",
    "SELECT * FROM (SELECT n FROM kept) ORDER BY n LIMIT 1",
    "SHOW TABLES",
    "SHOW CREATE TABLE kept",
    "DESCRIBE TABLE kept",
    "EXPLAIN SELECT n FROM kept",
    "EXISTS TABLE kept",
    "SELECT number FROM numbers(3)",
    "SELECT * FROM values('a UInt8', 1, 2)",
    "SELECT 'file(\\'x\\') and url(y)' AS text",
    "SELECT * FROM merge('default', '^kept$')",
    "SELECT name FROM system.tables WHERE database = 'default'",
    "SELECT 1 -- DROP TABLE kept",
]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryHandle]:
    folder = tmp_path_factory.mktemp("history")
    (folder / "secret.txt").write_text("the secret\n")
    with running_history(folder) as handle, client_of(handle, "writer") as writer:
        writer.command("CREATE TABLE kept (n UInt8) ENGINE = MergeTree ORDER BY n")
        writer.insert("kept", [[1]], column_names=["n"])
        yield handle


@pytest.fixture(scope="module")
def reader(history: HistoryHandle) -> Iterator[Client]:
    with client_of(history, "reader") as client:
        yield client


def client_of(history: HistoryHandle, role: str) -> Client:
    known = history.writer if role == "writer" else history.reader
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=history.port, username=known.user, password=known.password
    )


def filled(statement: str, history: HistoryHandle) -> str:
    places = {"{secret}": history.data_dir / "secret.txt", "{out}": history.data_dir / "out.csv"}
    for place, path in places.items():
        statement = statement.replace(place, str(path))
    return statement


@pytest.mark.parametrize("statement", [*WRITES, *REACHES])
def test_writing_and_reaching_out_is_refused_with_164(history: HistoryHandle, reader: Client, statement: str) -> None:
    with pytest.raises(DatabaseError) as raised:
        reader.raw_query(filled(statement, history))
    assert raised.value.code == 164, raised.value
    assert not (history.data_dir / "out.csv").exists()


@pytest.mark.parametrize("statement", UNKNOWN)
def test_a_path_is_no_table_name(history: HistoryHandle, reader: Client, statement: str) -> None:
    with pytest.raises(DatabaseError) as raised:
        reader.raw_query(filled(statement, history))
    assert raised.value.code == 60
    with pytest.raises(DatabaseError) as raised:
        reader.query("SELECT * FROM {t:Identifier}", parameters={"t": str(history.data_dir / "secret.txt")})
    assert raised.value.code == 60


@pytest.mark.parametrize("statement", READS)
def test_reading_is_not_refused(reader: Client, statement: str) -> None:
    assert reader.raw_query(statement)


def test_no_parameter_smuggles_a_function_in(history: HistoryHandle, reader: Client) -> None:
    for name in ("file", "`file`", "FILE", "fi\\x6ce"):
        with pytest.raises(DatabaseError) as raised:
            reader.query("SELECT arrayMap({f:Identifier}, ['x'])", parameters={"f": name})
        assert raised.value.code == 164


def test_settings_and_inserted_data_of_the_reader_are_refused(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_validate_settings", lambda given, *_: dict(given or {}))  # the client would not send
    for settings in ({"readonly": "0"}, {"max_execution_time": "0"}, {"max_threads": "9"}):
        with pytest.raises(DatabaseError) as raised:
            reader.raw_query("SELECT 1", settings=settings)
        assert raised.value.code == 164
    with pytest.raises(DatabaseError) as raised:
        reader.raw_insert("kept", ["n"], b"1\n", fmt="CSV")
    assert raised.value.code == 164


def test_after_all_of_it_the_table_is_as_it_was(history: HistoryHandle) -> None:
    with client_of(history, "writer") as writer:
        assert writer.query("SELECT n FROM kept").result_rows == [(1,)]
        assert writer.command("SHOW TABLES") == "kept"


def test_wrong_names_and_passwords_get_the_same_answer(history: HistoryHandle) -> None:
    texts = set()
    for user, password in (("writer", ""), ("writer", history.reader.password), ("default", ""), ("root", "x")):
        with pytest.raises(DatabaseError) as raised:
            clickhouse_connect.get_client(host="127.0.0.1", port=history.port, username=user, password=password)
        assert raised.value.code == 516
        texts.add(str(raised.value).replace(user, "USER"))
    assert len(texts) == 1


def test_a_user_file_is_random_private_and_kept(tmp_path: Path) -> None:
    made = [load_or_create(tmp_path / name) for name in ("a.json", "b.json")]
    assert load_or_create(tmp_path / "a.json") == made[0]
    words = {word for users in made for word in (users.writer.password, users.reader.password)}
    assert len(words) == 4
    assert min(map(len, words)) >= 32
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o600
    assert not any(word in repr(made) for word in words)


def test_a_user_file_others_may_read_or_without_a_password_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(UsageFault, match="chmod 600"):
        load(path)
    path.write_text(json.dumps({role: {"user": role, "password": ""} for role in ("writer", "reader")}))
    path.chmod(0o600)
    with pytest.raises(UsageFault, match="a password is empty"):
        load(path)
    path.write_text("{}")
    with pytest.raises(UsageFault, match="cannot be read"):
        load(path)


def test_the_environment_must_name_both_passwords() -> None:
    assert from_environment({}) is None
    with pytest.raises(UsageFault, match="a password is empty"):
        from_environment({"TWINFLOW_HISTORY_WRITER_PASSWORD": "w"})
    users = from_environment({"TWINFLOW_HISTORY_WRITER_PASSWORD": "w", "TWINFLOW_HISTORY_READER_PASSWORD": "r"})
    assert users is not None
    assert (users.role("writer", "w"), users.role("reader", "r")) == (Role.WRITER, Role.READER)
    with pytest.raises(EngineError):
        users.role("writer", "r")
    assert OPEN.role("default", "") is Role.WRITER
    assert OPEN.role("reader", "") is Role.READER
