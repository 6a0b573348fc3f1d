"""Compiled loops of `session` and `count_window`: slots of a series are its open sessions, or its one open count.

Open sessions of a series lie apart by at least the pause, each ends after W - allowed, and none starts after W + wait;
so ceil((wait + allowed + pause) / pause) slots hold them all.
"""

from __future__ import annotations

import numpy as np

from operators.compiled import kernel, part
from operators.types import I64, NO_TIME, Mask
from operators.watermark import _observe, _tick
from operators.window_extra import Extra, _extra_add, _extra_merge, _extra_open
from operators.window_kernels import (
    BEGIN,
    COUNT,
    COV,
    END,
    FINAL,
    FIRST_TS,
    HIGH,
    LOW,
    M2,
    MEAN,
    NEVER,
    OFFSET,
    REV,
    REVISION,
    ROW,
    SERIES,
    START,
    T_M2,
    T_MEAN,
    X0,
    Emitted,
    N,
    Plan,
    Rows,
    Windows,
    _add,
    _open,
    _place,
    _statistics,
)

# further columns of Windows.key: newest event time of a session, and whether it changed since it was last emitted
LAST, CHANGED = 4, 5


@part
def _write(
    plan: Plan, at: Windows, i: int, end: int, final: bool, offset: int, row: int, out: Emitted, filled: int,
    extra: Extra,
) -> int:  # fmt: skip
    """One output row of slot i; a new revision where something changed since the last one; returns filled + 1."""
    if at.key[i, CHANGED]:
        at.key[i, REVISION] += 1
        at.key[i, CHANGED] = 0
    ints = out.ints[filled]
    ints[SERIES], ints[BEGIN], ints[END], ints[REV] = i // plan.slots, at.key[i, START], end, at.key[i, REVISION]
    ints[FINAL], ints[OFFSET], ints[ROW] = final, offset, row
    _statistics(at.key, at.acc, i, out, filled, extra)
    return filled + 1


@part
def _take_back(plan: Plan, at: Windows, i: int, offset: int, row: int, out: Emitted, filled: int, extra: Extra) -> int:
    """Take back what was emitted of slot i under its present start: one more revision with count 0."""
    if at.key[i, REVISION] < 0:
        return filled
    ints = out.ints[filled]
    ints[SERIES], ints[BEGIN], ints[END] = i // plan.slots, at.key[i, START], at.key[i, LAST] + plan.length
    ints[REV], ints[FINAL], ints[OFFSET], ints[ROW], ints[N] = at.key[i, REVISION] + 1, True, offset, row, 0
    out.floats[filled, :] = np.nan
    extra.out[filled, :] = np.nan
    return filled + 1


@part
def _merge(at: Windows, i: int, other: int, extra: Extra) -> None:
    """Slot i becomes the session of both. Chan, Golub, LeVeque, COMPSTAT 1982."""
    key, acc = at.key, at.acc
    n, m = key[i, COUNT], key[other, COUNT]
    dx = (acc[other, X0] - acc[i, X0]) + (acc[other, MEAN] - acc[i, MEAN])
    dt = (key[other, FIRST_TS] - key[i, FIRST_TS]) * 1e-9 + (acc[other, T_MEAN] - acc[i, T_MEAN])
    share = m / (n + m)
    acc[i, MEAN] += dx * share
    acc[i, T_MEAN] += dt * share
    acc[i, M2] += acc[other, M2] + dx * dx * n * share
    acc[i, T_M2] += acc[other, T_M2] + dt * dt * n * share
    acc[i, COV] += acc[other, COV] + dt * dx * n * share
    acc[i, LOW] = min(acc[i, LOW], acc[other, LOW])
    acc[i, HIGH] = max(acc[i, HIGH], acc[other, HIGH])
    key[i, COUNT] = n + m
    key[i, LAST] = max(key[i, LAST], key[other, LAST])
    _extra_merge(extra, i, other)


@part
def _close(
    plan: Plan, at: Windows, closed: I64, d: int, offset: int, row: int, out: Emitted, filled: int, extra: Extra
) -> int:
    """Emit what W of device d has passed; returns the new `filled`."""
    w = at.w[d]
    coming = NEVER
    for i in range(d * plan.signals * plan.slots, (d + 1) * plan.signals * plan.slots):
        if at.key[i, START] == NO_TIME:
            continue
        end = at.key[i, LAST] + plan.length
        if w >= end + plan.allowed:
            filled = _write(plan, at, i, end, True, offset, row, out, filled, extra)
            at.key[i, START] = NO_TIME
            at.live[d] -= 1
            closed[i // plan.slots] = max(closed[i // plan.slots], end)
        elif w >= end:
            if at.key[i, CHANGED]:
                filled = _write(plan, at, i, end, False, offset, row, out, filled, extra)
            coming = min(coming, end + plan.allowed)
        else:
            coming = min(coming, end)
    at.next_close[d] = coming
    return filled


@part
def _insert(
    plan: Plan, at: Windows, closed: I64, d: int, s: int, ts: int, x: float, offset: int, row: int, out: Emitted,
    filled: int, extra: Extra,
) -> tuple[bool, int]:  # fmt: skip
    """Put a sample into the sessions it touches, which become one, or into a new one; (taken, filled)."""
    w, mine, free = at.w[d], -1, -1
    if ts < closed[s]:
        return False, filled
    for i in range(s * plan.slots, (s + 1) * plan.slots):
        start = at.key[i, START]
        if start == NO_TIME:
            free = i
        elif start < ts + plan.length and ts < at.key[i, LAST] + plan.length:
            if mine < 0:
                mine = i
                continue
            if start < at.key[mine, START]:  # the earlier start keeps its name
                mine, i = i, mine
            filled = _take_back(plan, at, i, offset, row, out, filled, extra)
            _merge(at, mine, i, extra)
            at.key[i, START] = NO_TIME
            at.live[d] -= 1
    if mine < 0:
        if w >= ts + plan.length + plan.allowed:
            return False, filled
        mine = free
        _open(at.key, at.acc, mine, ts, ts, x)
        _extra_open(extra, mine)
        at.key[mine, LAST] = ts
        at.live[d] += 1
    elif ts < at.key[mine, START]:
        filled = _take_back(plan, at, mine, offset, row, out, filled, extra)
        at.key[mine, START], at.key[mine, REVISION] = ts, -1
    _add(at.key, at.acc, mine, ts, x)
    _extra_add(extra, mine, ts - at.key[mine, START], x, at.acc[mine, X0])
    at.key[mine, CHANGED] = 1
    at.key[mine, LAST] = max(at.key[mine, LAST], ts)
    end = at.key[mine, LAST] + plan.length
    if w >= end:
        filled = _write(plan, at, mine, end, False, offset, row, out, filled, extra)
    at.next_close[d] = min(at.next_close[d], end if w < end else end + plan.allowed)
    return True, filled


@kernel
def _push_sessions(
    plan: Plan, at: Windows, closed: I64, rows: Rows, devices: int, row: int, taken: Mask, late: Mask, out: Emitted,
    filled: int, extra: Extra,
) -> tuple[int, int]:  # fmt: skip
    """Work through the rows from `row` on; stops before a row for which `out` may be too short; (row, filled)."""
    room = out.ints.shape[0]
    while row < rows.series.size:
        s = int(rows.series[row])
        if s < 0:
            _tick(at.w, at.last_arrival, devices, rows.arrival[row], plan.wait, plan.idle_timeout)
            need = 0
            for d in range(devices):
                if at.w[d] >= at.next_close[d]:
                    need += at.live[d]
            if filled + need > room:
                break
            for d in range(devices):
                if at.w[d] >= at.next_close[d]:
                    filled = _close(plan, at, closed, d, rows.offset[row], row, out, filled, extra)
        else:
            d, s = _place(plan.signals, s, extra)
            if filled + at.live[d] + plan.slots + 1 > room:
                break
            ts = rows.ts[row]
            moved = _observe(at.w, at.last_arrival, d, ts, rows.arrival[row], plan.wait)
            if moved and at.w[d] >= at.next_close[d]:
                filled = _close(plan, at, closed, d, rows.offset[row], row, out, filled, extra)
            late[row] = ts < at.w[d]
            if s < 0:
                taken[row] = False
            else:
                x, offset = rows.value[row], rows.offset[row]
                taken[row], filled = _insert(plan, at, closed, d, s, ts, x, offset, row, out, filled, extra)
        row += 1
    return row, filled


@kernel
def _finish_sessions(plan: Plan, at: Windows, devices: int, offset: int, out: Emitted, extra: Extra) -> int:
    """Emit all open sessions as final; returns their number."""
    filled = 0
    for i in range(devices * plan.signals * plan.slots):
        if at.key[i, START] != NO_TIME:
            end = at.key[i, LAST] + plan.length
            filled = _write(plan, at, i, end, True, offset, 0, out, filled, extra)
            at.key[i, START] = NO_TIME
    at.live[:devices] = 0
    at.next_close[:devices] = NEVER
    return filled


@kernel
def _push_counts(
    plan: Plan, count: int, at: Windows, rows: Rows, late: Mask, row: int, taken: Mask, out: Emitted, filled: int,
    extra: Extra,
) -> tuple[int, int]:  # fmt: skip
    """Rows in event order from `row` on, into one slot per series; stops before `out` is too short; (row, filled)."""
    while row < rows.series.size and filled < out.ints.shape[0]:
        _, i = _place(plan.signals, int(rows.series[row]), extra)
        if i >= 0 and not late[row]:
            ts, x = rows.ts[row], rows.value[row]
            if at.key[i, START] != NO_TIME and at.key[i, COUNT] >= count and ts > at.key[i, LAST]:
                filled = _write(plan, at, i, at.key[i, LAST] + 1, True, rows.offset[row], row, out, filled, extra)
                at.key[i, START] = NO_TIME
            if at.key[i, START] == NO_TIME:
                _open(at.key, at.acc, i, ts, ts, x)
                _extra_open(extra, i)
            _add(at.key, at.acc, i, ts, x)
            _extra_add(extra, i, 0, x, at.acc[i, X0])
            at.key[i, LAST], at.key[i, CHANGED] = ts, 1
            taken[row] = True
        row += 1
    return row, filled


@kernel
def _finish_counts(plan: Plan, at: Windows, devices: int, offset: int, out: Emitted, extra: Extra) -> int:
    """Emit the counts that are under way; returns their number."""
    filled = 0
    for i in range(devices * plan.signals):
        if at.key[i, START] != NO_TIME:
            filled = _write(plan, at, i, at.key[i, LAST] + 1, True, offset, 0, out, filled, extra)
            at.key[i, START] = NO_TIME
    return filled
