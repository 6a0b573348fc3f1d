"""`twinflow ledger`: is every record that came in accounted for, asked of the broker alone."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from connectors.ledger_reader import RESULTS, LedgerReader
from connectors.shards import SHARDS
from connectors.topic_tail import TopicError
from flows.ledger_check import STOPPED, Finding, ShardAudit, audit
from infra.address import kafka_address
from infra.errors import ExitCode, UsageFault
from infra.paths import Folders
from infra.settings import Settings
from operators.ledger import Ledger
from operators.times import nanos_of_text

CUT_SECS = 10.0
SETTLE_SECS = 3.0
"""A result may become readable this much later than the offset it was committed with."""
BETWEEN_SECS = 0.1


@dataclass(frozen=True, slots=True)
class Since:
    """Where to start: an offset of every partition, or an arrival time, ns UTC."""

    offset: int = 0
    ns: int = 0

    @staticmethod
    def of(text: str) -> Since:
        """
        >>> Since.of("120"), Since.of("2026-01-02T03:04:05Z").ns
        (Since(offset=120, ns=0), 1767323045000000000)
        """
        if not text or re.fullmatch("[0-9]{1,18}", text):
            return Since(offset=int(text or 0))
        ns = nanos_of_text(text)
        if ns is None:
            fix = "write an offset like 120 or a time like 2026-01-31T12:00:00Z"
            raise UsageFault(what=f"--since {text}", why="is neither an offset nor a time", fix=fix)
        return Since(ns=ns)


@dataclass(frozen=True, slots=True)
class Report:
    """The cut: what every shard says, whether the flow reached what the topic held when asked, and per device what
    became of its samples, as far as results tell."""

    shards: list[ShardAudit]
    complete: bool
    waited_secs: float
    devices: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def findings(self) -> list[Finding]:
        return [f for shard in self.shards for f in shard.findings]

    @property
    def total(self) -> Ledger:
        return sum((shard.ledger for shard in self.shards), Ledger())


def ledger(folders: Folders, settings: Settings, *, check: bool, since: str, as_json: bool) -> ExitCode:
    """Print the ledger; with `check` wait for a cut and FAILED unless it balances there.

    Raises:
        UsageFault: `since` is nothing to start from.
        NotRunning: there is no Kafka to ask.
        TopicError: it stopped answering.
    """
    start = Since.of(since)
    bootstrap = kafka_address(folders, settings, ["samples", "ledger", *RESULTS])
    report = examine(bootstrap, start, patience_secs=CUT_SECS if check else 0.0)
    if as_json:
        sys.stdout.write(json.dumps(_fields(report), indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(report))
    good = not report.findings and (report.complete or not check)
    for text in _faults(report, check=check):
        sys.stderr.write(f"twinflow: {text}\n")
    return ExitCode.FAILED if check and not good else ExitCode.OK


def examine(bootstrap: str, since: Since, *, patience_secs: float) -> Report:
    """Read the broker until the flow has committed what the topic holds now and all is there, or patience ends."""
    started = time.monotonic()
    reader = LedgerReader(bootstrap, since_ns=since.ns, since=since.offset)
    try:
        goal = reader.ends()
        reached = math.inf
        while True:
            committed = _committed(reader)
            complete = all((committed[p] or reader.since[p]) >= end for p, end in goal.items())
            now = time.monotonic()
            reached = min(reached, now) if complete else math.inf
            over = now - started >= patience_secs or now - reached >= SETTLE_SECS
            if complete or over:
                reader.read()
                facts = reader.facts(committed)
                offsets = reader.since if since.ns else dict.fromkeys(facts, since.offset)
                shards = [audit(f, shard=SHARDS[p], partition=p, since=offsets[p]) for p, f in facts.items()]
                report = Report(shards, complete, round(time.monotonic() - started, 1), reader.devices)
                if over or not report.findings:
                    return report
            time.sleep(BETWEEN_SECS)
    finally:
        reader.close()


def _committed(reader: LedgerReader) -> dict[int, int | None]:
    """The committed offsets; a broker that has just come back refuses to tell them for a moment."""
    deadline = time.monotonic() + CUT_SECS
    while True:
        try:
            return reader.committed()
        except TopicError:
            if time.monotonic() > deadline:
                raise
        time.sleep(BETWEEN_SECS)


def _fields(report: Report) -> dict[str, object]:
    total = report.total
    return {
        "balanced": not report.findings,
        "complete": report.complete,
        "waited_s": report.waited_secs,
        "ledger": total.to_dict(),
        "behind": sum(shard.behind for shard in report.shards),
        "devices": {name: dict(counts) for name, counts in sorted(report.devices.items())},
        "shards": [{**asdict(shard), "ledger": shard.ledger.to_dict()} for shard in report.shards],
        "findings": [asdict(finding) for finding in report.findings],
    }


def _lines(report: Report) -> list[str]:
    head = ("shard", "offsets", "behind", "records", "applied", "late", "repeated", "rejected", "aside", "control")
    rows: list[tuple[str, ...]] = [head]
    for shard in report.shards:
        counts = shard.ledger.records
        figures = (shard.behind, counts.total, counts.applied, counts.late, counts.duplicate, counts.rejected)
        more = (counts.quarantined, counts.control)
        span = f"{shard.from_offset}-{shard.end_offset}"
        rows.append((shard.shard, span, *(f"{n:,}" for n in (*figures, *more))))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += [f"{shard.shard}: {note}" for shard in report.shards for note in shard.notes]
    total = report.total
    verdict = "does not balance" if report.findings else "balanced"
    return [*lines, f"{total.records_in:,} records, {total.samples_in:,} samples: {verdict}"]


def _faults(report: Report, *, check: bool) -> list[str]:
    faults = [f"shard {f.shard}: {f.what}; {f.next}" for f in report.findings]
    behind = [shard for shard in report.shards if shard.behind]
    if check and not report.complete:
        names = ", ".join(f"{s.shard} by {s.behind:,}" for s in behind[:4]) + (", ..." if len(behind) > 4 else "")
        faults.append(f"no cut in {CUT_SECS:g} s: behind are {names}; {STOPPED}")
    return faults
