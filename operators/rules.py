"""Alert rules of a twin type: limits with hysteresis and debounce, and signals that fall silent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from operators.definition import TwinType
from operators.errors import StateError
from operators.lineage import Lineage, Versions
from operators.rules_kernel import ABOVE, ABSENT, BELOW, Columns, Events, Phases, Table, new_phases, run
from operators.types import F64, I32, I64, Batch, Mask, Rows, State
from operators.words import quantity, readable, sentence

_KINDS = {"above": ABOVE, "below": BELOW, "absent": ABSENT}
_ROOM = 256
"""Events that are made room for at once, beyond what one row can bring."""


@dataclass(frozen=True, slots=True)
class RuleOutput:
    """Alerts raised and returned, k events in the order of the rows that triggered them, then of the rules.

    Attributes:
        row: intp[k], row of the batch that triggered it.
        rule: int32[k], index into the rules of the type.
        device: int32[k].
        raised: bool[k], False: returned to normal.
        ts_ns: int64[k], event time: of the sample; for silence, that of the last sample + after_ns.
        offset: int64[k], offset of the triggering message.
        value: float64[k], value of the sample; NaN for silence.
        since_ns: int64[k], when the alert was raised: with `since_offset` the key of the alert, also in its return.
        since_offset: int64[k].
        from_offset: int64[k], first record that the event rests on, see `Lineage`.
    """

    row: Rows
    rule: I32
    device: I32
    raised: Mask
    ts_ns: I64
    offset: I64
    value: F64
    since_ns: I64
    since_offset: I64
    from_offset: I64

    def __len__(self) -> int:
        return int(self.row.size)


@dataclass(frozen=True, slots=True)
class Alert:
    """One event of an alert as it leaves: `id` is the same when it is raised, when it returns, and in every replay."""

    id: str
    rule: str
    device: str
    signal: str
    state: Literal["raised", "returned"]
    severity: Literal["warn", "alarm"]
    ts_ns: int
    offset: int
    value: float
    limit: float
    message: str
    command: str  # verb to request, "" for none; only when raised
    source: Literal["rule", "detector"] = "rule"
    score: float = float("nan")  # of a detector, over `limit`
    ranked: tuple[tuple[str, float], ...] = ()  # of a detector: signals and their shares in the score
    lineage: Lineage | None = None


class Rules:
    """The rules of one twin type in one shard.

    A limit is broken by a value beyond it (not at it). It is raised by the first sample at least `debounce_ns` of event
    time after the first of an unbroken run, so at once without debounce, and returns with the first sample at or within
    limit -+ hysteresis. Samples older than the newest one of their signal change nothing, neither do those that are
    NaN, late, denormal or a stand-in for "no reading".

    A signal is absent when its device shows (by any row's arrival, a tick's included) that `after_ns` have passed since
    the signal's last arrival, or since the device's first row where it never came; its next sample returns it.

    >>> from operators.definition import RuleSpec, Signal
    >>> hot = RuleSpec("hot", "temp", "above", limit=90.0, hysteresis=5.0, severity="alarm", message="Bearing hot")
    >>> rules = Rules(TwinType("pump", 1, (Signal("temp", unit="degC"),), rules=(hot,)))
    >>> out = rules.push(Batch.of(series=[0, 0, 0], ts=[1, 2, 3], value=[92.5, 88.0, 84.0]))
    >>> [a.message for a in rules.alerts(out, ["P-07"])]
    ['Bearing hot: temp 92.5 degC is above its limit of 90 degC', 'Bearing hot: temp 84 degC is back below 85 degC']
    """

    def __init__(self, twin_type: TwinType) -> None:
        self.type, self.specs = twin_type, twin_type.rules
        self._versions = Versions(twin_type)
        signal = np.array([twin_type.index[r.signal] for r in self.specs], np.int64)
        order = np.argsort(signal, kind="stable")
        self._table = Table(
            signals=len(twin_type.signals),
            kind=np.array([_KINDS[r.kind] for r in self.specs], np.int64),
            limit=np.array([r.limit for r in self.specs], np.float64),
            hysteresis=np.array([r.hysteresis for r in self.specs], np.float64),
            hold_ns=np.array([r.after_ns if r.kind == "absent" else r.debounce_ns for r in self.specs], np.int64),
            signal=signal,
            first=np.searchsorted(signal[order], np.arange(len(twin_type.signals) + 1)).astype(np.int64),
            of_signal=order.astype(np.int64),
            absent=np.flatnonzero([r.kind == "absent" for r in self.specs]).astype(np.int64),
        )
        self._phases = new_phases(0, len(self.specs))
        self._devices = 0

    def push(self, batch: Batch) -> RuleOutput:
        """Events of one batch, in log order."""
        n, parts, at = len(batch), list[Events](), 0
        if n and self.specs:
            self._grow(int(batch.series.max()) // self._table.signals + 1)
            x = Columns(batch.series, batch.ts, batch.arrival, batch.value, batch.quality, batch.offset)
            worst = 2 * len(self.specs) + self._devices * self._table.absent.size
            while at < n:
                events = new_events(worst + _ROOM)
                at, found = run(self._table, self._phases, self._devices, x, at, worst, events)
                parts.append(Events._make(column[:found] for column in events))
        parts = parts or [new_events(0)]
        return RuleOutput(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def alerts(self, out: RuleOutput, devices: Sequence[str]) -> list[Alert]:
        """The events as they leave; `devices` are the names by dense id."""
        return [self._alert(out, i, devices[int(out.device[i])]) for i in range(len(out))]

    def _alert(self, out: RuleOutput, i: int, device: str) -> Alert:
        spec, raised = self.specs[int(out.rule[i])], bool(out.raised[i])
        return Alert(
            id=alert_id(spec.id, device, int(out.since_ns[i]), int(out.since_offset[i])),
            rule=spec.id,
            device=device,
            signal=spec.signal,
            state="raised" if raised else "returned",
            severity=spec.severity,
            ts_ns=int(out.ts_ns[i]),
            offset=int(out.offset[i]),
            value=float(out.value[i]),
            limit=spec.limit,
            message=self._message(int(out.rule[i]), raised, float(out.value[i])),
            command=spec.command if raised else "",
            lineage=Lineage(
                int(out.from_offset[i]), int(out.offset[i]), self._versions.definition, self._versions.rule(spec)
            ),
        )

    def _message(self, rule: int, raised: bool, value: float) -> str:
        spec = self.specs[rule]
        signal = self.type.signals[int(self._table.signal[rule])]
        name, shown = readable(signal.name), quantity(value, signal)
        back = spec.limit - spec.hysteresis if spec.kind == "above" else spec.limit + spec.hysteresis
        if spec.kind == "absent":
            said = f"no sample of {name} for {spec.after_ns / 1e9:g} s" if raised else f"{name} reports again: {shown}"
        elif raised:
            said = f"{name} {shown} is {spec.kind} its limit of {quantity(spec.limit, signal)}"
        else:
            side = "below" if spec.kind == "above" else "above"
            edge = f"{side} {quantity(back, signal)}" if value != back else f"at {quantity(back, signal)}"
            said = f"{name} {shown} is back {edge}"
        return f"{spec.message}: {said}" if spec.message else sentence(said)

    def snapshot(self) -> State:
        """The phase of every rule on every device, and the ids of the rules as text."""
        ids = np.frombuffer("\n".join(r.id for r in self.specs).encode(), np.uint8).copy()
        return {**{k: v[: self._devices].copy() for k, v in self._phases._asdict().items()}, "rules": ids}

    def restore(self, state: State) -> None:
        """Take over a snapshot; rules are matched by id: a new one starts anew, one that has left is forgotten.

        Raises:
            StateError: columns are missing.
        """
        if set(state) != {*Phases._fields, "rules"}:
            raise StateError(where="rules", detail="columns differ from this version's", fix="replay the shard")
        before = state["rules"].tobytes().decode().split("\n")
        self._devices = len(state["seen"])
        self._phases = new_phases(self._devices, len(self.specs))
        self._phases.seen[:] = state["seen"]
        for i, spec in enumerate(self.specs):
            if spec.id in before:
                for name in Phases._fields[1:]:
                    getattr(self._phases, name)[:, i] = state[name][:, before.index(spec.id)]

    def _grow(self, devices: int) -> None:
        room = len(self._phases.seen)
        if devices > room:
            more = new_phases(max(devices, 2 * room) - room, len(self.specs))
            grown = (np.concatenate([getattr(self._phases, x), getattr(more, x)]) for x in Phases._fields)
            self._phases = Phases(*grown)
        self._devices = max(self._devices, devices)


def alert_id(rule: str, device: str, since_ns: int, since_offset: int) -> str:
    """32 hexadecimal digits of SHA-256 over rule, device, event time and offset of what raised the alert.

    >>> alert_id("hot", "P-07", 1, 0) == alert_id("hot", "P-07", 1, 0) != alert_id("hot", "P-07", 2, 0)
    True
    """
    key = "\x1f".join((rule, device, str(since_ns), str(since_offset)))
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def new_events(room: int) -> Events:
    """Room for so many events."""
    i64 = np.zeros((6, room), np.int64)
    return Events(
        row=i64[0].astype(np.intp),
        rule=np.zeros(room, np.int32),
        device=np.zeros(room, np.int32),
        raised=np.zeros(room, np.bool_),
        ts_ns=i64[1],
        offset=i64[2],
        value=np.zeros(room),
        since_ns=i64[3],
        since_offset=i64[4],
        from_offset=i64[5],
    )
