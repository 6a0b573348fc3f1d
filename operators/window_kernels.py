"""Compiled loops of `window`: one pass over the rows, one ring of open windows per series.

Bound of the ring: after W took a sample into account, every open window has W - allowed - length < start and
start <= newest event time <= W + wait. A half-open interval of that length holds at most
ceil((wait + allowed + length) / hop) starts, one after the other, so that many slots never collide. For that, W moves
first, what it passes is emitted and freed, and only then the sample goes in.

`extra` is None for the window that every type has. Whatever it brings is compiled for the named windows alone: a branch
on `extra is None` is decided when the kernel is compiled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.compiled import kernel, part
from operators.types import F64, I32, I64, NO_TIME, Mask
from operators.watermark import _observe, _tick
from operators.window_extra import Extra, _extra_add, _extra_emit, _extra_open

NEVER = np.iinfo(np.int64).max
"""`next_close` of a device without open windows."""

# columns of Windows.key
START, FIRST_TS, COUNT, REVISION = range(4)
# columns of Windows.acc; X0 is the first value of the window, means are those of differences to the first sample
X0, MEAN, M2, T_MEAN, T_M2, COV, LOW, HIGH = range(8)
# columns of Emitted.ints and Emitted.floats
SERIES, BEGIN, END, N, REV, FINAL, OFFSET, ROW = range(8)
OUT_MEAN, OUT_SD, OUT_MIN, OUT_MAX, OUT_SLOPE, OUT_RMS = range(6)


class Plan(NamedTuple):
    """What is fixed for one core; times in ns."""

    signals: int
    wait: int
    idle_timeout: int
    length: int
    hop: int
    allowed: int
    slots: int


class Windows(NamedTuple):
    """Open windows of all devices; slot i = series * slots + (start / hop) mod slots.

    w, last_arrival: int64[devices], as in watermark. next_close: int64[devices], W from which something is emitted.
    live: int64[devices], open windows. key: int64[i, 4], START is NO_TIME where free, REVISION -1 before the first
    emission. acc: float64[i, 8].
    """

    w: I64
    last_arrival: I64
    next_close: I64
    live: I64
    key: I64
    acc: F64


class Emitted(NamedTuple):
    """Output rows: int64[capacity, 8] and float64[capacity, 6]."""

    ints: I64
    floats: F64


class Rows(NamedTuple):
    """The columns of a Batch that windows need."""

    series: I32
    ts: I64
    arrival: I64
    value: F64
    offset: I64


@part
def _add(key: I64, acc: F64, i: int, ts: int, x: float) -> None:
    """One more sample. Welford, Technometrics 4(3), 1962, on differences to the first sample.

    The differences are exact where it matters (neighbouring values, integer times), so a large common level of values
    or times costs no digits.
    """
    n = key[i, COUNT] + 1
    key[i, COUNT] = n
    share = 1.0 / n
    dx = (x - acc[i, X0]) - acc[i, MEAN]
    dt = (ts - key[i, FIRST_TS]) * 1e-9 - acc[i, T_MEAN]
    acc[i, MEAN] += dx * share
    acc[i, T_MEAN] += dt * share
    rest = dx * (1.0 - share)
    acc[i, M2] += dx * rest
    acc[i, T_M2] += dt * dt * (1.0 - share)
    acc[i, COV] += dt * rest
    if x < acc[i, LOW]:
        acc[i, LOW] = x
    if x > acc[i, HIGH]:
        acc[i, HIGH] = x


@part
def _open(key: I64, acc: F64, i: int, start: int, ts: int, x: float) -> None:
    key[i, START] = start
    key[i, FIRST_TS] = ts
    key[i, COUNT] = 0
    key[i, REVISION] = -1
    acc[i, X0] = x
    for j in range(MEAN, LOW):
        acc[i, j] = 0.0
    acc[i, LOW] = x
    acc[i, HIGH] = x


@part
def _statistics(key: I64, acc: F64, i: int, out: Emitted, filled: int, extra: Extra | None) -> None:
    """Write count and statistics of slot i."""
    n = key[i, COUNT]
    mean = acc[i, X0] + acc[i, MEAN]
    variance = acc[i, M2] / n
    spread = acc[i, T_M2]
    out.ints[filled, N] = n
    floats = out.floats[filled]
    floats[OUT_MEAN] = mean
    floats[OUT_SD] = np.sqrt(variance)
    floats[OUT_MIN] = acc[i, LOW]
    floats[OUT_MAX] = acc[i, HIGH]
    floats[OUT_SLOPE] = acc[i, COV] / spread if spread > 0.0 else np.nan
    floats[OUT_RMS] = np.sqrt(mean * mean + variance)
    if extra is not None:
        _extra_emit(extra, i, n, acc[i, MEAN], acc[i, LOW], acc[i, HIGH], floats[OUT_RMS], filled)


@part
def _emit(
    plan: Plan, at: Windows, i: int, final: bool, revise: bool, offset: int, row: int, out: Emitted, filled: int,
    extra: Extra | None,
) -> int:  # fmt: skip
    """One output row of slot i; a first emission is revision 0, `revise` makes it one more; returns filled + 1."""
    if revise or at.key[i, REVISION] < 0:
        at.key[i, REVISION] += 1
    ints = out.ints[filled]
    ints[SERIES] = i // plan.slots
    ints[BEGIN] = at.key[i, START]
    ints[END] = at.key[i, START] + plan.length
    ints[REV] = at.key[i, REVISION]
    ints[FINAL] = final
    ints[OFFSET] = offset
    ints[ROW] = row
    _statistics(at.key, at.acc, i, out, filled, extra)
    return filled + 1


@part
def _close(
    plan: Plan, at: Windows, d: int, offset: int, row: int, out: Emitted, filled: int, extra: Extra | None
) -> int:
    """Emit what W of device d has passed, by window end, then series; returns the new `filled`."""
    w = at.w[d]
    first = -((plan.allowed + plan.length - at.next_close[d]) // plan.hop)  # no open window starts before
    left = at.live[d]
    coming = NEVER
    for k in range(first, first + plan.slots):
        start = k * plan.hop
        end = start + plan.length
        for g in range(plan.signals):
            i = (d * plan.signals + g) * plan.slots + k % plan.slots
            if at.key[i, START] != start:
                continue
            left -= 1
            if w >= end + plan.allowed:
                filled = _emit(plan, at, i, True, False, offset, row, out, filled, extra)
                at.key[i, START] = NO_TIME
                at.live[d] -= 1
            elif w >= end:
                if at.key[i, REVISION] < 0:
                    filled = _emit(plan, at, i, False, False, offset, row, out, filled, extra)
                coming = min(coming, end + plan.allowed)
            else:
                coming = min(coming, end)
                left = 0  # later windows end later
        if left <= 0:
            break
    at.next_close[d] = coming
    return filled


@part
def _insert(
    plan: Plan, at: Windows, s: int, ts: int, x: float, offset: int, row: int, out: Emitted, filled: int,
    extra: Extra | None,
) -> tuple[bool, int]:  # fmt: skip
    """Put a sample into its windows that are not final; an already emitted one is emitted anew; (taken, filled)."""
    d = s // plan.signals
    w = at.w[d]
    taken = False
    for k in range((ts - plan.length) // plan.hop + 1, ts // plan.hop + 1):
        start = k * plan.hop
        end = start + plan.length
        if w >= end + plan.allowed:
            continue
        i = s * plan.slots + k % plan.slots
        if at.key[i, START] != start:
            _open(at.key, at.acc, i, start, ts, x)
            if extra is not None:
                _extra_open(extra, i)
            at.live[d] += 1
            at.next_close[d] = min(at.next_close[d], end if w < end else end + plan.allowed)
        _add(at.key, at.acc, i, ts, x)
        if extra is not None:
            _extra_add(extra, i, ts - start, x, at.acc[i, X0])
        taken = True
        if w >= end:
            filled = _emit(plan, at, i, False, True, offset, row, out, filled, extra)
    return taken, filled


@part
def _place(signals: int, s: int, extra: Extra | None) -> tuple[int, int]:
    """Device of a series, and the series among those of the window, -1 where it is none of them."""
    if extra is None:
        return s // signals, s
    n = extra.place.size
    d = s // n
    place = extra.place[s - d * n]
    return d, d * signals + place if place >= 0 else -1


@kernel
def _push(
    plan: Plan, at: Windows, rows: Rows, devices: int, row: int, taken: Mask, late: Mask, out: Emitted, filled: int,
    extra: Extra | None,
) -> tuple[int, int]:  # fmt: skip
    """Work through the rows from `row` on; stops before a row for which `out` may be too short; (row, filled)."""
    room = out.ints.shape[0]
    widest = (plan.length + plan.hop - 1) // plan.hop
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
                    filled = _close(plan, at, d, rows.offset[row], row, out, filled, extra)
        else:
            d, s = _place(plan.signals, s, extra)
            if filled + at.live[d] + widest > room:
                break
            ts = rows.ts[row]
            moved = _observe(at.w, at.last_arrival, d, ts, rows.arrival[row], plan.wait)
            if moved and at.w[d] >= at.next_close[d]:
                filled = _close(plan, at, d, rows.offset[row], row, out, filled, extra)
            late[row] = ts < at.w[d]
            if s < 0:
                taken[row] = False
            else:
                taken[row], filled = _insert(
                    plan, at, s, ts, rows.value[row], rows.offset[row], row, out, filled, extra
                )
        row += 1
    return row, filled


@kernel
def _finish(plan: Plan, at: Windows, devices: int, offset: int, out: Emitted, extra: Extra | None) -> int:
    """Emit all open windows as final, slot by slot; returns their number."""
    filled = 0
    for i in range(devices * plan.signals * plan.slots):
        if at.key[i, START] != NO_TIME:
            filled = _emit(plan, at, i, True, False, offset, 0, out, filled, extra)
            at.key[i, START] = NO_TIME
    at.live[:devices] = 0
    at.next_close[:devices] = NEVER
    return filled
