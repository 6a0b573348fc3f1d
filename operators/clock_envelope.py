"""The lower envelope of (device time, arrival - device time): a network only adds delay, so the line below is it.

Per device a ring of slots over device time keeps the lowest point of each slot. The line is the one of greatest
likelihood under exponential delay with a normal prior on drift: of all lines below the points it maximises
`n / delay * line(mean time) - (drift - prior)^2 / (2 PRIOR_SD^2)`, which the lower convex hull gives in one walk.
Without the prior it is the linear programme of Moon, Skelly, Towsley (INFOCOM 1999), found on the hull as in Zhang,
Liu, Xia (INFOCOM 2002). Times are float64 seconds since the segment's first sample, levels since its first delay.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.compiled import part
from operators.types import F64, I64, NO_TIME

SLOTS = 32
PRIOR_SD = 50e-6
MAX_DRIFT = 500e-6
READY = 20
"""Messages in the horizon before the line is trusted."""
FIRST_DELAY = 0.02
"""Mean delay in seconds that is assumed while next to nothing is known; it weighs as much as three messages."""

_EMPTY = int(NO_TIME)


class Clocks(NamedTuple):
    """What is known of each device's clock; every column's first axis is the device.

    Attributes:
        boot: int64[d], boot of the segment, -1 before the first sample.
        start, level: int64[d], device time and delay of the segment's first sample, ns: origin of all floats.
        line: float64[d, 3], level at `start`, drift, prior of the drift.
        fit: float64[d, 4], messages n, their mean time, sd of the drift, mean delay.
        newest: int64[d, 2], newest device time and what it was corrected to.
        message: int64[d, 2], offset of the last message and its place in the ring (-1: it does not count).
        delay: float64[d], least delay of the last message, as counted.
        slot: int64[d, SLOTS], number of the slot held (device time // slot length), NO_TIME = empty.
        low: float64[d, SLOTS, 2], time and level of the slot's lowest point.
        tally: float64[d, SLOTS, 2], messages and sum of their levels.
        pending: int64[d, 8], rows that contradict the line, see `operators.clock_correct`.
    """

    boot: I64
    start: I64
    level: I64
    line: F64
    fit: F64
    newest: I64
    message: I64
    delay: F64
    slot: I64
    low: F64
    tally: F64
    pending: I64


def new_clocks(devices: int) -> Clocks:
    """Columns for so many devices, none of them seen yet."""
    return Clocks(
        boot=np.full(devices, -1, np.int64),
        start=np.zeros(devices, np.int64),
        level=np.zeros(devices, np.int64),
        line=np.zeros((devices, 3)),
        fit=np.zeros((devices, 4)),
        newest=np.full((devices, 2), NO_TIME, np.int64),
        message=np.full((devices, 2), -1, np.int64),
        delay=np.zeros(devices),
        slot=np.full((devices, SLOTS), NO_TIME, np.int64),
        low=np.zeros((devices, SLOTS, 2)),
        tally=np.zeros((devices, SLOTS, 2)),
        pending=np.zeros((devices, 8), np.int64),
    )


@part
def begin(c: Clocks, dev: int, boot: int, ts: int, delay: int, drift: float) -> None:
    """Start a segment of device `dev` at this sample; `drift` is the prior."""
    c.boot[dev] = boot
    c.start[dev] = ts
    c.level[dev] = delay
    c.line[dev, 0] = 0.0
    c.line[dev, 1] = drift
    c.line[dev, 2] = drift
    c.fit[dev, :] = 0.0
    c.fit[dev, 2], c.fit[dev, 3] = PRIOR_SD, FIRST_DELAY
    c.newest[dev, 0] = _EMPTY
    c.message[dev, :] = -1
    c.slot[dev, :] = _EMPTY
    c.pending[dev, 0] = 0


@part
def uncertainty(c: Clocks, dev: int, t: float) -> float:
    """About two standard deviations of the line at t, seconds. A constant part of the delay cannot be seen in it."""
    n, mean_t, drift_sd, delay = c.fit[dev, 0], c.fit[dev, 1], c.fit[dev, 2], c.fit[dev, 3]
    return float(3.0 * delay / max(n, 1.0) + 2.0 * drift_sd * abs(t - mean_t))


@part
def teach(c: Clocks, dev: int, ts: int, t: float, y: float, offset: int, slot_ns: int) -> bool:
    """Put one point into its slot; True when the line has to be fitted again.

    A message counts once, by its least delay.
    """
    number = ts // slot_ns
    place = number % SLOTS
    held = c.slot[dev, place]
    if held > number:
        return False
    opened = held < number
    if opened:
        c.slot[dev, place] = number
        c.low[dev, place, 0], c.low[dev, place, 1] = t, y
        c.tally[dev, place, :] = 0.0
        if c.message[dev, 1] == place:
            c.message[dev, 1] = -1
    drift = c.line[dev, 1]
    if y - drift * t < c.low[dev, place, 1] - drift * c.low[dev, place, 0]:
        c.low[dev, place, 0], c.low[dev, place, 1] = t, y
    if c.message[dev, 0] == offset and c.message[dev, 1] >= 0:
        if y >= c.delay[dev]:
            return bool(opened)
        before = c.message[dev, 1]
        c.tally[dev, before, 0] -= 1.0
        c.tally[dev, before, 1] -= c.delay[dev]
    c.tally[dev, place, 0] += 1.0
    c.tally[dev, place, 1] += y
    c.message[dev, 0], c.message[dev, 1] = offset, place
    c.delay[dev] = y
    return bool(opened or y < c.line[dev, 0] + drift * t)


@part
def fit(c: Clocks, dev: int, slot_ns: int, hull: F64) -> None:
    """Fit the line anew from the slots within the horizon, the newest slot being that of `newest`.

    Args:
        hull: float64[2, SLOTS], scratch space.
    """
    hull_t, hull_y = hull[0], hull[1]
    h = 0
    n = sum_y = sum_t = sum_tt = 0.0
    last = c.newest[dev, 0] // slot_ns
    for number in range(last - SLOTS + 1, last + 1):
        place = number % SLOTS
        if c.slot[dev, place] != number:
            continue
        t, y = c.low[dev, place, 0], c.low[dev, place, 1]
        count = c.tally[dev, place, 0]
        n += count
        sum_y += c.tally[dev, place, 1]
        sum_t += count * t
        sum_tt += count * t * t
        while h >= 2 and (hull_y[h - 1] - hull_y[h - 2]) * (t - hull_t[h - 2]) >= (y - hull_y[h - 2]) * (
            hull_t[h - 1] - hull_t[h - 2]
        ):
            h -= 1
        hull_t[h], hull_y[h] = t, y
        h += 1
    if h == 0 or n <= 0.0:
        return
    if n < READY <= c.fit[dev, 0]:
        c.line[dev, 2] = c.line[dev, 1]
    mean_t, mean_y = sum_t / n, sum_y / n
    delay = c.fit[dev, 3]
    for _ in range(3):
        drift = _drift(hull_t, hull_y, h, mean_t, n / delay, c.line[dev, 2])
        base = np.inf
        for k in range(h):
            base = min(base, hull_y[k] - drift * hull_t[k])
        gap = max(mean_y - base - drift * mean_t, 0.0)
        delay = max((gap * n + FIRST_DELAY * 3.0) / (max(n - 2.0, 0.0) + 3.0), 1e-5)
    c.line[dev, 0], c.line[dev, 1] = base, drift
    c.fit[dev, 0], c.fit[dev, 1] = n, mean_t
    spread = max(sum_tt / n - mean_t * mean_t, 0.0)
    c.fit[dev, 2] = 1.0 / np.sqrt(1.0 / PRIOR_SD**2 + spread * (n / (3.0 * delay)) ** 2)
    c.fit[dev, 3] = delay


@part
def _drift(hull_t: F64, hull_y: F64, h: int, mean_t: float, weight: float, prior: float) -> float:
    """Best drift: walk the hull from the left; each vertex is touched by the drifts between its two edges."""
    least = -MAX_DRIFT
    for k in range(h):
        edge = (hull_y[k + 1] - hull_y[k]) / (hull_t[k + 1] - hull_t[k]) if k + 1 < h else MAX_DRIFT
        most = min(max(edge, -MAX_DRIFT), MAX_DRIFT)
        best = prior + PRIOR_SD**2 * weight * (mean_t - hull_t[k])
        if best <= most:
            return float(max(best, least))
        least = most
    return least
