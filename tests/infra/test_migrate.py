"""Migrations and retention against a real ClickHouse engine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from connectors.clickhouse import ClickHouse
from connectors.history_asof import TAIL_SAFE_NS
from infra.kafka.topics import seconds
from infra.migrate import FOLDER, MigrationError, migrate, migrations, retention
from tests.support_history import HistoryHandle, running_history

DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryHandle]:
    with running_history(tmp_path_factory.mktemp("migrate")) as handle:
        yield handle


@pytest.fixture
def store(history: HistoryHandle, request: pytest.FixtureRequest) -> Iterator[ClickHouse]:
    """A database of its own for each test."""
    name = f"d{abs(hash(request.node.name))}"
    with ClickHouse(history.url, user=history.writer.user, password=history.writer.password) as root:
        root.run(f"CREATE DATABASE {name}")
    with ClickHouse(history.url, user=history.writer.user, password=history.writer.password, database=name) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may change."""
    shutil.copytree(FOLDER, tmp_path / "clickhouse")
    return tmp_path / "clickhouse"


def test_all_files_are_applied_in_order_and_a_second_run_does_nothing(store: ClickHouse) -> None:
    names = [m.name for m in migrations()]
    first = migrate(store)
    assert list(first.applied) == names
    assert list(first.retained) == sorted(retention())
    again = migrate(store)
    assert (again.applied, again.retained) == ((), ())
    assert store.rows("SELECT version, name, sha256 FROM schema_migrations ORDER BY version") == [
        (m.version, m.name, m.sha256) for m in migrations()
    ]


def test_a_run_that_died_halfway_is_finished_by_the_next(store: ClickHouse) -> None:
    for statement in migrations()[0].statements[:2]:
        store.run(statement)
    assert len(migrate(store).applied) == len(migrations())


def test_a_file_that_changed_after_it_was_applied_is_refused(store: ClickHouse, folder: Path) -> None:
    migrate(store, folder)
    path = folder / "0002_results.sql"
    path.write_text(path.read_text() + "\nDROP TABLE samples;\n")
    with pytest.raises(MigrationError, match=r"0002_results\.sql: it was changed after it was applied"):
        migrate(store, folder)
    assert store.rows("SELECT count() FROM samples") == [(0,)]


def test_a_new_file_is_applied_alone(store: ClickHouse, folder: Path) -> None:
    migrate(store, folder)
    number = len(migrations()) + 1
    (folder / f"{number:04d}_more.sql").write_text("CREATE TABLE more (x UInt8) ENGINE = MergeTree ORDER BY x;\n")
    assert migrate(store, folder).applied == (f"{number:04d}_more.sql",)


def test_a_history_of_a_newer_twinflow_is_refused(store: ClickHouse, folder: Path) -> None:
    migrate(store, folder)
    (folder / migrations()[-1].name).unlink()
    with pytest.raises(MigrationError, match="which is not here"):
        migrate(store, folder)


def test_numbers_without_a_gap_are_required(folder: Path) -> None:
    (folder / "0003_events.sql").unlink()
    with pytest.raises(MigrationError, match="numbers are not"):
        migrations(folder)


def test_what_is_older_than_the_file_says_goes_and_a_changed_file_changes_that(store: ClickHouse, folder: Path) -> None:
    migrate(store, folder)
    kept = "SELECT device FROM late ORDER BY device"
    now = time.time_ns()
    row: dict[str, list[str | int]] = {"signal": ["a"] * 3, "ts_ns": [now] * 3, "kp": [0] * 3, "kr": [0] * 3}
    ages: dict[str, list[str | int]] = {
        "device": ["day", "month", "week"],
        "known_ns": [now - d * DAY_NS for d in (1, 29, 8)],
        "ko": [1, 2, 3],
    }
    store.insert("late", row | ages)
    store.run("OPTIMIZE TABLE late FINAL")
    assert store.rows(kept) == [("day",), ("month",), ("week",)]
    path = folder / "retention.yaml"
    path.write_text(path.read_text().replace("raw:       30d", "raw:       7d"))
    assert migrate(store, folder).retained == ("late", "rows", "samples")
    store.run("OPTIMIZE TABLE late FINAL")
    assert store.rows(kept) == [("day",)]


def test_event_time_does_not_count_for_retention(store: ClickHouse) -> None:
    migrate(store)
    now = time.time_ns()
    row: dict[str, list[str | int]] = {
        "device": ["d"],
        "signal": ["a"],
        "ts_ns": [1],
        "known_ns": [now],
        "kp": [0],
        "ko": [0],
        "kr": [0],
    }
    store.insert("samples", row)
    store.run("OPTIMIZE TABLE samples FINAL")
    assert store.rows("SELECT count() FROM samples") == [(1,)]


def test_the_retention_file_names_every_table_that_grows_and_keeps_the_tail_long_enough(store: ClickHouse) -> None:
    migrate(store)
    tables = {name for (name,) in store.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")}
    assert tables - retention().keys() == {
        "schema_migrations",
        "schema_retention",
        "ingested",
        "definitions",
        "frontier",
    }
    file = msgspec.yaml.decode((FOLDER / "retention.yaml").read_bytes())
    for table in ("samples_recent", "twin_snapshots"):
        assert seconds(file["classes"][file["tables"][table][0]["class"]]) * 10**9 > 1.5 * TAIL_SAFE_NS


@pytest.mark.parametrize(("old", "new"), [("30d", "30 days"), ("{class: raw}", "{class: rough}"), ("version: 1", "")])
def test_a_retention_file_that_breaks_its_schema_is_refused(folder: Path, old: str, new: str) -> None:
    path = folder / "retention.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(MigrationError, match=r"retention\.yaml"):
        retention(path)


def test_every_table_keeps_merged_parts_for_as_long_as_a_full_disk_may_take_to_be_noticed(store: ClickHouse) -> None:
    migrate(store)
    query = "SELECT name, extract(create_table_query, 'old_parts_lifetime = (\\\\d+)') FROM system.tables "
    tables = dict(store.rows(query + "WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"))
    assert set(tables.values()) == {"120"}, tables
