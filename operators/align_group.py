"""The loop of `align` by groups: what came close together is one row, what lacks a member is none.

A group is opened by the first sample of a member that no group holds yet, at t0, and holds the samples of [t0, t0 +
span). It leaves when W >= t0 + span. Its instant is its latest sample; each member gives its latest one. Arrays are
those of `operators.align_kernels`; PENDING is the end of the last group here, and DEGRADED is INCOMPLETE where a member
is missing.
"""

from __future__ import annotations

import numpy as np

from operators.align_kernels import (
    ARENA_FULL,
    DEGRADED,
    DEVICE,
    DONE,
    FILLED,
    INSTANT,
    OFFSET,
    PENDING,
    RESUME,
    ROW,
    ROWS_FULL,
    SKEW,
)
from operators.compiled import kernel, part
from operators.rings import HELD, TS, _drop_before, _insert, _slot
from operators.types import F64, I32, I64, NO_TIME, Mask
from operators.watermark import _observe, _tick

INCOMPLETE = 2
_NEVER = np.iinfo(np.int64).max


@part
def _group(
    member: Mask, max_skew: int, key: I64, value: F64, block: I64, d: int, end: int, head: I64, out: F64, valid: Mask,
    k: int,
) -> None:  # fmt: skip
    """Write the group of device d that ends before `end` to place k, and forget its samples."""
    n = member.size
    newest, oldest, whole = NO_TIME, _NEVER, True
    for s in range(n):
        series = d * n + s
        i = -1
        while i + 1 < block[series, HELD] and key[_slot(block, series, i + 1), TS] < end:
            i += 1
        out[k, s], valid[k, s] = np.nan, i >= 0
        if i >= 0:
            at = _slot(block, series, i)
            out[k, s] = value[at]
            newest, oldest = max(newest, key[at, TS]), min(oldest, key[at, TS])
        whole &= i >= 0 or not member[s]
        _drop_before(key, block, series, end)
    head[k, DEVICE], head[k, INSTANT], head[k, SKEW] = d, newest, newest - oldest
    head[k, DEGRADED] = INCOMPLETE if not whole else 0 <= max_skew < newest - oldest


@part
def _release(
    member: Mask, span: int, max_skew: int, w: I64, lane: I64, key: I64, value: F64, block: I64, d: int, offset: int,
    final: bool, head: I64, out: F64, valid: Mask, k: int,
) -> tuple[int, bool]:  # fmt: skip
    """Releases the groups of device d that W has passed; False: rows are full."""
    n = member.size
    while True:
        first = _NEVER
        for series in range(d * n, (d + 1) * n):
            if block[series, HELD] > 0:
                first = min(first, key[_slot(block, series, 0), TS])
        if first == _NEVER or (not final and w[d] < first + span):
            return k, True
        if k == len(head):
            return k, False
        _group(member, max_skew, key, value, block, d, first + span, head, out, valid, k)
        head[k, OFFSET] = offset
        lane[d, PENDING] = first + span
        k += 1


@kernel
def _push_groups(
    member: Mask, span: int, max_skew: int, w: I64, last_arrival: I64, wait: int, idle_timeout: int, devices: int,
    lane: I64, key: I64, value: F64, block: I64, free: I64,
    series: I32, ts: I64, arrival: I64, x: F64, seq: I64, offset: I64, taken: Mask,
    head: I64, out: F64, valid: Mask, cursor: I64,
) -> int:  # fmt: skip
    """Goes on at the cursor until all rows are done, or the output or the arena is full."""
    n, k = member.size, cursor[FILLED]
    for row in range(cursor[ROW], series.size):
        cursor[ROW] = row
        if series[row] < 0:
            _tick(w, last_arrival, devices, arrival[row], wait, idle_timeout)
            first, last = max(0, cursor[RESUME]), devices
        else:
            d = series[row] // n
            first, last = d, d + 1
            if cursor[RESUME] < 0:
                _observe(w, last_arrival, d, ts[row], arrival[row], wait)
                if member[series[row] - d * n] and ts[row] >= lane[d, PENDING]:
                    if not _insert(key, value, block, free, series[row], ts[row], x[row], seq[row], 0):
                        cursor[FILLED] = k
                        return ARENA_FULL
                    taken[row] = True
        for d in range(first, last):
            k, done = _release(
                member, span, max_skew, w, lane, key, value, block, d, offset[row], False, head, out, valid, k
            )
            if not done:
                cursor[RESUME], cursor[FILLED] = d, k
                return ROWS_FULL
        cursor[RESUME] = -1
    cursor[FILLED] = k
    return DONE


@kernel
def _finish_groups(
    member: Mask, span: int, max_skew: int, w: I64, lane: I64, key: I64, value: F64, block: I64, devices: int,
    offset: int, head: I64, out: F64, valid: Mask, cursor: I64,
) -> int:  # fmt: skip
    """Like `_push_groups` at the end of input: every group that is open."""
    k = cursor[FILLED]
    for d in range(max(0, cursor[RESUME]), devices):
        k, done = _release(member, span, max_skew, w, lane, key, value, block, d, offset, True, head, out, valid, k)
        if not done:
            cursor[RESUME], cursor[FILLED] = d, k
            return ROWS_FULL
    cursor[FILLED] = k
    return DONE
