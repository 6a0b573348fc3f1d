"""The three laws over the whole shard: every record it publishes is the same for any cut, replay and resume."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka_commit import Record
from flows.publish import STATE_EVERY_NS, Fetch, StatePublisher, live_records, settled_records
from flows.shard import Shard
from operators.definition_yaml import loads
from operators.frames import Frames
from operators.ledger import Ledger
from operators.state_log import StateLog, anything
from operators.types import State
from tests.chaos.checker import differing
from tests.flows.mixed_input import FLEET, messages
from tests.flows.telling import told

COUNT = 2400
VALUES, ARRIVALS = messages(COUNT)
CUTS = st.lists(st.integers(1, COUNT - 1), max_size=12, unique=True).map(sorted)


def part(start: int, stop: int) -> Frames:
    return Frames.of(VALUES[start:stop], arrival=ARRIVALS[start:stop], first_offset=start)


def run(cuts: list[int], *, resume: bool = False) -> tuple[dict[str, list[str]], Ledger, State]:
    shard, records, ledger = Shard(FLEET.type_of), list[Record](), Ledger()
    with tempfile.TemporaryDirectory() as folder:
        for start, stop in zip([0, *cuts], [*cuts, COUNT], strict=True):
            out = shard.push(part(start, stop))
            ledger += out.ledger
            records += settled_records("00bg", 0, [Fetch.of(out)]) + live_records(out, shard="00bg", partition=0)
            if resume:
                StateLog(Path(folder), "00bg").append(shard.snapshot())
                shard = Shard(FLEET.type_of)
                restored = StateLog(Path(folder), "00bg").restore(anything)
                assert restored.state is not None
                shard.restore(restored.state)
    return told(records), ledger, shard.snapshot()


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, list[str]], Ledger, State]:
    return run([])


def test_the_stream_has_everything_in_it(whole: tuple[dict[str, list[str]], Ledger, State]) -> None:
    lines, ledger, _ = whole
    topics = Counter(name.partition("/")[0] for name in lines)
    expect = {"readings", "windows", "named-windows", "rows", "late", "anomalies", "alerts", "command-requests"}
    expect |= {"dead-letters", "gaps"}
    assert expect <= set(topics)
    counts = ledger.records
    assert min(counts.control, counts.applied, counts.late, counts.duplicate, counts.rejected, counts.quarantined) > 0
    assert ledger.records_in == COUNT
    assert ledger.balance == 0
    dead = "".join("".join(v) for k, v in lines.items() if k.startswith("dead-letters"))
    reasons = ("bad_json", "unknown_type", "bad_time", "bad_report", "partial_vector", "empty")
    assert [reason for reason in reasons if reason not in dead] == []
    rules = "".join("".join(v) for k, v in lines.items() if k.startswith("alerts"))
    expected = ("'high'", "'silent'", "'spikes'", "'ordered'", "'joint'", "'returned'", "'after'", "'lacking'")
    assert [rule for rule in expected if rule not in rules] == []


@settings(max_examples=8, deadline=None)
@given(cuts=CUTS)
def test_cutting_the_log_into_fetches_changes_nothing(cuts: list[int]) -> None:
    lines, ledger, _ = run([])
    other, other_ledger, _ = run(cuts)
    assert other == lines
    assert other_ledger == ledger


def test_a_replay_is_identical(whole: tuple[dict[str, list[str]], Ledger, State]) -> None:
    assert run([])[0] == whole[0]


@settings(max_examples=8, deadline=None)
@given(cuts=CUTS)
def test_stopping_at_any_record_and_resuming_from_the_state_log_equals_an_uninterrupted_run(cuts: list[int]) -> None:
    lines, ledger, _ = run([])
    other, other_ledger, _ = run(cuts, resume=True)
    assert other == lines
    assert other_ledger == ledger


@settings(max_examples=8, deadline=None)
@given(cuts=CUTS)
def test_the_rows_that_operators_name_as_changed_hold_every_change(cuts: list[int]) -> None:
    shard = Shard(FLEET.type_of)
    with tempfile.TemporaryDirectory() as folder:
        log = StateLog(Path(folder), "00bg")
        for start, stop in zip([0, *cuts], [*cuts, COUNT], strict=True):
            shard.push(part(start, stop))
            log.append(shard.view(), shard.changed())
            restored = StateLog(Path(folder), "00bg").restore(anything)
            assert differing(restored.state or {}, shard.snapshot()) == []


def test_the_ledgers_of_fetches_tile_the_log() -> None:
    shard, at = Shard(FLEET.type_of), 0
    for stop in (7, 500, 501, COUNT):
        out = shard.push(part(at, stop))
        assert (out.from_offset, out.end_offset, out.skipped) == (at, stop, 0)
        assert out.ledger.balance == 0
        at = stop


def test_offsets_without_a_record_are_counted_as_skipped() -> None:
    shard = Shard(FLEET.type_of)
    shard.push(part(0, 10))
    assert shard.push(part(14, 20)).skipped == 4


def test_a_header_that_says_the_clock_is_trusted_is_believed_over_the_type() -> None:
    ahead = b'{"device":"pump-1","ts":1700003600,"signals":{"flow":30}}'
    frames = Frames.of([ahead, ahead], arrival=1_700_000_000 * 10**9, headers={1: {"clock": b"trusted"}})
    [pump] = Shard(FLEET.type_of).push(frames).lanes
    assert pump.readings.offset.tolist() == [0, 1]
    corrected, believed = pump.readings.ts.tolist()
    assert abs(corrected - 1_700_000_000 * 10**9) < 10**9
    assert believed == 1_700_003_600 * 10**9


def test_groups_that_lack_a_member_are_counted_in_the_record_of_the_ledger() -> None:
    twin = loads("{twin_type: g, version: 1, signals: {a: {}, b: {}}, window: {lateness: 0}, align: {group: 1s}}")
    shard = Shard(lambda _device: twin)
    sent = [(0, {"a": 1.0, "b": 2.0}), (10, {"a": 1.0}), (20, {"b": 1.0}), (30, {"a": 1.0})]
    lines = [json.dumps({"device": "d", "ts": 1_700_000_000 + t, "signals": x}).encode() for t, x in sent]
    out = shard.push(Frames.of(lines))
    (record,) = (r for r in settled_records("00bg", 0, [Fetch.of(out)]) if r.topic == "ledger")
    assert json.loads(record.value or b"")["incomplete_groups"] == 2
    assert out.lanes[0].rows is not None
    assert out.lanes[0].rows.value.tolist() == [[1.0, 2.0]]


def test_states_are_told_once_a_second_of_arrival_and_at_once_where_the_clock_of_the_broker_went_back() -> None:
    shard, states = Shard(FLEET.type_of), StatePublisher()
    seconds = (1000.0, 1000.5, 1001.0, 1000.5, 400.0, 400.9, 401.0, 3000.0)
    told_at = []
    for i, second in enumerate(seconds):
        out = shard.push(part(100 * i, 100 * (i + 1)))
        states.note(out)
        newest = int(second * STATE_EVERY_NS)
        if states.due(out, newest_arrival_ns=newest, shard="00bg", partition=0):
            told_at.append(second)
    assert told_at == [1000.0, 1001.0, 400.0, 401.0, 3000.0]
