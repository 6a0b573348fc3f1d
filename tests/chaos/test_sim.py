"""The simulator finds nothing in what we have, finds what is broken on purpose, and says the same twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from unittest.mock import patch

import pytest

from connectors.kafka_commit import Settled, Source
from operators.state_log import StateLog, anything
from tests.chaos import sim
from tests.chaos.sim_process import Process, SimTransactions, SimWorker

SEEDS = range(1, 51)
ENOUGH = range(1, 121)
"""Seeds within which each planted bug must show."""


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def found(process: type[Process], *, fences: bool = True) -> str:
    """What the first seed that shows it says; "" where none does."""
    return next((o.wrong for o in (sim.run(s, process, fences=fences) for s in ENOUGH) if o.wrong), "")


def test_no_seed_breaks_a_promise_and_every_mishap_comes_about() -> None:
    outcomes = [sim.run(seed) for seed in SEEDS]
    assert [outcome.wrong for outcome in outcomes if outcome.wrong] == []
    happened = {word for outcome in outcomes for word in outcome.happened}
    assert {"crash", "power", "lost", "answer", "hangs", "zombie", "no", "older", "committed"} <= happened


def test_offsets_without_a_record_are_counted_once_where_a_replay_is_cut_otherwise() -> None:
    """The ledger of a replay once began before an offset that had been committed: seed 26 of this process saw it."""
    assert "ledger" not in sim.run(26, LiveLast).wrong


def test_the_head_of_a_log_that_a_power_cut_left_torn_does_not_keep_the_flow_from_starting() -> None:
    """It was once taken for a log of another version: seed 1811 saw it."""
    assert sim.run(1811).wrong == ""


def test_a_seed_says_the_same_twice_and_another_seed_something_else() -> None:
    assert sim.run(7) == sim.run(7)
    assert sim.run(7).trace != sim.run(8).trace


class OffsetFirst(SimTransactions):
    """Commits the offset, then what belongs to it."""

    def commit_at(self, offsets: Mapping[Source, int]) -> None:
        [offset] = offsets.values()
        self._link.broker.take([], offset)
        super().commit_at(offsets)


class Unfiltered(SimTransactions):
    """Delivers again what was delivered before a restart."""

    def write(self, settled: Settled) -> None:
        self.offsets = dict.fromkeys(self.offsets)
        super().write(settled)


def with_transactions(kind: type[SimTransactions]) -> type[Process]:
    class Worker(SimWorker):
        transactions_class = kind

    class Planted(Process):
        worker_class = Worker

    return Planted


class LiveLast(Process):
    """Commits before the live path has arrived."""

    def _mark(self) -> Callable[[], None]:
        return lambda: None

    def end_epoch(self) -> None:
        super().end_epoch()
        self.worker.threads.run()
        self.dice.point("committed, not yet told")
        self._flush()


def test_an_offset_that_is_committed_before_its_results_is_found() -> None:
    assert "due" in found(with_transactions(OffsetFirst))


def test_a_replay_without_the_filter_is_found() -> None:
    class Worker(SimWorker):
        transactions_class = Unfiltered

        def prepare(self) -> None:
            super().prepare()
            self.committed = {0: None}

    class Planted(Process):
        worker_class = Worker

    assert "said" in found(Planted)


def test_alerts_that_are_sent_after_the_commit_are_found() -> None:
    assert "live" in found(LiveLast)


def test_a_process_that_is_not_fenced_is_found() -> None:
    assert found(Process, fences=False)


def test_a_torn_delta_that_is_accepted_is_found() -> None:
    with patch("operators.state_log.zlib.crc32", lambda _data, _crc=0: 0):
        assert found(Process)


def test_a_state_ahead_of_what_was_delivered_is_found() -> None:
    restore: Callable[..., object] = StateLog.restore
    with patch.object(StateLog, "restore", lambda log, _fits: restore(log, anything)):
        assert "ahead" in found(Process)
