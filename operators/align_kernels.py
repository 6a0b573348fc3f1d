"""The loops of `align`: samples go into sorted rings, grid instants leave them once nothing can change them.

Arrays that all of them share, beside the rings (key, value, block, free) of `operators.rings`:
    grid: int64[n, 3], per signal LINEAR (0 or 1), GAP (ns), REQUIRED (0 or 1); `every` and `max_skew` (-1: not set).
    turns: int64[k], first of the four signals of each orientation that is interpolated by slerp (they are LINEAR too).
    leader: the signal whose samples are the instants, -1 where the grid is; with a leader `every` is 1 ns.
    w, last_arrival: int64[devices], of `operators.watermark`.
    lane: int64[devices, 5]. FIRST: smallest event time, NEWEST: the largest; PENDING: next grid instant to release;
        NO_TIME until known. HOLD, BLOCKER: no release before W >= HOLD unless signal BLOCKER got a sample; a memo.
    head, out, valid: int64[rows, 5] (DEVICE, INSTANT, SKEW, DEGRADED, OFFSET), float64[rows, n], bool[rows, n].
    cursor: int64[3]. ROW and RESUME: where to go on (device, or -1); FILLED: rows written.
"""

from __future__ import annotations

import numpy as np

from operators.compiled import kernel, part
from operators.rings import HELD, TS, _drop_hidden, _insert, _slot
from operators.types import F64, I32, I64, NO_TIME, Mask
from operators.watermark import _observe, _tick

LINEAR, GAP, REQUIRED = 0, 1, 2
FIRST, NEWEST, PENDING, HOLD, BLOCKER = 0, 1, 2, 3, 4
DEVICE, INSTANT, SKEW, DEGRADED, OFFSET = 0, 1, 2, 3, 4
ROW, RESUME, FILLED = 0, 1, 2
DONE, ROWS_FULL, ARENA_FULL = 0, 1, 2
_NEVER = np.iinfo(np.int64).max


@part
def _ceil(ts: int, every: int) -> int:
    return -(-ts // every) * every


@part
def _first_from(key: I64, block: I64, series: int, g: int) -> int:
    """Index of the first sample at or after g; their number where there is none."""
    i, held = 0, block[series, HELD]
    while i < held and key[_slot(block, series, i), TS] < g:
        i += 1
    return i


@part
def _instant(leader: int, every: int, lane: I64, key: I64, block: I64, d: int, n: int) -> int:
    """The next instant of device d; _NEVER where its leader has no further sample yet."""
    g = int(lane[d, PENDING])
    if g == NO_TIME:
        g = _ceil(lane[d, FIRST], every)
    if leader >= 0:
        i = _first_from(key, block, d * n + leader, g)
        g = int(key[_slot(block, d * n + leader, i), TS]) if i < block[d * n + leader, HELD] else _NEVER
    return g


@part
def _blocked(grid: I64, lane: I64, key: I64, block: I64, d: int, w: int, g: int) -> bool:
    """True while some linear signal of d may still get a nearer right neighbour for g on time."""
    n = len(grid)
    for s in range(n):
        if not grid[s, LINEAR] or w - g >= grid[s, GAP]:
            continue
        i = _first_from(key, block, d * n + s, g)
        hold = g + grid[s, GAP]
        if i < block[d * n + s, HELD]:
            after = key[_slot(block, d * n + s, i), TS] + 1
            if w >= after:
                continue
            hold = min(hold, after)
        if lane[d, PENDING] != NO_TIME:  # before the first release an older sample may still come and move g
            lane[d, HOLD], lane[d, BLOCKER] = hold, s
        return True
    return False


@part
def _turn(key: I64, value: F64, block: I64, series: int, gap: int, g: int, to: F64) -> bool:
    """Slerp of four series at g, along the shorter arc, into to[:4]; False unless they have the same neighbours.

    Shoemake, Animating rotation with quaternion curves, SIGGRAPH 1985.
    """
    i, held = _first_from(key, block, series, g), block[series, HELD]
    if i == 0 or i == held:
        return False
    t0, t1 = key[_slot(block, series, i - 1), TS], key[_slot(block, series, i), TS]
    if t1 - t0 > gap:
        return False
    dot, before, after = 0.0, 0.0, 0.0
    for c in range(4):
        j = _first_from(key, block, series + c, g)
        if j == 0 or j == block[series + c, HELD]:
            return False
        left, right = _slot(block, series + c, j - 1), _slot(block, series + c, j)
        if key[left, TS] != t0 or key[right, TS] != t1:
            return False
        dot += value[left] * value[right]
        before += value[left] * value[left]
        after += value[right] * value[right]
    if not before * after > 0.0:
        return False
    before, after = np.sqrt(before), np.sqrt(after)
    u, cosine = (g - t0) / (t1 - t0), min(abs(dot) / (before * after), 1.0)
    angle = np.arccos(cosine)
    a, b = 1.0 - u, u
    if angle > 1e-6:  # below, a straight line is as near as float64 gets
        a, b = np.sin(a * angle) / np.sin(angle), np.sin(u * angle) / np.sin(angle)
    if dot < 0.0:
        b = -b
    size = 0.0
    for c in range(4):
        j = _first_from(key, block, series + c, g)
        left, right = value[_slot(block, series + c, j - 1)], value[_slot(block, series + c, j)]
        to[c] = a * left / before + b * right / after
        size += to[c] * to[c]
    size = np.sqrt(size)
    for c in range(4):
        to[c] /= size
    return True


@part
def _orientations(
    grid: I64, turns: I64, key: I64, value: F64, block: I64, d: int, g: int, out: F64, valid: Mask, k: int
) -> None:
    """Slerp instead of the four straight lines; none of the four is valid unless all are."""
    n = len(grid)
    for q in turns:
        whole, exact = True, True
        for c in range(q, q + 4):
            series = d * n + c
            i = _first_from(key, block, series, g)
            exact &= i < block[series, HELD] and key[_slot(block, series, i), TS] == g
            whole &= valid[k, c]
        if whole and not exact:
            whole = _turn(key, value, block, d * n + q, grid[q, GAP], g, out[k, q : q + 4])
        if not whole:
            out[k, q : q + 4] = np.nan
            valid[k, q : q + 4] = False


@part
def _fill(
    grid: I64, turns: I64, max_skew: int, key: I64, value: F64, block: I64, d: int, g: int, head: I64, out: F64,
    valid: Mask, k: int,
) -> bool:  # fmt: skip
    """Writes the row of device d at g to place k; False (nothing to keep) where no signal is valid."""
    n = len(grid)
    some, degraded, skew = False, False, 0
    for s in range(n):
        series, gap = d * n + s, grid[s, GAP]
        i, held = _first_from(key, block, series, g), block[series, HELD]
        right, left = _slot(block, series, i), _slot(block, series, i - 1)
        x, good = np.nan, False
        if i < held and key[right, TS] == g:
            x, good = value[right], True
        elif i > 0 and grid[s, LINEAR]:
            if i < held and key[right, TS] - key[left, TS] <= gap:
                before, after = g - key[left, TS], key[right, TS] - g
                x, good = value[left] + (value[right] - value[left]) * (before / (before + after)), True
                skew = max(skew, before, after)
        elif i > 0 and g - key[left, TS] <= gap:
            x, good = value[left], True
            skew = max(skew, g - key[left, TS])
        out[k, s], valid[k, s] = x, good
    if turns.size:
        _orientations(grid, turns, key, value, block, d, g, out, valid, k)
    for s in range(n):
        some |= valid[k, s]
        degraded |= grid[s, REQUIRED] != 0 and not valid[k, s]
    head[k, DEVICE], head[k, INSTANT], head[k, SKEW] = d, g, skew
    head[k, DEGRADED] = degraded or (0 <= max_skew < skew)
    return some


@part
def _next_instant(grid: I64, every: int, newest: int, key: I64, block: I64, d: int, w: int, g: int, final: bool) -> int:
    """The instant after g where no signal is valid at g: past all that stay empty and may be released by now."""
    n = len(grid)
    limit = newest if final else min(newest, w - 1)
    target = _NEVER
    for s in range(n):
        i = _first_from(key, block, d * n + s, g)
        t1 = _NEVER
        if i < block[d * n + s, HELD]:
            t1 = key[_slot(block, d * n + s, i), TS]
            target = min(target, _ceil(t1, every))
        if grid[s, LINEAR] and not final and t1 >= w:
            limit = min(limit, w - grid[s, GAP])
    return int(max(g + every, min(target, (limit // every + 1) * every)))


@part
def _release(
    grid: I64, turns: I64, leader: int, every: int, max_skew: int, w: I64, lane: I64, key: I64, value: F64, block: I64,
    d: int, fed: int, offset: int, final: bool, head: I64, out: F64, valid: Mask, k: int,
) -> tuple[int, bool]:  # fmt: skip
    """Releases what device d holds ready, `fed` being the signal that just got a sample; False: rows are full."""
    if lane[d, FIRST] == NO_TIME:
        return k, True
    if not final and fed != lane[d, BLOCKER] and fed != leader and w[d] < lane[d, HOLD]:
        return k, True
    lane[d, HOLD] = NO_TIME
    n = len(grid)
    while True:
        g = _instant(leader, every, lane, key, block, d, n)
        if g > lane[d, NEWEST] or (not final and (w[d] <= g or _blocked(grid, lane, key, block, d, w[d], g))):
            return k, True
        if k == len(head):
            return k, False
        if _fill(grid, turns, max_skew, key, value, block, d, g, head, out, valid, k):
            head[k, OFFSET] = offset
            k += 1
            g += every
        else:
            g = _next_instant(grid, every, lane[d, NEWEST], key, block, d, w[d], g, final)
        lane[d, PENDING] = g
        for s in range(n):
            _drop_hidden(key, block, d * n + s, g - every)


@kernel
def _push(
    grid: I64, turns: I64, leader: int, every: int, max_skew: int, w: I64, last_arrival: I64, wait: int,
    idle_timeout: int, devices: int,
    lane: I64, key: I64, value: F64, block: I64, free: I64,
    series: I32, ts: I64, arrival: I64, x: F64, seq: I64, offset: I64, taken: Mask,
    head: I64, out: F64, valid: Mask, cursor: I64,
) -> int:  # fmt: skip
    """Goes on at the cursor until all rows are done, or the output or the arena is full."""
    n, k = len(grid), cursor[FILLED]
    for row in range(cursor[ROW], series.size):
        cursor[ROW] = row
        if series[row] < 0:
            _tick(w, last_arrival, devices, arrival[row], wait, idle_timeout)
            first, last, fed = max(0, cursor[RESUME]), devices, -2
        else:
            d = series[row] // n
            first, last, fed = d, d + 1, series[row] - d * n
            if cursor[RESUME] < 0:
                _observe(w, last_arrival, d, ts[row], arrival[row], wait)
                if lane[d, PENDING] != NO_TIME and ts[row] < lane[d, PENDING] - every:
                    continue
                if not _insert(key, value, block, free, d * n + fed, ts[row], x[row], seq[row], every):
                    cursor[FILLED] = k
                    return ARENA_FULL
                taken[row] = True
                if lane[d, FIRST] == NO_TIME or ts[row] < lane[d, FIRST]:
                    lane[d, FIRST] = ts[row]
                lane[d, NEWEST] = max(lane[d, NEWEST], ts[row])
        for d in range(first, last):
            k, done = _release(
                grid, turns, leader, every, max_skew, w, lane, key, value, block, d, fed, offset[row], False, head,
                out, valid, k,
            )  # fmt: skip
            if not done:
                cursor[RESUME], cursor[FILLED] = d, k
                return ROWS_FULL
        cursor[RESUME] = -1
    cursor[FILLED] = k
    return DONE


@kernel
def _finish(
    grid: I64, turns: I64, leader: int, every: int, max_skew: int, w: I64, lane: I64, key: I64, value: F64, block: I64,
    devices: int, offset: int, head: I64, out: F64, valid: Mask, cursor: I64,
) -> int:  # fmt: skip
    """Like `_push` at the end of input: every device up to its newest sample."""
    k = cursor[FILLED]
    for d in range(max(0, cursor[RESUME]), devices):
        k, done = _release(
            grid, turns, leader, every, max_skew, w, lane, key, value, block, d, -2, offset, True, head, out, valid, k
        )
        if not done:
            cursor[RESUME], cursor[FILLED] = d, k
            return ROWS_FULL
    cursor[FILLED] = k
    return DONE
