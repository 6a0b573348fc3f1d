"""Patterns of two conditions of one device: one followed by the other, or not followed by it, within a time.

A condition is a limit with hysteresis and debounce, as in `operators.rules`; it occurs at the sample that would raise
its alert. Patterns are live, as rules are: at once, in order of arrival.

*followed_by*: raised when the first occurred at t1 and the second at t2 with t1 <= t2 <= t1 + within (the latest of
each), whichever of the two arrives first; returns when the second condition returns.
*not_followed_by*: raised when the second did not hold as the first occurred at t1 and does not occur up to t1 + within,
told by any row of the device (a tick included) that arrives `within` after the first; returns when the second occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from operators.compiled import kernel, part
from operators.definition import PatternSpec, RuleSpec, TwinType
from operators.errors import StateError
from operators.lineage import Lineage, Versions
from operators.rings import plain
from operators.rules import Alert, RuleOutput, Rules, alert_id, new_events
from operators.rules_kernel import Events
from operators.types import F64, I32, I64, NO_TIME, U8, Batch, Mask, State
from operators.words import quantity, readable, sentence


class Open(NamedTuple):
    """Where each pattern stands on each device, all [devices, patterns].

    Attributes:
        first, second: int64, event time at which the condition last occurred, NO_TIME before.
        arrival: int64, of the first. first_from, second_from: int64, records they rest on.
        value: float64, of the second. holds: uint8, the second condition is met now.
        waits: uint8, the second is awaited. raised: uint8. since, since_offset: int64, key of the alert.
    """

    first: I64
    second: I64
    arrival: I64
    first_from: I64
    second_from: I64
    value: F64
    holds: U8
    waits: U8
    raised: U8
    since: I64
    since_offset: I64


class Steps(NamedTuple):
    """What the conditions did: rule 2 p is the first of pattern p, 2 p + 1 its second."""

    row: I64
    rule: I32
    device: I32
    raised: Mask
    ts: I64
    value: F64
    origin: I64


def _open(devices: int, patterns: int) -> Open:
    shape = (devices, patterns)
    first, second = (np.full(shape, NO_TIME, np.int64) for _ in range(2))
    arrival, first_from, second_from, since, since_offset = (np.zeros(shape, np.int64) for _ in range(5))
    holds, waits, raised = (np.zeros(shape, np.uint8) for _ in range(3))
    value = np.zeros(shape)
    return Open(first, second, arrival, first_from, second_from, value, holds, waits, raised, since, since_offset)


@part
def _raise(
    s: Open, i: int, d: int, p: int, ts: int, offset: int, value: float, origin: int, out: Events, k: int
) -> int:
    s.raised[d, p], s.waits[d, p], s.since[d, p], s.since_offset[d, p] = 1, 0, ts, offset
    return _write(s, i, d, p, True, ts, offset, value, origin, out, k)


@part
def _write(
    s: Open, i: int, d: int, p: int, up: bool, ts: int, offset: int, value: float, origin: int, out: Events, k: int
) -> int:
    out.row[k], out.rule[k], out.device[k], out.raised[k] = i, p, d, up
    out.ts_ns[k], out.offset[k], out.value[k], out.from_offset[k] = ts, offset, value, origin
    out.since_ns[k], out.since_offset[k] = s.since[d, p], s.since_offset[d, p]
    return k + 1


@part
def _overdue(
    s: Open, absence: Mask, within: I64, i: int, d: int, p: int, arrival: int, offset: int, out: Events, k: int
) -> int:
    if absence[p] and s.waits[d, p] and arrival - s.arrival[d, p] >= within[p]:
        ts = s.first[d, p] + within[p]
        k = _raise(s, i, d, p, ts, offset, np.nan, s.first_from[d, p], out, k)
    return k


@part
def _step(s: Open, absence: Mask, within: I64, e: Steps, j: int, arrival: int, offset: int, out: Events, k: int) -> int:
    i, d, p, second, ts = e.row[j], e.device[j], e.rule[j] // 2, e.rule[j] % 2 == 1, e.ts[j]
    if not e.raised[j]:
        if second:
            s.holds[d, p] = 0
            if s.raised[d, p] and not absence[p]:
                s.raised[d, p] = 0
                k = _write(s, i, d, p, False, ts, offset, e.value[j], s.since_offset[d, p], out, k)
        return k
    if second:
        s.second[d, p], s.second_from[d, p], s.value[d, p], s.holds[d, p] = ts, e.origin[j], e.value[j], 1
    else:
        s.first[d, p], s.first_from[d, p], s.arrival[d, p] = ts, e.origin[j], arrival
    last = s.first[d, p] + within[p] if s.first[d, p] != NO_TIME else NO_TIME
    in_time = s.first[d, p] != NO_TIME and s.first[d, p] <= s.second[d, p] <= last
    if not absence[p]:
        if in_time and not s.raised[d, p]:
            origin = min(s.first_from[d, p], s.second_from[d, p])
            k = _raise(s, i, d, p, s.second[d, p], offset, s.value[d, p], origin, out, k)
    elif not second:
        s.waits[d, p] = not (s.holds[d, p] or in_time or s.raised[d, p])
    else:
        if s.waits[d, p] and ts > last:  # it came, too late by its own time
            k = _raise(s, i, d, p, last, offset, np.nan, s.first_from[d, p], out, k)
        s.waits[d, p] = 0
        if s.raised[d, p]:
            s.raised[d, p] = 0
            k = _write(s, i, d, p, False, ts, offset, e.value[j], s.since_offset[d, p], out, k)
    return k


@kernel
def _run(
    s: Open, absence: Mask, within: I64, signals: int, devices: int, series: I32, arrival: I64, offset: I64, e: Steps,
    out: Events,
) -> int:  # fmt: skip
    """All rows with what the conditions did at them; the number of events."""
    k = j = 0
    for i in range(series.size):
        while j < e.row.size and e.row[j] == i:
            if e.rule[j] % 2 == 0:  # before it starts anew
                k = _overdue(s, absence, within, i, e.device[j], e.rule[j] // 2, arrival[i], offset[i], out, k)
            k = _step(s, absence, within, e, j, arrival[i], offset[i], out, k)
            j += 1
        own = series[i] // signals
        for d in range(0 if own < 0 else own, devices if own < 0 else own + 1):
            for p in range(within.size):
                k = _overdue(s, absence, within, i, d, p, arrival[i], offset[i], out, k)
    return k


class DetectPattern:
    """The patterns of one twin type in one shard.

    >>> from operators.definition import SECOND, Signal
    >>> on, dry = RuleSpec("", "current", "above", limit=4.0), RuleSpec("", "flow", "below", limit=15.0)
    >>> spec = PatternSpec("dry_run", "followed_by", on, dry, within_ns=5 * SECOND, message="Runs dry")
    >>> signals = Signal("current", "A"), Signal("flow", "l/min")
    >>> patterns = DetectPattern(TwinType("pump", 1, signals, patterns=(spec,)))
    >>> rows = Batch.of(series=[0, 1], ts=[0, 3 * SECOND], value=[6.0, 2.0])
    >>> [a.message for a in patterns.alerts(patterns.push(rows), ["P-07"])]
    ['Runs dry: flow 2 l/min is below 15 l/min, within 5 s after current was above 4 A']
    """

    def __init__(self, twin_type: TwinType) -> None:
        self.type, self.specs = twin_type, twin_type.patterns
        steps = [replace(s, id=f"{p.id}/{n}") for p in self.specs for n, s in enumerate((p.first, p.second))]
        self._steps = Rules(replace(twin_type, rules=tuple(steps)))
        self._versions = Versions(twin_type)
        self._absence = np.array([p.kind == "not_followed_by" for p in self.specs], np.bool_)
        self._within = np.array([p.within_ns for p in self.specs], np.int64)
        self._open = _open(0, len(self.specs))
        self._devices = 0

    def push(self, batch: Batch) -> RuleOutput:
        """Raised and returned patterns of one batch, in log order; `rule` is the index of the pattern."""
        if not self.specs or not len(batch):
            return RuleOutput(*new_events(0))
        self._grow(int(batch.series.max()) // len(self.type.signals) + 1)
        e = self._steps.push(batch)
        columns = (e.row.astype(np.int64), e.rule, e.device, e.raised, e.ts_ns, e.value, e.from_offset)
        room = new_events(3 * len(e) + self._open.waits.size)
        found = _run(
            self._open, self._absence, self._within, len(self.type.signals), self._devices, plain(batch.series),
            plain(batch.arrival), plain(batch.offset), Steps(*columns), room,
        )  # fmt: skip
        return RuleOutput(*Events._make(column[:found] for column in room))

    def alerts(self, out: RuleOutput, devices: Sequence[str]) -> list[Alert]:
        """The events as they leave; `devices` are the names by dense id."""
        return [self._alert(out, i, devices[int(out.device[i])]) for i in range(len(out))]

    def _alert(self, out: RuleOutput, i: int, device: str) -> Alert:
        spec, raised, value = self.specs[int(out.rule[i])], bool(out.raised[i]), float(out.value[i])
        said = self._said(spec, raised, value)
        return Alert(
            id=alert_id(spec.id, device, int(out.since_ns[i]), int(out.since_offset[i])),
            rule=spec.id,
            device=device,
            signal=spec.second.signal,
            state="raised" if raised else "returned",
            severity=spec.severity,
            ts_ns=int(out.ts_ns[i]),
            offset=int(out.offset[i]),
            value=value,
            limit=spec.second.limit,
            message=f"{spec.message}: {said}" if spec.message else sentence(said),
            command=spec.command if raised else "",
            lineage=Lineage(
                int(out.from_offset[i]), int(out.offset[i]), self._versions.definition, self._versions.rule(spec)
            ),
        )

    def _said(self, spec: PatternSpec, raised: bool, value: float) -> str:
        signal = self.type.signals[self.type.index[spec.second.signal]]
        name, shown = readable(signal.name), quantity(value, signal)
        limit = f"{spec.second.kind} {quantity(spec.second.limit, signal)}"
        within = f"within {spec.within_ns / 1e9:g} s after {self._was(spec.first)}"
        if spec.kind == "not_followed_by":
            return f"{name} is not {limit} {within}" if raised else f"{name} {shown} is {limit} at last"
        return f"{name} {shown} is {limit}, {within}" if raised else f"{name} {shown} is no longer {limit}"

    def _was(self, step: RuleSpec) -> str:
        signal = self.type.signals[self.type.index[step.signal]]
        return f"{readable(signal.name)} was {step.kind} {quantity(step.limit, signal)}"

    def snapshot(self) -> State:
        """Where every pattern and its conditions stand on every device, and the ids as text; empty without patterns."""
        if not self.specs:
            return {}
        ids = np.frombuffer("\n".join(p.id for p in self.specs).encode(), np.uint8).copy()
        own = {name: column[: self._devices].copy() for name, column in self._open._asdict().items()}
        return {**own, "patterns": ids, **{f"steps/{k}": v for k, v in self._steps.snapshot().items()}}

    def restore(self, state: State) -> None:
        """Take over a snapshot; patterns are matched by id: a new one starts anew, one that has left is forgotten.

        Raises:
            StateError: columns are missing.
        """
        steps = {k.removeprefix("steps/"): v for k, v in state.items() if k.startswith("steps/")}
        if not state or not self.specs:
            return
        if {*Open._fields, "patterns"} - state.keys():
            raise StateError(where="detect_pattern", detail="columns are missing", fix="replay the shard")
        self._steps.restore(steps)
        before = state["patterns"].tobytes().decode().split("\n")
        self._devices = len(state["first"])
        self._open = _open(self._devices, len(self.specs))
        for i, spec in enumerate(self.specs):
            if spec.id in before:
                for name in Open._fields:
                    getattr(self._open, name)[:, i] = state[name][:, before.index(spec.id)]

    def _grow(self, devices: int) -> None:
        room = len(self._open.first)
        if devices > room:
            more = _open(max(devices, 2 * room) - room, len(self.specs))
            self._open = Open._make(np.concatenate((getattr(self._open, x), getattr(more, x))) for x in Open._fields)
        self._devices = max(self._devices, devices)
