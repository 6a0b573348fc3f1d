"""Which rows of a batch: the newest one of each series; those that a detector of single signals looks at."""

from __future__ import annotations

import numpy as np

from operators.compiled import kernel
from operators.rings import plain
from operators.types import I32, I64, U8, Mask


@kernel
def _mark(series: I32, ts: I64, best: I64, keep: Mask) -> None:
    for row in range(series.size):
        before = best[series[row]]
        if before < 0 or ts[row] >= ts[before]:
            best[series[row]] = row
            keep[row] = True
            if before >= 0:
                keep[before] = False


def newest(series: I32, ts: I64) -> Mask:
    """bool[n]: the row of the largest `ts` of its series, the last one of equals. No series is negative.

    >>> newest(np.array([3, 3, 1], np.int32), np.array([2, 1, 1])).tolist()
    [True, False, True]
    """
    keep = np.zeros(series.size, np.bool_)
    _mark(plain(series), plain(ts), np.full(int(series.max(initial=-1)) + 1, -1), keep)
    return keep


@kernel
def select(series: I32, quality: U8, unfit: int, place: I32, width: int, part: I32, rows: I64) -> int:
    """Samples of some signals, fit to be judged, in order; how many.

    Args:
        place: int32[signals of the type], number of a signal among those wanted, -1 where it is not wanted.
        width: how many are wanted.
        part: int32[3, n], written: series among the wanted ones, device, signal. rows: int64[n], written.
    """
    k = 0
    for row in range(series.size):
        if series[row] < 0 or quality[row] & unfit != 0:
            continue
        device, signal = series[row] // place.size, series[row] % place.size
        if place[signal] >= 0:
            part[0, k], part[1, k], part[2, k] = device * width + place[signal], device, signal
            rows[k] = row
            k += 1
    return k
