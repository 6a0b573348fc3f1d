"""The recorded log again: the same hash for any cut, nothing differs under the definitions of then, and what a changed
one would have decided is told rule by rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.decision_diff import Diff, diff
from flows.publish import ALERTS, REQUESTS
from flows.replay_log import Decisions, Span, add_document, replay
from operators.definition import Fleet
from operators.definition_yaml import loads
from operators.frames import Frames
from tests.flows.kept_flow import ARRIVALS, COUNT, PARTITION, STRICTER, VALUES, Flow, Log
from tests.flows.mixed_input import FLEET, PUMP

SPAN = Span(PARTITION, 350, 1300, 1450)


class Cut(Log):
    """The log in fetches of a given size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, partition: int, start: int, stop: int) -> Iterator[Frames]:
        stop = min(stop, COUNT)
        for at in range(start, stop, self.size):
            past = min(at + self.size, stop)
            yield Frames.of(VALUES[at:past], arrival=ARRIVALS[at:past], first_offset=at, partition=partition)


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    made = Flow(tmp_path_factory.mktemp("replayed"))
    made.run(None, [200, 600, 1000, COUNT])
    return made


def then(flow: Flow) -> Decisions:
    """The alerts and requests the flow told of the span, with the rows of an unbroken replay."""
    made = replay(Log(), flow.starts(), SPAN).made
    told = Decisions(parts=made.parts)
    for target in flow.told:
        add_document(told, target.said[0], target.value, SPAN)
    return told


def now(flow: Flow, old: str, new: str) -> Decisions:
    """What would have been decided had the type said something else."""
    assert old in PUMP
    return replay(Log(), flow.starts(), SPAN, loads(PUMP.replace(old, new))).made


def counts(found: Diff, topic: str, name: str) -> tuple[int, int, int, int, int, int]:
    c = found.by[topic][name]
    return c.then, c.now, c.same, c.changed, c.missing, c.added


def test_under_the_definitions_of_then_nothing_differs(flow: Flow) -> None:
    found = diff(then(flow), replay(Log(), flow.starts(), SPAN).made)
    assert not found.differs
    assert set(found.by) == {"alerts", "command-requests", "windows", "anomalies"}
    assert set(found.by["alerts"]) >= {"high", "spikes", "ordered"}
    assert min(c.same for named in found.by.values() for c in named.values()) > 0


@settings(max_examples=4, deadline=None)
@given(size=st.integers(7, 900))
def test_the_hash_does_not_depend_on_the_cuts(flow: Flow, size: int) -> None:
    assert replay(Cut(size), flow.starts(), SPAN).made.digest() == replay(Log(), flow.starts(), SPAN).made.digest()


def test_only_the_span_counts_whatever_state_it_began_from(flow: Flow, tmp_path: Path) -> None:
    other = Flow(tmp_path)
    other.run(None, [COUNT])  # one checkpoint, at the very start
    far, near = (replay(Log(), one.starts(), SPAN) for one in (other, flow))
    assert (far.before, near.before) == (350, 150)
    assert far.made.digest() == near.made.digest()
    assert (far.records, near.records) == (950, 950)


def test_a_rule_that_nothing_breaks_any_more_is_told_as_missing_with_its_commands(flow: Flow) -> None:
    found = diff(then(flow), now(flow, "above: 50, hysteresis", "above: 5000, hysteresis"), changed=True)
    total, left, *_ = counts(found, ALERTS, "high")
    assert (total > 0, left) == (True, 0)
    assert counts(found, ALERTS, "high") == (total, 0, 0, 0, total, 0)
    asked = counts(found, REQUESTS, "rule:high")
    assert asked == (asked[0], 0, 0, 0, asked[0], 0)
    assert all(one["kind"] == "missing" and one["cause"] for one in found.by[ALERTS]["high"].examples)
    assert len(found.by[ALERTS]["high"].examples) <= 3
    assert not any(c.differs for name, c in found.by[ALERTS].items() if name != "high")


def test_an_alert_that_begins_earlier_under_another_limit_is_one_that_changed(flow: Flow) -> None:
    found = diff(then(flow), now(flow, "above: 50, hysteresis: 5", "above: 33, hysteresis: 1"), changed=True)
    total, more, same, changed, missing, added = counts(found, ALERTS, "high")
    assert more > total > 0
    assert (same + changed, missing) == (total, 0)
    assert added == more - total
    moved = [one for one in found.by[ALERTS]["high"].examples if one["kind"] == "changed"]
    assert all(one["differs"] for one in moved)


def test_an_alert_under_a_limit_that_nothing_lay_between_is_the_same(flow: Flow) -> None:
    found = diff(then(flow), now(flow, "above: 50", "above: 49.9999"), changed=True)
    total, more, same, *_ = counts(found, ALERTS, "high")
    assert total == more == same


def test_a_detector_with_a_lower_threshold_finds_what_it_found_and_more(flow: Flow) -> None:
    spikes = "spikes, method: ewma_z, signals: [flow], threshold: "
    found = diff(then(flow), now(flow, spikes + "6", spikes + "3"), changed=True)
    total, more, same, changed, missing, added = counts(found, "anomalies", "spikes")
    assert (more > total, same + changed, missing) == (True, total, 0)
    assert added == more - total
    assert not found.by["anomalies"]["ordered"].differs


def test_definitions_that_changed_in_the_span_change_where_they_did(tmp_path: Path) -> None:
    flow = Flow(tmp_path)
    flow.run(None, [200, 700], FLEET)
    flow.run(700, [COUNT], STRICTER)
    assert not diff(then(flow), replay(Log(), flow.starts(), SPAN).made).differs


def test_a_type_with_other_signals_begins_without_state_and_says_so(flow: Flow) -> None:
    grown = loads(PUMP.replace("signals:\n", "signals:\n  more: {}\n"))
    replayed = replay(Log(), flow.starts(now=Fleet(FLEET.patterns, {**FLEET.types, "pump": grown})), SPAN, grown)
    assert ["begins without state" in note for note in replayed.notes] == [True]
