"""A record on which our own code fails is found, kept and passed over; the rest is as if it had been refused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka_commit import Record
from connectors.shards import SHARDS
from flows.checkpoints import Checkpoints
from flows.lane import Lane, LaneOutput
from flows.poison import MOST, TRIES, Poison, PoisonError, marked
from flows.publish import Fetch, live_records, settled_records
from flows.shard import Shard, ShardOutput
from flows.shard_states import KeptShard
from operators.decoded import Messages, Report
from operators.frames import Frames
from operators.types import Batch, State
from tests.chaos.checker import differing
from tests.flows.mixed_input import FLEET, messages
from tests.flows.telling import told

COUNT = 400
VALUES, ARRIVALS = messages(COUNT)
WHY = "KeyError: 'planted'"
push = Lane.push


def part(start: int, stop: int) -> Frames:
    return Frames.of(VALUES[start:stop], arrival=ARRIVALS[start:stop], first_offset=start)


def applied() -> list[int]:
    """Offsets of records with samples: those on which a core could fail."""
    lanes = Shard(FLEET.type_of).push(part(0, COUNT)).lanes
    return sorted({int(offset) for lane in lanes for offset in lane.readings.offset})


APPLIED = applied()


def failing(bad: Collection[int]) -> Callable[..., LaneOutput]:
    """A core with a fault: it dies of some records, its state half changed."""

    def fails(lane: Lane, batch: Batch, messages: Messages, reports: Sequence[Report]) -> LaneOutput:
        if np.isin(batch.offset, list(bad)).any():
            lane.dedupe.push(batch, messages)
            raise KeyError("planted")
        return push(lane, batch, messages, reports)

    return fails


def records_of(outs: Sequence[ShardOutput]) -> list[Record]:
    made: list[Record] = []
    for out in outs:
        made += settled_records(SHARDS[0], 0, [Fetch.of(out)]) + live_records(out, shard=SHARDS[0], partition=0)
    return made


def supervised(folder: Path, cuts: Sequence[int]) -> tuple[list[Record], list[str], State]:
    """Run as the supervisor runs it: again after each end, from what is committed; every second fetch commits."""
    said, ends, committed = list[Record](), list[str](), 0
    edges = [0, *cuts, COUNT]
    while True:
        kept = KeptShard(
            FLEET.type_of, folder, 0, committed,
            checkpoints=Checkpoints(folder / "checkpoints", SHARDS[0]), definitions="0" * 64,
        )  # fmt: skip
        waiting: list[ShardOutput] = []
        try:
            for number, stop in enumerate([edge for edge in edges if edge > committed]):
                waiting.append(kept.push(part(committed if not waiting else waiting[-1].end_offset, stop)))
                if number % 2 or stop == COUNT:
                    kept.append()
                    said, committed, waiting = said + records_of(waiting), stop, []
        except PoisonError as end:
            ends.append(str(end))
            assert len(ends) < 50
            continue
        return said, ends, kept.core.snapshot()


@settings(max_examples=12, deadline=None)
@given(
    bad=st.lists(st.sampled_from(APPLIED), min_size=1, max_size=3, unique=True),
    cuts=st.lists(st.integers(1, COUNT - 1), max_size=8, unique=True).map(sorted),
)
def test_wherever_it_lies_and_however_fetches_are_cut_only_the_record_itself_is_lost(
    bad: list[int], cuts: list[int]
) -> None:
    refused = Shard(FLEET.type_of)
    due = told(records_of([refused.push(marked(part(0, COUNT), dict.fromkeys(bad, WHY)))]))
    with tempfile.TemporaryDirectory() as folder, patch.object(Lane, "push", failing(bad)):
        said, ends, state = supervised(Path(folder), cuts)
        assert told(said) == due
        assert not differing(state, refused.snapshot())
        assert len(ends) <= TRIES * len(bad)
        assert f"try {TRIES} failed: {WHY}" in ends[TRIES - 1]
        assert set(Poison(Path(folder), SHARDS[0]).offsets) == set(bad)
        again, later, _ = supervised(Path(folder) / "anew", [])
        assert (told(again), len(later)) == (due, TRIES)


def test_what_fails_for_another_reason_and_then_works_sets_nothing_aside(tmp_path: Path) -> None:
    fails = [MemoryError("once"), MemoryError("twice")]

    def twice(lane: Lane, batch: Batch, messages: Messages, reports: Sequence[Report]) -> LaneOutput:
        if fails:
            raise fails.pop()
        return push(lane, batch, messages, reports)

    with patch.object(Lane, "push", twice):
        said, ends, _ = supervised(tmp_path, [])
    assert len(ends) == 2
    assert told(said) == told(records_of([Shard(FLEET.type_of).push(part(0, COUNT))]))
    known = Poison(tmp_path, SHARDS[0])
    assert (known.offsets, known.suspects(part(0, COUNT))) == ({}, False)


def test_where_everything_fails_nothing_is_set_aside_and_it_is_said(tmp_path: Path) -> None:
    kept = KeptShard(
        FLEET.type_of, tmp_path, 0, None, checkpoints=Checkpoints(tmp_path / "c", SHARDS[0]), definitions="0" * 64
    )
    assert len(APPLIED) > MOST
    with patch.object(Lane, "push", failing(APPLIED)):
        for number in range(1, TRIES + 3):
            with pytest.raises(PoisonError, match=f"offsets 0 to {COUNT - 1}: try {number} failed"):
                kept.push(part(0, COUNT))
    assert Poison(tmp_path, SHARDS[0]).offsets == {}
