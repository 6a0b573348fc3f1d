"""The loop of operators.rules over samples: which rule changes phase at which row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.compiled import kernel, part
from operators.types import F64, I32, I64, NO_TIME, U8, Mask, Quality, Rows

ABOVE, BELOW, ABSENT = range(3)
NORMAL, PENDING, RAISED = range(3)
_NO_READING = int(Quality.SENTINEL | Quality.DENORMAL | Quality.LATE)


class Table(NamedTuple):
    """The rules as columns; `hold_ns` is debounce or after_ns, signal s has of_signal[first[s]:first[s+1]]."""

    signals: int
    kind: I64
    limit: F64
    hysteresis: F64
    hold_ns: I64
    signal: I64
    first: I64
    of_signal: I64
    absent: I64


class Phases(NamedTuple):
    """Where each rule stands on each device, all but `seen` [devices, rules].

    Attributes:
        seen: bool[d], the device has had a row.
        phase: uint8, NORMAL, PENDING or RAISED.
        since, since_offset: int64, first sample of the pending run, or the last one before a silence; once raised the
            key of the alert.
        newest: int64, newest event time of the signal, NO_TIME before the first.
        arrival: int64, last arrival of the signal, or the device's first one where it never came.
    """

    seen: Mask
    phase: U8
    since: I64
    since_offset: I64
    newest: I64
    arrival: I64


class Columns(NamedTuple):
    """The columns of a batch that rules read."""

    series: I32
    ts: I64
    arrival: I64
    value: F64
    quality: U8
    offset: I64


class Events(NamedTuple):
    """Room for events, the columns of RuleOutput."""

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


def new_phases(devices: int, rules: int) -> Phases:
    """Columns for so many devices, none seen."""
    shape = (devices, rules)
    return Phases(
        seen=np.zeros(devices, np.bool_),
        phase=np.zeros(shape, np.uint8),
        since=np.full(shape, NO_TIME, np.int64),
        since_offset=np.zeros(shape, np.int64),
        newest=np.full(shape, NO_TIME, np.int64),
        arrival=np.zeros(shape, np.int64),
    )


@kernel
def run(t: Table, s: Phases, devices: int, x: Columns, start: int, worst: int, out: Events) -> tuple[int, int]:
    """Rows from `start` on until `out` might not hold the next one's events; (row to go on at, events written)."""
    k = 0
    for i in range(start, x.series.size):
        if k + worst > out.row.size:
            return i, k
        if x.series[i] < 0:
            for dev in range(devices):
                if s.seen[dev]:
                    k = _silence(t, s, x, i, dev, out, k)
            continue
        dev = x.series[i] // t.signals
        if not s.seen[dev]:
            s.seen[dev] = True
            for r in t.absent:
                s.arrival[dev, r] = x.arrival[i]
                s.newest[dev, r] = x.ts[i]
                s.since_offset[dev, r] = x.offset[i]
        k = _silence(t, s, x, i, dev, out, k)
        if np.isnan(x.value[i]) or x.quality[i] & _NO_READING:
            continue
        signal = x.series[i] % t.signals
        for at in range(t.first[signal], t.first[signal + 1]):
            r = t.of_signal[at]
            if t.kind[r] == ABSENT:
                k = _present(s, x, i, dev, r, out, k)
            elif x.ts[i] >= s.newest[dev, r]:
                s.newest[dev, r] = x.ts[i]
                k = _limit(t, s, x, i, dev, r, out, k)
    return x.series.size, k


@part
def _silence(t: Table, s: Phases, x: Columns, i: int, dev: int, out: Events, k: int) -> int:
    for r in t.absent:
        if s.phase[dev, r] != RAISED and x.arrival[i] - s.arrival[dev, r] >= t.hold_ns[r]:
            first = s.since_offset[dev, r]
            s.phase[dev, r] = RAISED
            s.since[dev, r] = s.newest[dev, r] + t.hold_ns[r]
            s.since_offset[dev, r] = x.offset[i]
            k = _write(s, x, i, dev, r, True, s.since[dev, r], np.nan, first, out, k)
    return k


@part
def _present(s: Phases, x: Columns, i: int, dev: int, r: int, out: Events, k: int) -> int:
    s.arrival[dev, r] = max(s.arrival[dev, r], x.arrival[i])
    s.newest[dev, r] = max(s.newest[dev, r], x.ts[i])
    if s.phase[dev, r] == RAISED:
        s.phase[dev, r] = NORMAL
        k = _write(s, x, i, dev, r, False, x.ts[i], x.value[i], s.since_offset[dev, r], out, k)
    s.since_offset[dev, r] = x.offset[i]
    return k


@part
def _limit(t: Table, s: Phases, x: Columns, i: int, dev: int, r: int, out: Events, k: int) -> int:
    sign = 1.0 if t.kind[r] == ABOVE else -1.0
    beyond = sign * (x.value[i] - t.limit[r])
    if s.phase[dev, r] == RAISED:
        if sign * x.value[i] <= sign * t.limit[r] - t.hysteresis[r]:
            s.phase[dev, r] = NORMAL
            return _write(s, x, i, dev, r, False, x.ts[i], x.value[i], s.since_offset[dev, r], out, k)
        return k
    if not beyond > 0.0:
        s.phase[dev, r] = NORMAL
        return k
    if s.phase[dev, r] == NORMAL:
        s.phase[dev, r] = PENDING
        s.since[dev, r], s.since_offset[dev, r] = x.ts[i], x.offset[i]
    if x.ts[i] - s.since[dev, r] >= t.hold_ns[r]:
        first = s.since_offset[dev, r]
        s.phase[dev, r] = RAISED
        s.since[dev, r], s.since_offset[dev, r] = x.ts[i], x.offset[i]
        return _write(s, x, i, dev, r, True, x.ts[i], x.value[i], first, out, k)
    return k


@part
def _write(
    s: Phases, x: Columns, i: int, dev: int, r: int, up: bool, ts: int, value: float, first: int, out: Events, k: int
) -> int:
    out.row[k], out.rule[k], out.device[k], out.raised[k] = i, r, dev, up
    out.ts_ns[k], out.offset[k], out.value[k] = ts, x.offset[i], value
    out.since_ns[k], out.since_offset[k] = s.since[dev, r], s.since_offset[dev, r]
    out.from_offset[k] = first
    return k + 1
