"""Is the history what the topics say: each row there once, the samples the same, the roll-ups their sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

import pyarrow as pa

from connectors.clickhouse import ClickHouse
from flows.encode import from_bytes
from flows.history_lane import TABLES
from tests.chaos.checker import Verdict
from tests.flows.history_stream import count, produced, stored, wrong_rollups
from tests.flows.live_world import World

Place: TypeAlias = tuple[int, int, int]
"""Partition, offset, row within the record."""


def due(world: World, topic: str) -> Counter[Place]:
    """Where the rows of a topic come from: those of Arrow blocks, and one for each document."""
    found: Counter[Place] = Counter()
    for frames in world.read(topic):
        for row in range(len(frames)):
            value, headers = frames.value(row), frames.headers.get(row, {})
            is_block = value is not None and headers.get("content-type") != b"application/json"
            rows = from_bytes(value).num_rows if is_block and value is not None else 1
            found.update((frames.partition, int(frames.offset[row]), i) for i in range(rows))
    return found


def tables(topic: str) -> list[str]:
    """Those that hold a row for each row of a topic."""
    return [table for table in TABLES[topic] if table != "rollups"]


def complete(world: World, client: ClickHouse) -> bool:
    """Whether there are as many rows as there must be, and roll-ups of all of them."""
    rows_are_there = all(count(client, t) >= due(world, topic).total() for topic in TABLES for t in tables(topic))
    return rows_are_there and not wrong_rollups(client)


def check_stored(verdict: Verdict, world: World, client: ClickHouse) -> int:
    """Add to a verdict what is wrong with the history; how many rows it must hold."""
    total = 0
    for topic in TABLES:
        wanted = due(world, topic)
        for table in tables(topic):
            there: list[Place] = client.rows(f"SELECT kp, ko, kr FROM {table}")
            compare_places(verdict, table, there, wanted)
            total += wanted.total()
    _samples(verdict, world, client)
    for step in wrong_rollups(client):
        verdict.state_mismatches += 1
        verdict.note(f"rollups of {step} s are not the sums of the samples")
    for topic, reason in client.rows("SELECT topic, reason FROM quarantine"):
        verdict.unexpected += 1
        verdict.note(f"{topic}: a record was set aside: {reason}")
    return total


def compare_places(verdict: Verdict, table: str, there: Iterable[Place], wanted: Counter[Place]) -> None:
    """Rows that are not there, there more than once, there without a reason."""
    found = Counter(there)
    missing, more = wanted - found, found - wanted
    again = sum(count for place, count in more.items() if place in wanted)
    verdict.lost += missing.total()
    verdict.duplicates += again
    verdict.unexpected += more.total() - again
    for word, places in (("missing", missing), ("too many", more)):
        if places:
            verdict.note(f"{table}: {places.total()} {word}, as (partition, offset, row) {min(places)}")


def _samples(verdict: Verdict, world: World, client: ClickHouse) -> None:
    blocks: list[tuple[int, pa.Table]] = [
        (f.partition, from_bytes(value))
        for f in world.read("readings")
        for row in range(len(f))
        if (value := f.value(row)) is not None
    ]
    wanted = [repr(row[:8]) for row in produced(blocks)]
    for table in ("samples", "samples_recent"):
        wrong = Counter(repr(row[:8]) for row in stored(client, table)) - Counter(wanted)
        verdict.state_mismatches += wrong.total()
        for row in list(wrong)[:1]:
            verdict.note(f"{table}: {wrong.total()} rows are not those of the topic: {row}")
