"""`twinflow bench history`: rows a second from Kafka into the embedded history, bytes a sample, questions to the past.

rows_per_s        readings in Kafka -> samples, samples_recent, rollups and snapshots, the writer and engine that `up`
                  runs; a backlog in blocks as telemetry makes them (10,000 twins x 10 signals, 300,000 rows a second)
bytes_per_point   all columns of the table samples on disk, recordings of --recordings; other tables beside it
asof_p95_ms       newest sample of each of 100,000 series at a random instant, as Arrow at the client
one_hour_p95_ms   one signal of one twin over an hour
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from confluent_kafka import Producer

from connectors.clickhouse import ClickHouse
from connectors.kafka_commit import PRODUCER
from flows.encode import blocks
from flows.history_rollups import rolled_up
from infra.migrate import migrate
from tests.bench.history_past import asked, load
from tests.bench.recorded import RECORDINGS, samples_of
from tests.flows.history_stream import authorised, ensure_result_topics, running_writer, until
from tests.support_history import HistoryHandle, running_history
from tests.support_kafka import running_broker

RECORDED = Path(__file__).parents[3] / "shared" / "data"
TWINS, SIGNALS, PARTITIONS = 10_000, 10, 12
RATE = 300_000
"""Samples in a second of event time, so that roll-ups and blocks are those of a fleet at this rate."""
TABLES = ("samples", "samples_recent", "rollups")
MB = 1e6


def epoch(number: int, start_ns: int) -> Iterator[tuple[int, pa.Table]]:
    """What telemetry leaves of one second in each partition: messages of ten signals, in order of arrival."""
    messages = RATE // SIGNALS // PARTITIONS
    for kp in range(PARTITIONS):
        random = np.random.default_rng((number, kp))
        twins = np.arange(kp, TWINS, PARTITIONS)
        twin = random.integers(0, twins.size, messages)
        at = start_ns + np.sort(random.integers(0, 1000, messages)) * 1_000_000 + number * 1_000_000_000
        seq = np.arange(messages) + number * messages
        values = np.round(random.normal(50, 5, messages * SIGNALS), 2)
        yield (
            kp,
            pa.table(
                {
                    "device": _text(twin.repeat(SIGNALS), [f"twin-{i:05}" for i in twins]),
                    "signal": _text(np.tile(np.arange(SIGNALS), messages), [f"s{i}" for i in range(SIGNALS)]),
                    "ts_ns": at.repeat(SIGNALS),
                    "arrival_ns": (at + 20_000_000).repeat(SIGNALS),
                    "value": values,
                    "quality": np.zeros(values.size, np.uint8),
                    "seq": seq.repeat(SIGNALS),
                    "offset": seq.repeat(SIGNALS),
                }
            ),
        )


def _text(codes: np.ndarray[tuple[int], np.dtype[np.int64]], names: list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names))


def produce(bootstrap: str, first: int, epochs: int, start_ns: int) -> int:
    """Epochs as transactions into `readings`; rows."""
    own: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "transactional.id": "bench"}
    producer = Producer({**PRODUCER, **own, "queue.buffering.max.kbytes": 1 << 20})
    producer.init_transactions(30)
    rows = 0
    for number in range(first, first + epochs):
        producer.begin_transaction()
        for kp, table in epoch(number, start_ns):
            for record in blocks("readings", table, shard=f"{kp:02}", partition=kp, twin_type="machine"):
                headers: list[tuple[str, str | bytes | None]] = list(record.headers)
                producer.produce("readings", record.value, record.key, kp, headers=headers)
            rows += table.num_rows
        producer.commit_transaction(60)
    return rows


def streamed(folder: Path, rounds: int, rows: int) -> dict[str, object]:
    """Backlogs of so many rows, one after the other into the same history."""
    rates, cpu = list[float](), {"writer": 0.0, "engine": 0.0, "broker": 0.0}
    epochs, total = max(1, rows // RATE), 0
    start_ns = time.time_ns() - (rounds * epochs + 60) * 1_000_000_000
    with running_broker(folder / "kafka") as bootstrap, _history(folder / "history") as history:
        ensure_result_topics(bootstrap)
        with ClickHouse(authorised(history)) as client:
            for number in range(rounds):
                before, added = total, produce(bootstrap, number * epochs, epochs, start_ns)
                total += added
                with running_writer(bootstrap, authorised(history), folder / "writer.log") as writer:
                    assert writer.process is not None
                    until(partial(_reached, client, before + 1), what="a first row", within_secs=60)
                    began, first, busy = time.monotonic(), stored(client), _cpu(writer.process.pid, history)
                    until(partial(_reached, client, total, 0.25), what="all rows", within_secs=600)
                    rates.append((total - first) / (time.monotonic() - began))
                    for name, secs in _cpu(writer.process.pid, history).items():
                        cpu[name] += secs - busy[name]
                    rss = psutil.Process(writer.process.pid).memory_info().rss / MB
                    writer.stop()
            [(count, distinct)] = client.rows("SELECT count(), uniqExact(kp, ko, kr) FROM samples")
            assert (count, distinct) == (total, total), "a row is missing or there twice"
            sizes = dict(client.rows(_SIZES))
            engine_rss = psutil.Process(history.process.pid).memory_info().rss / MB
    return {
        "rows_per_s": round(float(np.median(rates))),
        "rows_per_s_rounds": [round(r) for r in rates],
        "rows_per_s_spread": round((max(rates) - min(rates)) / float(np.median(rates)), 3),
        "rows_streamed": total,
        "cpu_us_per_row": {name: round(secs / total * 1e6, 2) for name, secs in cpu.items()},
        "rss_mb": {"writer": round(rss), "engine": round(engine_rss)},
        "stream_bytes_per_row": {name: round(size / total, 2) for name, size in sizes.items()},
    }


_SIZES = """SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()
AND table IN ('samples', 'samples_recent', 'rollups', 'twin_snapshots') GROUP BY table ORDER BY table"""


def stored(client: ClickHouse) -> int:
    """Samples that are in all their tables (every sample is finite, so roll-ups count each once per step)."""
    query = "SELECT (SELECT count() FROM samples), (SELECT count() FROM samples_recent), "
    [counts] = client.rows(query + "(SELECT sum(count) FROM rollups WHERE step_s = 3600)")
    return int(min(counts))


def _reached(client: ClickHouse, rows: int, pause_secs: float = 0.0) -> bool:
    time.sleep(pause_secs)  # each look takes of what is measured
    return stored(client) >= rows


def _cpu(writer: int, history: HistoryHandle) -> dict[str, float]:
    java = next(p for p in psutil.Process().children(recursive=True) if "java" in p.name())
    spent = {name: p.cpu_times() for name, p in (("writer", psutil.Process(writer)), ("broker", java))}
    spent["engine"] = psutil.Process(history.process.pid).cpu_times()
    return {name: times.user + times.system for name, times in spent.items()}


@contextmanager
def _history(folder: Path) -> Iterator[HistoryHandle]:
    with running_history(folder) as history:
        with ClickHouse(authorised(history)) as client:
            migrate(client)
        yield history


def compact(folder: Path, recordings: Path) -> dict[str, object]:
    """Bytes of a sample on disk after a merge, by recording and table. Nothing is too old: retention is taken off."""
    found: dict[str, dict[str, float]] = {}
    with _history(folder) as history, ClickHouse(authorised(history)) as client:
        for table in TABLES:
            client.run(f"ALTER TABLE {table} REMOVE TTL")
        for name in RECORDINGS:
            if not (recordings / name).is_dir():
                continue
            rows = samples_of(name, recordings)
            given = {
                "samples": rows,
                "samples_recent": rows.drop_columns(["source_offset"]),
                "rollups": rolled_up(rows),
            }
            for table, content in given.items():
                client.run(f"TRUNCATE TABLE {table}")
                client.insert_arrow(table, content)
                client.run(f"OPTIMIZE TABLE {table} FINAL")
            sizes = dict(client.rows(_SIZES))
            found[name] = {table: round(sizes[table] / rows.num_rows, 2) for table in TABLES} | {
                "points": rows.num_rows
            }
    return {
        "recordings_absent": [name for name in RECORDINGS if name not in found],
        "bytes_per_point": {name: sizes["samples"] for name, sizes in found.items()},
        "beside_bytes_per_point": {n: {t: s[t] for t in TABLES[1:]} for n, s in found.items()},
        "points": {name: int(sizes["points"]) for name, sizes in found.items()},
    }


def past(folder: Path, rows: int, questions: int) -> dict[str, object]:
    """Questions to a large history; one that is in the folder already is asked again."""
    with _history(folder) as history, ClickHouse(authorised(history), timeout_secs=600) as client:
        made = load(client, folder / "past.json", rows)
        parts = dict(client.rows(_SIZES))
        answers = asked(client, made, questions)
    bytes_of = {name: round(size / made.rows, 2) for name, size in parts.items() if name != "twin_snapshots"}
    return {"rows": made.rows, **answers, "rows_bytes": bytes_of}


def main(argv: list[str]) -> int:
    """Run the parts asked for and print their figures; a row that is missing or there twice ends it."""
    parser = argparse.ArgumentParser(
        prog="twinflow bench history", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000_000, help="of the past that is asked (0: leave it out)")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--stream", type=int, default=6_000_000, help="rows of one backlog (0: leave it out)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recordings", type=Path, default=RECORDED, help="folder of public recordings")
    parser.add_argument("--past", type=Path, help="folder where the past is kept for another run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    if 0 < options.stream < 10 * RATE:
        parser.error(f"--stream: at least {10 * RATE} rows, or the first batch is all there is to see")
    report: dict[str, object] = {"rounds": options.rounds, "load_before": round(psutil.getloadavg()[0], 2)}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # broker and engine end with it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: list[Callable[[], dict[str, object]]] = []
        if options.stream:
            parts.append(lambda: streamed(folder / "stream", options.rounds, options.stream))
        parts.append(lambda: compact(folder / "compact", options.recordings))
        if options.rows:
            parts.append(lambda: past(options.past or folder / "past", options.rows, options.questions))
        for part in parts:
            report |= (found := part())
            sys.stderr.write(json.dumps(found) + "\n")
    sys.stdout.write(json.dumps(report, indent=None if options.json else 2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
