"""The same messages and ticks through Kafka and the flow, and through a backtest, give the same tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
import pyarrow.compute as pc
import pytest

from connectors.shards import SHARDS
from flows.backtest import Result, hash_tables
from flows.collect import collect
from infra.cli_ledger import Since, examine
from tests.bench.generated import generate
from tests.bench.live import FLEET_YAML, TICKS, TYPE, Message, bounded, messages, send
from tests.flows.live_world import World

NAMED = (
    TYPE
    + """\
windows:
  - {id: slow, length: 3s, hop: 1s, allowed_lateness: 5s, signals: [a], quantiles: [0.5, 0.95], crest: true}
  - {id: run, session: 150ms, signals: [b]}
  - {id: hundred, count: 100}
  - {id: spectrum, length: 1s, signals: [a], bands: [[1, 10], [10, 40]]}
"""
)
"""One named window of every kind; pauses of the generator end sessions, held lines of `a` come within the allowed
lateness of `slow`, those of `b` are late for all."""


@pytest.fixture(scope="module")
def given() -> list[Message]:
    return list(messages(generate(60_000, devices=10)))


@pytest.fixture(scope="module")
def expected(given: list[Message]) -> Result:
    """Without the counts under way, which only the end of an input tells and a topic does not have."""
    result = bounded(given, NAMED)
    named = result.tables["named_windows"]
    under_way = pc.and_(pc.equal(named["window"], "hundred"), pc.less(named["count"], 100))
    result.tables["named_windows"] = named.filter(pc.invert(under_way))
    return result


@pytest.fixture(scope="module")
def world(given: list[Message], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A flow that was drained half-way and went on to the end."""
    made = World(tmp_path_factory.mktemp("live"), FLEET_YAML, probe=NAMED)
    try:
        half = len(given) // 2
        send(made.bootstrap, given[:half])
        made.run_to_end()
        send(made.bootstrap, given[half:])
        made.run_to_end()
        yield made
    finally:
        made.close()


def test_the_tables_have_the_same_hash(world: World, expected: Result) -> None:
    live = collect(world.bootstrap, "probe")
    assert {name: table.num_rows for name, table in live.items()} == {
        name: expected.tables[name].num_rows for name in ("windows", "named_windows", "rows", "anomalies", "late")
    }
    assert hash_tables(live) == hash_tables(expected.tables)
    assert set(hash_tables(live)) == {"windows", "named_windows", "rows", "anomalies"}
    assert min(table.num_rows for table in live.values()) > 0


def test_every_kind_of_named_window_comes_through_the_broker_and_some_were_revised(world: World) -> None:
    named = collect(world.bootstrap, "probe")["named_windows"]
    assert set(named["window"].to_pylist()) == {"slow", "run", "hundred", "spectrum"}
    assert max(named["revision"].to_pylist()) > 0


def test_the_ledgers_agree_but_for_ticks_which_every_partition_has_its_own_of(world: World, expected: Result) -> None:
    report = examine(world.bootstrap, Since(), patience_secs=10)
    assert (report.findings, report.complete) == ([], True)
    live, bounded_run = report.total, expected.ledger
    assert live.samples == bounded_run.samples
    ticks = bounded_run.records.control
    assert live.records.control == ticks * len(SHARDS)
    assert ticks >= TICKS


def test_the_dead_letters_are_the_same(world: World, expected: Result) -> None:
    letters = [msgspec.json.decode(record.value or b"") for record in world.records("dead-letters")]
    wanted = expected.tables["dead_letters"]
    told = Counter(zip(wanted["reason"].to_pylist(), wanted["raw"].to_pylist(), strict=True))
    assert Counter((letter["reason"], letter["raw"]) for letter in letters) == told
