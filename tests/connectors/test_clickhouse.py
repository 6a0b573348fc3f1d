"""The ClickHouse connector against the real embedded history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from connectors.clickhouse import ClickHouse, Columns, HistoryError, HistoryUnavailable
from tests.support_history import HistoryHandle, free_port, running_history


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryHandle]:
    with running_history(tmp_path_factory.mktemp("history")) as handle:
        yield handle


@pytest.fixture
def store(history: HistoryHandle) -> Iterator[ClickHouse]:
    with ClickHouse(history.url, user=history.writer.user, password=history.writer.password) as connected:
        connected.run(
            "CREATE OR REPLACE TABLE samples (device LowCardinality(String), ts DateTime64(9, 'UTC'), v Float64) "
            "ENGINE = MergeTree ORDER BY (device, ts) SETTINGS non_replicated_deduplication_window = 100"
        )
        yield connected


def test_columns_go_in_and_come_back_as_rows_and_arrow(store: ClickHouse) -> None:
    ts = np.array([1_700_000_000_123_456_789, 1_700_000_001_000_000_000], dtype=np.int64)
    assert store.insert("samples", {"device": ["a", "b"], "ts": ts, "v": np.array([0.1, np.nan])}) == 2
    table = store.arrow("SELECT device, toUnixTimestamp64Nano(ts) AS ts, v FROM samples ORDER BY ts")
    assert table["ts"].to_pylist() == ts.tolist()
    assert store.rows("SELECT device, v FROM samples WHERE v = {v:Float64}", {"v": 0.1}) == [("a", 0.1)]
    assert store.arrow("SELECT v FROM samples WHERE 0").column_names == ["v"]


def test_arrow_tables_go_in(store: ClickHouse) -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pa.table(
        {"device": ["a"] * 3, "ts": pa.array([moment] * 3, pa.timestamp("ns", "UTC")), "v": [1.0, 2.0, 3.0]}
    )
    assert store.insert_arrow("samples", rows) == 3
    assert (
        sum(batch.num_rows for batch in store.arrow_batches("SELECT * FROM samples, numbers(50000) AS many")) == 150_000
    )


def test_the_same_token_twice_writes_once(store: ClickHouse) -> None:
    columns: Columns = {"device": ["a"], "ts": np.array([1], dtype=np.int64), "v": [1.0]}
    for token in ("samples/3@0-10", "samples/3@0-10", "samples/3@11-20"):
        store.insert("samples", columns, token=token)
    assert store.rows("SELECT count() FROM samples") == [(2,)]


def test_errors_say_where_what_and_the_engines_code(store: ClickHouse, history: HistoryHandle) -> None:
    with pytest.raises(HistoryError, match=f"history {history.url}: SELECT .* 60 UNKNOWN_TABLE") as raised:
        store.rows("SELECT * FROM nowhere")
    assert (raised.value.code, raised.value.name) == (60, "UNKNOWN_TABLE")
    with pytest.raises(HistoryError) as raised:
        ClickHouse(history.url, user="writer", password="wrong")
    assert raised.value.code == 516


def test_the_reader_reads(store: ClickHouse, history: HistoryHandle) -> None:
    url = history.url.replace("//", f"//{history.reader.user}:{history.reader.password}@") + "/default"
    with ClickHouse(url) as reader:
        assert history.reader.password not in reader.url
        assert reader.rows("SELECT count() FROM samples") == [(0,)]
        with pytest.raises(HistoryError) as raised:
            reader.run("DROP TABLE samples")
    assert raised.value.code == 164


def test_a_history_that_goes_away_is_told_apart_and_comes_back(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnavailable):
        ClickHouse(f"http://127.0.0.1:{free_port()}")
    with running_history(tmp_path) as gone:
        store = ClickHouse(gone.url, user=gone.writer.user, password=gone.writer.password)
        gone.kill()
        assert not store.alive()
        with pytest.raises(HistoryUnavailable):
            store.rows("SELECT 1")
        store.close()


def test_integers_count_the_unit_of_their_time_column_also_after_it_changed(store: ClickHouse) -> None:
    columns: Columns = {"device": ["a"], "ts": np.array([1_700_000_000_123_456_789]), "v": [1.0]}
    store.insert("samples", columns)
    store.run("CREATE OR REPLACE TABLE samples (device String, ts DateTime64(3, 'UTC'), n UInt8) ENGINE = Memory")
    with pytest.raises(HistoryError):
        store.insert("samples", columns)
    store.insert("samples", {"device": ["a"], "ts": [1_700_000_000_123], "n": [1]})
    assert store.rows("SELECT toUnixTimestamp64Milli(ts) FROM samples") == [(1_700_000_000_123,)]


def test_text_becomes_the_type_of_its_column(store: ClickHouse) -> None:
    store.run(
        "CREATE OR REPLACE TABLE typed (e Enum8('on' = 1), u UUID, n Nullable(Int32), a Array(Float64)) ENGINE = Memory"
    )
    text = "61f0c404-5cb3-11e7-907b-a6006ad3dba0"
    store.insert("typed", {"e": ["on"], "u": [text], "n": [None], "a": [[1.0, 2.0]]})
    assert store.rows("SELECT e, toString(u), n, a FROM typed") == [("on", text, None, [1.0, 2.0])]
    with pytest.raises(HistoryError):
        store.insert("typed", {"e": ["off"], "u": [text], "n": [1], "a": [[]]})
