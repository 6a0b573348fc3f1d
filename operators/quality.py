"""Quality flags of samples: sentinel, denormal, stuck, suspect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.compiled import kernel
from operators.definition import TwinType
from operators.types import F64, I32, I64, NO_TIME, TICK, U8, Batch, Mask, Quality, State

_STUCK, _SENTINEL, _DENORMAL, _SUSPECT = (
    int(q) for q in (Quality.STUCK, Quality.SENTINEL, Quality.DENORMAL, Quality.SUSPECT)
)
_SMALLEST_NORMAL = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class Assessed:
    """One push of `Assess`: the same rows with their flags, and which are readings (a sentinel is none)."""

    batch: Batch
    applied: Mask


@kernel
def _assess(
    series: I32, ts: I64, value: F64, quality: U8, low: F64, high: F64, stuck_after: I64, held: F64, since: I64
) -> None:
    signals = low.size
    for i in range(series.size):
        s = series[i]
        if s < 0 or quality[i] & _SENTINEL != 0:
            continue
        x, signal = value[i], s % signals
        if x != 0.0 and abs(x) < _SMALLEST_NORMAL:
            quality[i] |= _DENORMAL
        if x < low[signal] or x > high[signal]:
            quality[i] |= _SUSPECT
        if stuck_after[signal] > 0:
            if since[s] == NO_TIME or held[s] != x:
                held[s], since[s] = x, ts[i]
            elif ts[i] < since[s]:
                since[s] = ts[i]
            elif ts[i] - since[s] > stuck_after[signal]:
                quality[i] |= _STUCK


class Assess:
    """Flags samples; only a sentinel is not applied.

    Decode has marked sentinels, where the raw value still is what the device sent; calibration leaves them alone.
    STUCK: the newest samples of a series, in log order, all had this value, over more than `stuck_after_ns` of event
    time; a sentinel neither ends nor lengthens such a run. SUSPECT: outside the signal's normal range. DENORMAL: not
    zero, yet below the smallest normal float64.

    >>> from operators.definition import Signal
    >>> assess = Assess(TwinType("probe", 1, (Signal("a", stuck_after_ns=5, normal_high=9.0),)))
    >>> out = assess.push(Batch.of(series=[0, 0, 0], ts=[10, 15, 16], value=[12.0, 12.0, 12.0]))
    >>> [Quality(q).name for q in out.batch.quality.tolist()]
    ['SUSPECT', 'SUSPECT', 'STUCK|SUSPECT']
    """

    def __init__(self, twin_type: TwinType) -> None:
        signals = twin_type.signals
        self.signals = len(signals)
        self._low = np.array([s.normal_low for s in signals], np.float64)
        self._high = np.array([s.normal_high for s in signals], np.float64)
        self._stuck_after = np.array([s.stuck_after_ns for s in signals], np.int64)
        self._held = np.zeros(0, np.float64)
        self._since = np.full(0, NO_TIME, np.int64)

    def push(self, batch: Batch) -> Assessed:
        """Flag the rows of a batch."""
        top = int(batch.series.max(initial=TICK)) + 1
        if top > self._held.size:
            more = max(top, 2 * self._held.size) - self._held.size
            self._held = np.concatenate([self._held, np.zeros(more)])
            self._since = np.concatenate([self._since, np.full(more, NO_TIME, np.int64)])
        quality = batch.quality.copy()
        _assess(
            batch.series, batch.ts, batch.value, quality, self._low, self._high, self._stuck_after, self._held,
            self._since,
        )  # fmt: skip
        return Assessed(batch.replace(quality=quality), (quality & _SENTINEL) == 0)

    def snapshot(self) -> State:
        """Held value and its first time, per series up to the last that was met."""
        met = np.flatnonzero(self._since != NO_TIME)
        live = int(met[-1]) + 1 if met.size else 0
        return {"held": self._held[:live].copy(), "since": self._since[:live].copy()}

    def restore(self, state: State) -> None:
        """Take over a snapshot."""
        self._held, self._since = state["held"].copy(), state["since"].copy()
