"""Does the ledger of a partition add up: ranges tile the input, outcomes sum, results are there. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from connectors.ledger_reader import OUTCOMES, RANGE_COLUMNS, Counted, Facts
from operators.ledger import Counts, Ledger
from operators.types import I64

_AT = {name: i for i, name in enumerate(RANGE_COLUMNS)}
RESULTS = (
    ("readings", "samples", "samples.applied"),
    ("late", "samples", "samples.late"),
    ("dead-letters", "records", "records.rejected"),
    ("dead-letters", "samples", "samples.rejected"),
)
"""Topic, what is counted there, and the ledger column that it must equal, range by range."""
LOST = "twinflow logs telemetry says more; twinflow flow reset telemetry --yes --redeliver makes all results anew"
STOPPED = "twinflow status shows whether telemetry runs; then ask again"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not add up: what, and what to do next."""

    shard: str
    partition: int
    what: str
    next: str


@dataclass(slots=True)
class ShardAudit:
    """What the ledger of one partition says.

    Attributes:
        from_offset, end_offset: the ranges cover [from_offset, end_offset).
        behind: readable offsets after `end_offset` that the flow has not committed.
        ledger: sums over all ranges. skipped: offsets without a record.
        notes: what could not be compared, and why that is no error.
    """

    shard: str
    partition: int
    begin: int
    end: int
    committed: int | None
    from_offset: int = 0
    end_offset: int = 0
    behind: int = 0
    skipped: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(self, what: str, to_do: str = LOST) -> None:
        """Note something that does not add up."""
        self.findings.append(Finding(self.shard, self.partition, what, to_do))


def audit(facts: Facts, *, shard: str, partition: int, since: int = 0) -> ShardAudit:
    """Check one partition up to its committed offset.

    Args:
        facts: what the broker holds of it.
        shard, partition: its names.
        since: ranges that end at or before this offset are left out.
    """
    cut = facts.begin if facts.committed is None else facts.committed
    made = ShardAudit(shard, partition, facts.begin, facts.end, facts.committed, behind=max(0, facts.end - cut))
    start, end = facts.ranges[:, _AT["from_offset"]], facts.ranges[:, _AT["end_offset"]]
    for a, b in facts.ranges[(start < cut) & (end > cut), :2].tolist():
        made.find(f"the ledger range [{a}, {b}) crosses the committed offset {cut}")
    ranges = facts.ranges[(end <= cut) & (end > since)]
    lower = max(facts.begin, since)
    made.from_offset = made.end_offset = lower
    if len(ranges):
        made.from_offset, made.end_offset = int(ranges[0, 0]), int(ranges[-1, 1])
        _sum(made, ranges)
    _tiles(made, facts, ranges, lower, cut)
    _outcomes(made, ranges)
    for topic, what, column in RESULTS:
        counted = facts.results[topic]
        values = np.array(counted.records if what == "records" else counted.samples, np.int64)
        _results(made, topic, what, counted, values, ranges, ranges[:, _AT[column]])
    return made


def _sum(made: ShardAudit, ranges: I64) -> None:
    total = ranges.sum(axis=0).tolist()
    of = {lane: Counts(*(total[_AT[f"{lane}.{name}"]] for name in OUTCOMES)) for lane in ("records", "samples")}
    made.ledger = Ledger(total[_AT["records_in"]], total[_AT["samples_in"]], of["records"], of["samples"])
    made.skipped = total[_AT["skipped"]]


def _tiles(made: ShardAudit, facts: Facts, ranges: I64, lower: int, cut: int) -> None:
    """The ranges must follow each other from the oldest record that is kept to the committed offset."""
    if not len(ranges):
        if cut > lower:
            made.find(f"no ledger for offsets {lower} to {cut}")
        return
    first = made.from_offset
    if first > lower and facts.ledger_gone:
        made.notes.append(f"the ledger before offset {first} is no longer kept")
    elif first > lower:
        made.find(f"no ledger for offsets {lower} to {first}")
    elif facts.begin > first:
        made.notes.append(f"input before offset {facts.begin} is no longer kept; its ledger still counts")
    for before, after in zip(ranges[:-1, 1].tolist(), ranges[1:, 0].tolist(), strict=True):
        if after > before:
            made.find(f"no ledger for offsets {before} to {after}")
        elif after < before:
            made.find(f"offsets {after} to {before} are in the ledger twice")
    if made.end_offset < cut:
        made.find(f"no ledger for offsets {made.end_offset} to {cut}")


def _outcomes(made: ShardAudit, ranges: I64) -> None:
    """Each range: a record per offset that is not skipped, an outcome per record and per sample."""
    n = len(OUTCOMES)
    records = ranges[:, _AT["end_offset"]] - ranges[:, _AT["from_offset"]] - ranges[:, _AT["skipped"]]
    checks = (
        ("records", records - ranges[:, _AT["records_in"]], "without a place in the ledger"),
        ("records", ranges[:, _AT["records_in"]] - ranges[:, 5 : 5 + n].sum(axis=1), "without an outcome"),
        ("samples", ranges[:, _AT["samples_in"]] - ranges[:, 5 + n :].sum(axis=1), "without an outcome"),
    )
    for what, missing, how in checks:
        for i in np.flatnonzero(missing)[:1].tolist():
            wrong = int(np.count_nonzero(missing))
            where = f"in [{ranges[i, 0]}, {ranges[i, 1]})" + (f" and {wrong - 1} more ranges" if wrong > 1 else "")
            count = int(np.abs(missing).sum())
            made.find(f"{count} {what} {how if missing.sum() > 0 else 'with two outcomes'} {where}")


def _results(
    made: ShardAudit, topic: str, what: str, counted: Counted, values: I64, ranges: I64, expected: I64
) -> None:
    """What a topic holds of each range must be what the ledger says of it."""
    at = np.array(counted.at, np.int64)
    row = np.searchsorted(ranges[:, 0], at, side="right") - 1
    inside = (row >= 0) & (at < np.append(ranges[:, 1], 0)[row])
    found = np.zeros(len(ranges), np.int64)
    np.add.at(found, row[inside], values[inside])
    kept = 0
    if counted.gone:
        kept = int(row[0]) + 1 if at.size else len(ranges)
        offset = int(ranges[kept, 0]) if kept < len(ranges) else made.end_offset
        note = f"{topic} before offset {offset} are no longer kept: not compared"
        made.notes += [note] if kept and note not in made.notes else []
    difference = (found - expected)[kept:]
    for wrong, word in ((difference < 0, "missing"), (difference > 0, "too many")):
        if wrong.any():
            places = np.flatnonzero(wrong) + kept
            a, b = int(ranges[places[0], 0]), int(ranges[places[-1], 1])
            count = int(np.abs(difference[wrong]).sum())
            made.find(f"{count} {word} in {topic} ({what}, input offsets {a} to {b})")
