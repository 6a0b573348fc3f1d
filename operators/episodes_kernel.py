"""The walk of `episodes`: which detectors of which devices an anomaly opens or keeps open, and which return by a row.

State, one element per detector and device:
    at: int64[detectors, devices, 4], SINCE (NO_TIME: not open), SINCE_OFFSET, LAST (time of the last anomaly), SIGNAL.
    value: float64[detectors, devices, 2], the value and the score it was raised with.
"""

from __future__ import annotations

from operators.compiled import kernel
from operators.types import F64, I32, I64, NO_TIME

SINCE, SINCE_OFFSET, LAST, SIGNAL = 0, 1, 2, 3
VALUE, SCORE = 0, 1
ROW, DETECTOR, DEVICE, HIT, EVENT_SINCE, EVENT_OFFSET, EVENT_LAST, EVENT_SIGNAL = range(8)
"""Columns of an event; HIT is the anomaly that raised it, -1 where it returned."""
WIDTH = 8


@kernel
def walk(
    device: I32, ts: I64, row: I64, detector: I32, signal: I32, offset: I64, value: F64, score: F64, clear_ns: I64,
    at: I64, levels: F64, open_of: I64, cursor: I64, events: I64, raised: F64,
) -> bool:  # fmt: skip
    """Goes on at the cursor; False: `events` is full.

    A row with an anomaly keeps the episode of its detector open, or opens it; any other row may end it.

    Args:
        device, ts: of the rows that were judged, in order.
        row, detector, signal, offset, value, score: of the anomalies, by row.
        clear_ns: int64[detectors].
        open_of: int64[devices], open episodes of each device.
        cursor: int64[3]: next row, next anomaly, events written.
        raised: float64[events, 2], value and score of the episode of each event.
    """
    hit, k = cursor[1], cursor[2]
    for r in range(cursor[0], device.size):
        d = device[r]
        first = hit
        while hit < row.size and row[hit] == r:
            hit += 1
        if d < 0 or (first == hit and open_of[d] == 0):
            continue
        if k + clear_ns.size + hit - first > len(events):
            cursor[0], cursor[1], cursor[2] = r, first, k
            return False
        for p in range(clear_ns.size):
            mine = -1
            for h in range(first, hit):
                if detector[h] == p:
                    mine = h
            since = at[p, d, SINCE]
            if mine >= 0 and since != NO_TIME:
                at[p, d, LAST] = max(at[p, d, LAST], ts[r])
                continue
            if mine >= 0:
                at[p, d, SINCE], at[p, d, SINCE_OFFSET], at[p, d, LAST] = ts[r], offset[mine], ts[r]
                at[p, d, SIGNAL] = signal[mine]
                levels[p, d, VALUE], levels[p, d, SCORE] = value[mine], score[mine]
                open_of[d] += 1
            elif since == NO_TIME or ts[r] - at[p, d, LAST] <= clear_ns[p]:
                continue
            events[k, ROW], events[k, DETECTOR], events[k, DEVICE], events[k, HIT] = r, p, d, mine
            events[k, EVENT_SINCE], events[k, EVENT_OFFSET] = at[p, d, SINCE], at[p, d, SINCE_OFFSET]
            events[k, EVENT_LAST], events[k, EVENT_SIGNAL] = at[p, d, LAST], at[p, d, SIGNAL]
            raised[k, VALUE], raised[k, SCORE] = levels[p, d, VALUE], levels[p, d, SCORE]
            k += 1
            if mine < 0:
                at[p, d, SINCE] = NO_TIME
                open_of[d] -= 1
    cursor[0], cursor[1], cursor[2] = device.size, hit, k
    return True
