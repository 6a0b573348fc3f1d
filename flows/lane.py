"""One twin type in one shard, from decoded rows to results. Read `Lane.push` top-down: it is the picture of the flow.

rows ► dedupe ► clock ► calibrate ► quality ─┬─► live:    state, detectors on samples, rules
         gaps    quarantined                  └─► settled: windows, aligned rows ► detectors on rows
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flows.revisions import Revisions
from flows.verdict import Verdict
from models.detectors import new_detector
from operators.align import Align, AlignOutput
from operators.calibrate import Calibrate
from operators.clock_correct import NO_STEPS, ClockCorrect, ClockOutput, ClockSteps
from operators.decoded import Messages, Report
from operators.dedupe import Dedupe, Gaps
from operators.definition import TwinType
from operators.detect import Anomalies, Detect
from operators.detect_pattern import DetectPattern
from operators.episodes import Episodes
from operators.ledger import Ledger
from operators.quality import Assess
from operators.reorder import Reorder
from operators.rules import Alert, Rules
from operators.touched import Changed, Changing
from operators.twin_state import TwinState
from operators.types import I32, I64, NO_ROWS, TICK, Batch, Mask, Outcome, Quality, State, Stateful
from operators.window import Window, WindowOutput
from operators.windows import Named, NamedWindows


@dataclass(frozen=True, slots=True)
class Found:
    """Anomalies with the detectors that found them."""

    detect: Detect
    anomalies: Anomalies


@dataclass(frozen=True, slots=True)
class LaneOutput:
    """What one fetch brought about for one twin type; `names` are device names by id.

    Attributes:
        readings: samples that were applied: corrected, calibrated, flagged.
        late, quarantined, partial: samples that were not; `partial` ones lack the rest of their vector.
        windows: settled windows. named: those under `windows` of the type, each with its definition.
        rows: aligned rows, None where the type has none.
        found: anomalies of samples, then of rows.
        alerts: raised and returned, with ids that depend on the input only.
        changed: int32[], devices whose state changed.
        gaps, steps: missing sequence numbers, jumps of device clocks; None at the end of input.
        rejected_records: offsets of messages of which nothing but rejected samples is left.
        state: the twins of this type, to read changed ones from.
    """

    twin: TwinType
    names: Sequence[str]
    readings: Batch
    late: Batch
    quarantined: Batch
    partial: Batch
    windows: WindowOutput
    named: list[Named]
    rows: AlignOutput | None
    found: list[Found]
    alerts: list[Alert]
    changed: I32
    gaps: Gaps | None
    steps: ClockSteps | None
    rejected_records: frozenset[int]
    ledger: Ledger
    state: TwinState


class Lane:
    """The cores of one twin type in one shard, wired.

    Args:
        twin: the type.
        names: device names by id; grows as devices appear.
    """

    def __init__(self, twin: TwinType, names: Sequence[str]) -> None:
        n, idle, wait = len(twin.signals), twin.idle_timeout_ns, twin.window.wait_ns
        at_once = [d for d in twin.detectors if d.on == "rows" or d.order == "arrival"]
        in_order = [d for d in twin.detectors if d.on == "samples" and d.order == "event"]
        self.twin, self.names = twin, names
        self.dedupe = Dedupe(n)
        self.clock = ClockCorrect.of(replace(twin, clock="device"))
        self.calibrate = Calibrate(twin, lambda device: names[device])
        self.assess = Assess(twin)
        self.state = TwinState(twin)
        self.rules, self.patterns = Rules(twin), DetectPattern(twin)
        self.detect = Detect(twin, at_once, new_detector)
        self.window = Window(n, twin.window, idle)
        self.align = Align(twin.align, wait, idle) if twin.align else None
        self.named = NamedWindows(twin)
        self.reorder = Reorder(n, wait, idle) if in_order or self.named.in_order else None
        self.detect_ordered = Detect(twin, in_order, new_detector)
        self.episodes = [Episodes(self.detect), Episodes(self.detect), Episodes(self.detect_ordered)]
        self._revisions = Revisions(names, self.state.revision)
        self._changing = {name: core for name, core in self._stateful().items() if isinstance(core, Changing)}

    def push(self, batch: Batch, messages: Messages, reports: Sequence[Report]) -> LaneOutput:
        """Take the rows, messages and reports of this type from the next fetch."""
        verdict = Verdict(batch)
        fresh = self.dedupe.push(batch, messages)
        verdict.mark(fresh.duplicate, Outcome.DUPLICATE)
        clocked = self._clocked(fresh.batch, messages)
        quarantined, timed = _split(clocked.batch, clocked.quarantined)
        verdict.mark(clocked.quarantined, Outcome.QUARANTINED)
        calibrated = self.calibrate.push(timed)
        verdict.mark(~calibrated.kept, Outcome.REJECTED)
        assessed = self.assess.push(calibrated.batch)
        rows = assessed.batch

        # live: at once
        applied = rows if assessed.applied.all() else rows.take(assessed.applied)
        states = self.state.push(applied)
        merged = self._reports(reports, messages, fresh.duplicate_messages)
        alerts = self.rules.alerts(self.rules.push(rows), self.names)
        alerts += self.patterns.alerts(self.patterns.push(rows), self.names)
        found = [self._samples(applied, alerts)]

        # settled: in event time
        ordered = self.reorder.push(applied) if self.reorder else None
        windows, named = self.window.push(applied), self.named.push(applied, ordered)
        aligned = self.align.push(applied) if self.align else None
        found += self._ordered(ordered, alerts)
        found += self._rows(aligned, alerts)

        alerts = self._revised(alerts, applied.take(states.counted), merged) if alerts else alerts
        taken = windows.taken if aligned is None else windows.taken | aligned.taken
        for spec, out in named:
            if spec.kind != "count":  # those take nothing that is late
                taken = taken | out.taken
        late = ~taken & (applied.series != TICK)
        verdict.mark_some(assessed.applied, late, Outcome.LATE)
        readings = _readings(rows, assessed.applied, late, windows.late)
        outcome = verdict.of_messages(messages, fresh.duplicate_messages)
        rejected = frozenset(messages.offset[outcome == Outcome.REJECTED].tolist())
        return LaneOutput(
            twin=self.twin, names=self.names, readings=readings, late=_split(applied, late)[0], quarantined=quarantined,
            partial=calibrated.partial, windows=windows, named=named, rows=aligned, found=found, alerts=alerts,
            changed=_and(states.device, [r.device for r in merged]), gaps=fresh.gaps, steps=clocked.steps,
            rejected_records=rejected, ledger=verdict.ledger(messages, outcome), state=self.state,
        )  # fmt: skip

    def finish(self) -> LaneOutput:
        """End of a bounded input: every window is final, rows go up to each device's newest sample."""
        alerts: list[Alert] = []
        ordered = self.reorder.finish() if self.reorder else None
        windows, named = self.window.finish(), self.named.finish(ordered)
        aligned = self.align.finish() if self.align else None
        found = self._ordered(ordered, alerts) + self._rows(aligned, alerts)
        none = Batch.join([])
        alerts = self._revised(alerts, none, [])
        return LaneOutput(
            twin=self.twin, names=self.names, readings=none, late=none, quarantined=none, partial=none,
            windows=windows, named=named, rows=aligned, found=found, alerts=alerts, changed=np.empty(0, np.int32),
            gaps=None, steps=None, rejected_records=frozenset(), ledger=Ledger(), state=self.state,
        )  # fmt: skip

    def _clocked(self, batch: Batch, messages: Messages) -> ClockOutput:
        """Times corrected, except those of messages whose clock is trusted, by their header or their type."""
        own = np.zeros(len(batch), np.bool_)
        if messages.trusted.all():
            return ClockOutput(batch, own, np.zeros(len(batch), np.int64), NO_STEPS)
        sample = batch.series != TICK
        own[sample] = ~messages.trusted[np.searchsorted(messages.offset, batch.offset[sample])]
        done = self.clock.push(batch.take(own))
        if own.all():
            return done
        ts, quality, quarantined = batch.ts.copy(), batch.quality.copy(), np.zeros(len(batch), np.bool_)
        uncertainty = np.zeros(len(batch), np.int64)
        ts[own], quality[own] = done.batch.ts, done.batch.quality
        quarantined[own], uncertainty[own] = done.quarantined, done.uncertainty_ns
        return ClockOutput(batch.replace(ts=ts, quality=quality), quarantined, uncertainty, done.steps)

    def _reports(self, reports: Sequence[Report], messages: Messages, duplicate: Mask) -> list[Report]:
        """Merge the documents that are no duplicates; those that changed something."""
        seen = set(messages.offset[duplicate].tolist())
        seqs = dict(zip(messages.offset.tolist(), messages.seq.tolist(), strict=True)) if reports else {}
        return [
            r
            for r in reports
            if r.offset not in seen and self.state.report(r.device, r.document, r.ts, seqs.get(r.offset, -1))
        ]

    def _revised(self, alerts: list[Alert], counted: Batch, merged: list[Report]) -> list[Alert]:
        device, offset = np.array([(r.device, r.offset) for r in merged], np.int64).reshape(-1, 2).T
        devices = np.concatenate([counted.series // len(self.twin.signals), device.astype(np.int32)])
        return self._revisions.put(alerts, devices, np.concatenate([counted.offset, offset]))

    def _samples(self, batch: Batch, alerts: list[Alert]) -> Found:
        return self._judged(self.detect, self.episodes[0], batch, alerts)

    def _ordered(self, batch: Batch | None, alerts: list[Alert]) -> list[Found]:
        if batch is None or self.reorder is None:
            return []
        return [self._judged(self.detect_ordered, self.episodes[2], batch, alerts, self.reorder.by)]

    def _judged(
        self, detect: Detect, episodes: Episodes, batch: Batch, alerts: list[Alert], by: I64 | None = None
    ) -> Found:
        found = detect.on_samples(batch)
        device = np.where(batch.series == TICK, TICK, batch.series // len(self.twin.signals)).astype(np.int32)
        alerts += episodes.push(device, batch.ts, batch.offset, found, self.names, by)
        return Found(detect, found)

    def _rows(self, rows: AlignOutput | None, alerts: list[Alert]) -> list[Found]:
        if rows is None:
            return []
        found = self.detect.on_rows(rows.device, rows.ts_ns, rows.value, rows.valid, rows.offset)
        alerts += self.episodes[1].push(rows.device, rows.ts_ns, rows.offset, found, self.names)
        return [Found(self.detect, found)]

    def _stateful(self) -> dict[str, Stateful]:
        cores: dict[str, Stateful | None] = {
            "dedupe": self.dedupe, "clock": self.clock, "assess": self.assess, "state": self.state,
            "rules": self.rules, "patterns": self.patterns,
            "detect": self.detect, "window": self.window, "named": self.named,
            "align": self.align,
            "reorder": self.reorder, "detect_ordered": self.detect_ordered,
            **{f"episodes{i}": e for i, e in enumerate(self.episodes)},
        }  # fmt: skip
        return {name: core for name, core in cores.items() if core is not None}

    def snapshot(self) -> State:
        """State of every core, by path; valid until the next push."""
        return {f"{name}/{k}": v for name, core in self._stateful().items() for k, v in core.snapshot().items()}

    def changed(self) -> Changed:
        """Rows of the widest columns that may have changed since this was last asked; other columns are not named."""
        return {f"{name}/{k}": rows for name, core in self._changing.items() for k, rows in core.changed().items()}

    def restore(self, state: State) -> None:
        """Take over a snapshot; a core that it knows nothing of starts anew.

        Raises:
            StateError: it does not fit the twin type of today.
        """
        for name, core in self._stateful().items():
            part = {k.partition("/")[2]: v for k, v in state.items() if k.partition("/")[0] == name}
            if part:
                core.restore(part)


def _and(changed: I32, more: list[int]) -> I32:
    """Devices in order of their first change, each once."""
    return np.array(list(dict.fromkeys([*changed.tolist(), *more])), np.int32) if more else changed


def _split(batch: Batch, away: Mask) -> tuple[Batch, Batch]:
    """The rows marked, and the others; without a copy where none is marked, as nearly always."""
    return (batch.take(away), batch.take(~away)) if away.any() else (NO_ROWS, batch)


def _readings(rows: Batch, applied: Mask, late: Mask, behind: Mask) -> Batch:
    """Samples that count: all but ticks and those too late for everything; those behind the watermark are marked."""
    quality = rows.quality.copy()
    places = np.flatnonzero(applied)
    quality[places[behind]] |= int(Quality.LATE)
    keep = rows.series != TICK
    keep[places[late]] = False
    marked = rows.replace(quality=quality)
    return marked if keep.all() else marked.take(keep)
