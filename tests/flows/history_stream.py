"""Results as telemetry writes them, produced into a real broker, and the writer as a process that can be killed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from confluent_kafka import Producer

from connectors.clickhouse import ClickHouse, HistoryError
from flows.encode import to_bytes
from flows.history_lane import TABLES
from flows.history_rollups import STEPS_SECS
from infra.kafka.topics import Topic, ensure_topics, load_topics
from tests.support_flow import start_flow
from tests.support_history import HistoryHandle

MINUTE_NS = 60_000_000_000
SIGNALS = ("pressure", "flow")


def ensure_result_topics(bootstrap: str) -> None:
    """The topics of infra/topics.yaml, and those that the history reads beside."""
    known = load_topics()
    config = known["windows"].config
    more = [Topic(name, "device", 12, config) for name in TABLES if name not in known]
    ensure_topics(bootstrap, [*known.values(), *more])


def samples(
    device: Sequence[str],
    ts_ns: Sequence[int],
    value: Sequence[float],
    *,
    signal: Sequence[str] | None = None,
    arrival_ns: Sequence[int] | None = None,
    seq: Sequence[int] | None = None,
) -> pa.Table:
    """A block of the topic readings, with the columns of flows.tables.samples_table."""
    n = len(device)
    return pa.table(
        {
            "device": pa.array(device).dictionary_encode(),
            "signal": pa.array(signal or [SIGNALS[0]] * n).dictionary_encode(),
            "ts_ns": pa.array(ts_ns, pa.int64()),
            "arrival_ns": pa.array(arrival_ns or ts_ns, pa.int64()),
            "value": pa.array(value, pa.float64()),
            "quality": pa.array([0] * n, pa.uint8()),
            "seq": pa.array(seq or [-1] * n, pa.int64()),
            "offset": pa.array(range(n), pa.int64()),
        }
    )


def made_up(block: int, *, rows: int, partition: int, start_ns: int) -> pa.Table:
    """A repeatable block: ten devices of one partition, two signals each, 100 ms apart, arriving 20 ms later."""
    random = np.random.default_rng((partition, block))
    at = start_ns + (block * rows + np.arange(rows)) * 100_000_000
    names = [f"p{partition:02d}-{i % 10}" for i in range(rows)]
    signal = [SIGNALS[i // 10 % 2] for i in range(rows)]
    ts = at - random.integers(0, 2_000_000_000, rows)
    return samples(names, ts.tolist(), random.normal(5, 1, rows).tolist(), signal=signal,
                   arrival_ns=(at + 20_000_000).tolist(), seq=(block * rows + np.arange(rows)).tolist())  # fmt: skip


class Topics:
    """Produces into the result topics in transactions, as telemetry does."""

    def __init__(self, bootstrap: str, name: str = "history-test") -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "linger.ms": 1})
        self._producer.init_transactions(30)

    def blocks(self, topic: str, tables: Sequence[tuple[int, pa.Table]], *, commit: bool = True) -> None:
        """One transaction with Arrow blocks, each for a partition."""
        headers: list[tuple[str, str | bytes | None]] = [("twin-type", b"pump")]
        self._producer.begin_transaction()
        for partition, table in tables:
            self._producer.produce(topic, to_bytes(table), b"shard", partition=partition, headers=headers)
        self._end(commit)

    def records(self, topic: str, values: Sequence[tuple[int, str, object]], *, commit: bool = True) -> None:
        """One transaction with records: partition, key and a value (bytes and None as they are, else as JSON)."""
        self._producer.begin_transaction()
        for partition, key, value in values:
            raw = value if isinstance(value, bytes) or value is None else msgspec.json.encode(value)
            self._producer.produce(topic, raw, key.encode(), partition=partition)
        self._end(commit)

    def _end(self, commit: bool) -> None:
        if commit:
            self._producer.commit_transaction(30)
        else:
            self._producer.flush(30)
            self._producer.abort_transaction(30)


class WriterProcess:
    """`python -m flows.history`, to be started again after it was killed."""

    def __init__(self, bootstrap: str, url: str, log: Path) -> None:
        self._variables = {"TWINFLOW_KAFKA": bootstrap, "TWINFLOW_CLICKHOUSE": url}
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = start_flow("flows.history", self._variables, self.log)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process = None
        return code


@contextmanager
def running_writer(bootstrap: str, url: str, log: Path) -> Iterator[WriterProcess]:
    writer = WriterProcess(bootstrap, url, log)
    writer.start()
    try:
        yield writer
    finally:
        if writer.process is not None:
            writer.stop(signal.SIGKILL)


def authorised(history: HistoryHandle, role: str = "writer") -> str:
    """The URL with user and password."""
    user = history.writer if role == "writer" else history.reader
    return history.url.replace("://", f"://{user.user}:{user.password}@")


def until(ready: Callable[[], bool], *, what: str, within_secs: float = 60.0) -> None:
    """Wait for a condition; a history that is away is not ready."""
    deadline = time.monotonic() + within_secs
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except HistoryError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {within_secs:g} s")


def count(client: ClickHouse, table: str) -> int:
    """Rows that are physically there, duplicates too."""
    return int(client.rows(f"SELECT count() FROM {table}")[0][0])


def produced(tables: Sequence[tuple[int, pa.Table]]) -> list[tuple[object, ...]]:
    """Rows of the table samples that these blocks must become, sorted."""
    names = ("device", "signal", "ts_ns", "arrival_ns", "value", "quality", "seq", "offset")
    rows = [(p, *row) for p, t in tables for row in zip(*(t[n].to_pylist() for n in names), strict=True)]
    return sorted(rows)


def stored(client: ClickHouse, table: str = "samples") -> list[tuple[object, ...]]:
    """The same columns, as they physically are in the history."""
    offset = "source_offset" if table == "samples" else "0"
    columns = f"kp, device, signal, ts_ns, known_ns, value, quality, seq, {offset}"
    return sorted(client.rows(f"SELECT {columns} FROM {table}"))


def wrong_rollups(client: ClickHouse) -> list[int]:
    """Steps, s, whose roll-ups are not what polars makes of the samples: counts, least and largest to the bit, sums to
    1e-9."""
    base = pl.DataFrame(pl.from_arrow(client.arrow("SELECT device, signal, ts_ns, value FROM samples FINAL")))
    keys, wrong = ["device", "signal", "start_ns"], []
    query = """
        SELECT device, signal, start_ns, sum(count) AS count, sum(rollups.sum) AS sum, min(min) AS min, max(max) AS max
        FROM rollups WHERE step_s = {step:UInt16} GROUP BY device, signal, start_ns ORDER BY device, signal, start_ns
        """
    for step in STEPS_SECS:
        start = (pl.col("ts_ns") // (step * 10**9) * (step * 10**9)).alias("start_ns")
        figures = [pl.len().alias("count"), pl.col("value").sum().alias("sum")]
        figures += [pl.col("value").min().alias("min"), pl.col("value").max().alias("max")]
        due = base.group_by("device", "signal", start).agg(figures).sort(keys)
        found = pl.DataFrame(pl.from_arrow(client.arrow(query, {"step": step})))
        same = all(found[name].to_list() == due[name].to_list() for name in (*keys, "count", "min", "max"))
        if not (same and np.allclose(found["sum"].to_numpy(), due["sum"].to_numpy(), rtol=1e-9)):
            wrong.append(step)
    return wrong
