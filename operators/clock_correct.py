"""Device time to true time: per device an offset and a drift, learnt row by row from (device time, arrival).

A row is corrected from itself and the rows before it in log order, never from later ones. What the line cannot see is
a constant part of the delay: it stays in the corrected time. docs/decisions/clock.md has the estimator and its figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from operators.clock_envelope import FIRST_DELAY, READY, SLOTS, Clocks, begin, fit, new_clocks, teach, uncertainty
from operators.compiled import kernel, part
from operators.definition import SECOND, TwinType
from operators.errors import StateError
from operators.types import F64, I32, I64, NO_TIME, U8, Batch, Mask, Quality, Rows, State

_NO_TIME = int(NO_TIME)
_BY_ARRIVAL = int(Quality.ARRIVAL_AS_TIME)
_CORRECTED = int(Quality.CLOCK_CORRECTED)
_UNCERTAIN = int(Quality.CLOCK_UNCERTAIN)
_SLEW_NS = SECOND // 10
_ABOVE_NS, _BACK_NS, _BELOW_NS = 10 * SECOND, 2 * SECOND, SECOND
"""How long rows must contradict the line: late ones (it may be the network), late ones that went back, early ones."""
_SIDE, _COUNT, _FIRST_TS, _FIRST_ARRIVAL, _LOW_TS, _LOW_DELAY, _BACK, _OFFSET = range(8)
"""Columns of Clocks.pending; the low ones are the point of least delay among the pending rows."""


@dataclass(frozen=True, slots=True)
class ClockSteps:
    """Jumps of device clocks, one row each, found at `row` of the batch.

    Attributes:
        row: intp[k], row of the batch that confirmed the jump.
        device: int32[k].
        ts: int64[k], corrected time of that row, ns UTC.
        jump_ns: int64[k], how far the device clock jumped; positive is ahead.
        offset: int64[k], offset of the message that confirmed it.
    """

    row: Rows
    device: I32
    ts: I64
    jump_ns: I64
    offset: I64


_NONE: I64 = np.empty(0, np.int64)
NO_STEPS = ClockSteps(_NONE, np.empty(0, np.int32), _NONE, _NONE, _NONE)
"""No jump at all."""


@dataclass(frozen=True, slots=True)
class ClockOutput:
    """The batch with corrected times; all columns have its length n.

    Attributes:
        batch: the rows as given, `ts` corrected and `quality` flagged; quarantined rows are still in it.
        quarantined: bool[n], too far ahead of arrival: to be set aside, moving no watermark.
        uncertainty_ns: int64[n], about two standard deviations, without a constant part of the network delay.
        steps: the jumps of clocks found in this batch.
    """

    batch: Batch
    quarantined: Mask
    uncertainty_ns: I64
    steps: ClockSteps


class _Columns(NamedTuple):
    series: I32
    arrival: I64
    boot: I32
    offset: I64
    ts: I64  # device time in, corrected time out
    quality: U8
    quarantined: Mask
    uncertainty: I64
    jump: I64


class _Limits(NamedTuple):
    signals: int
    slot_ns: int
    max_future_ns: int
    step_ns: int
    hull: F64  # scratch space of `fit`


class ClockCorrect:
    """Corrects the device times of one shard and twin type.

    Args:
        signals: number of signals of the type.
        mode: "trusted" passes every row on unchanged and checks nothing; "device" corrects.
        horizon_ns: device time over which the envelope is fitted, ns; held in SLOTS slots.
        max_future_ns: a row that would lie further ahead of its arrival is quarantined, ns.
        step_ns: least jump ahead that counts as a step; a jump back shows from five times that, ns.

    Samples of one boot keep the order of their device times: a corrected time never falls back behind the newest one;
    the clock runs slower instead (half speed up to 0.1 s, almost standing beyond). Equal device times stay equal.

    >>> ts = np.arange(0, 10_000_000_000, 20_000_000)
    >>> clock = ClockCorrect(1, mode="device")
    >>> out = clock.push(Batch.of(series=[0] * 500, ts=ts, value=[0.0] * 500, arrival=ts + 500_000_000))
    >>> int(out.batch.ts[-1] - ts[-1])
    500000000
    """

    def __init__(
        self,
        signals: int,
        mode: Literal["device", "trusted"] = "trusted",
        *,
        horizon_ns: int = 128 * SECOND,
        max_future_ns: int = 5 * SECOND,
        step_ns: int = SECOND // 50,
    ) -> None:
        self.mode = mode
        self._limits = _Limits(signals, max(horizon_ns // SLOTS, 1), max_future_ns, step_ns, np.empty((2, SLOTS)))
        self._clocks = new_clocks(0)
        self._devices = 0

    @staticmethod
    def of(twin_type: TwinType) -> ClockCorrect:
        """As the type says; a horizon of at least 60 messages of its fastest signal."""
        rate_hz = max((s.rate_hz for s in twin_type.signals), default=0.0)
        horizon_ns = max(128 * SECOND, int(60 * SECOND / rate_hz)) if rate_hz > 0.0 else 128 * SECOND
        return ClockCorrect(len(twin_type.signals), twin_type.clock, horizon_ns=horizon_ns)

    def push(self, batch: Batch) -> ClockOutput:
        """Correct the rows of one batch; ticks pass unchanged and samples without a time of their own teach nothing."""
        n = len(batch)
        columns = _Columns(
            batch.series,
            batch.arrival,
            batch.boot,
            batch.offset,
            batch.ts.copy(),
            batch.quality.copy(),
            np.zeros(n, np.bool_),
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
        )
        if self.mode == "device" and n:
            self._grow(int(batch.series.max()) // self._limits.signals + 1)
            _correct(self._clocks, columns, self._limits)
        row = np.flatnonzero(columns.jump)
        steps = ClockSteps(
            row=row,
            device=(batch.series[row] // self._limits.signals).astype(np.int32),
            ts=columns.ts[row],
            jump_ns=columns.jump[row],
            offset=batch.offset[row],
        )
        corrected = batch.replace(ts=columns.ts, quality=columns.quality)
        return ClockOutput(corrected, columns.quarantined, columns.uncertainty, steps)

    def snapshot(self) -> State:
        """One array per column of Clocks, cut to the devices seen."""
        return {name: column[: self._devices].copy() for name, column in self._clocks._asdict().items()}

    def restore(self, state: State) -> None:
        """Take over a snapshot.

        Raises:
            StateError: columns are missing or of another shape.
        """
        empty = new_clocks(0)._asdict()
        if set(state) != set(empty) or any(state[k].shape[1:] != empty[k].shape[1:] for k in empty):
            raise StateError(where="clock_correct", detail="columns differ from this version's", fix="replay the shard")
        self._clocks = Clocks(**{name: state[name].astype(empty[name].dtype) for name in empty})
        self._devices = len(self._clocks.boot)

    def _grow(self, devices: int) -> None:
        room = len(self._clocks.boot)
        if devices > room:
            more = new_clocks(max(devices, 2 * room) - room)
            self._clocks = Clocks(*(np.concatenate(pair) for pair in zip(self._clocks, more, strict=True)))
        self._devices = max(self._devices, devices)


@kernel
def _correct(c: Clocks, x: _Columns, limits: _Limits) -> None:
    for i in range(x.series.size):
        if x.series[i] < 0:
            continue
        dev = x.series[i] // limits.signals
        if x.quality[i] & _BY_ARRIVAL:
            x.uncertainty[i] = np.int64(1e9 * (c.fit[dev, 3] if c.boot[dev] >= 0 else FIRST_DELAY))
        elif x.arrival[i] <= 0:
            _without_arrival(c, x, i, dev)
        else:
            _row(c, x, i, dev, limits)


@part
def _row(c: Clocks, x: _Columns, i: int, dev: int, limits: _Limits) -> None:
    ts, arrival = x.ts[i], x.arrival[i]
    if c.boot[dev] != x.boot[i]:
        begin(c, dev, x.boot[i], ts, arrival - ts, 0.0)
    t = 1e-9 * (ts - c.start[dev])
    y = 1e-9 * (arrival - ts - c.level[dev])
    excess = y - c.line[dev, 0] - c.line[dev, 1] * t
    side = _contradicts(c, dev, t, excess, limits)
    if side == 0:
        c.pending[dev, _COUNT] = 0
    else:
        verdict = _pend(c, dev, side, ts, arrival, x.offset[i])
        if verdict == 0 and side < 0:
            x.quality[i] |= _UNCERTAIN
            x.uncertainty[i] = np.int64(-1e9 * excess)
            x.ts[i] = arrival
            x.quarantined[i] = excess < -1e-9 * limits.max_future_ns
            if x.quarantined[i]:
                x.ts[i] = ts
            return
        if verdict == 0:
            x.quality[i] |= _CORRECTED
            x.ts[i] = _in_order(c, dev, ts, ts + c.level[dev] + _offset_ns(c, dev, t))
            x.uncertainty[i] = np.int64(1e9 * uncertainty(c, dev, t))
            if c.pending[dev, _BACK]:
                x.quality[i] |= _UNCERTAIN
                x.uncertainty[i] = np.int64(1e9 * excess)
            return
        if verdict == 1:
            x.jump[i] = _jump_ns(c, dev)
        _restart(c, dev, limits, x.offset[i])
        t = 1e-9 * (ts - c.start[dev])
        y = 1e-9 * (arrival - ts - c.level[dev])
    _learn_and_correct(c, x, i, dev, t, y, limits)


@part
def _learn_and_correct(c: Clocks, x: _Columns, i: int, dev: int, t: float, y: float, limits: _Limits) -> None:
    ts = x.ts[i]
    newest_ts, newest_true = c.newest[dev, 0], c.newest[dev, 1]
    c.newest[dev, 0] = max(ts, newest_ts)
    if teach(c, dev, ts, t, y, x.offset[i], limits.slot_ns):
        fit(c, dev, limits.slot_ns, limits.hull)
    c.newest[dev, 0] = newest_ts
    true = _in_order(c, dev, ts, ts + c.level[dev] + _offset_ns(c, dev, t))
    if ts >= newest_ts:
        newest_ts, newest_true = ts, true
    c.newest[dev, 0], c.newest[dev, 1] = newest_ts, newest_true
    x.ts[i] = true
    x.uncertainty[i] = np.int64(1e9 * uncertainty(c, dev, t))
    x.quality[i] |= _CORRECTED
    if c.fit[dev, 0] < READY:
        x.quality[i] |= _UNCERTAIN


@part
def _without_arrival(c: Clocks, x: _Columns, i: int, dev: int) -> None:
    x.quality[i] |= _UNCERTAIN
    if c.boot[dev] == x.boot[i]:
        ts = x.ts[i]
        t = 1e-9 * (ts - c.start[dev])
        x.ts[i] = _in_order(c, dev, ts, ts + c.level[dev] + _offset_ns(c, dev, t))
        x.quality[i] |= _CORRECTED
        x.uncertainty[i] = np.int64(1e9 * uncertainty(c, dev, t))


@part
def _offset_ns(c: Clocks, dev: int, t: float) -> int:
    return int(np.rint(1e9 * (c.line[dev, 0] + c.line[dev, 1] * t)))


@part
def _in_order(c: Clocks, dev: int, ts: int, true: int) -> int:
    """Hold a corrected time on its side of the newest one of this boot."""
    newest_ts, newest_true = c.newest[dev, 0], c.newest[dev, 1]
    if newest_ts == _NO_TIME:
        return true
    passed = ts - newest_ts
    if passed == 0:
        return int(newest_true)
    if passed < 0:
        return int(min(true, newest_true - max((-passed) // 2, 1)))
    speed = 2 if newest_true - true < _SLEW_NS else 1024
    return int(max(true, newest_true + max(passed // speed, 1)))


@part
def _contradicts(c: Clocks, dev: int, t: float, excess: float, limits: _Limits) -> int:
    """-1 where a row lies below the line (too early), 1 above (late), by more than line and network explain; else 0."""
    doubt, delay = 3.0 * uncertainty(c, dev, t), c.fit[dev, 3]
    step = 1e-9 * limits.step_ns
    if c.fit[dev, 0] < READY:
        return -1 if excess < -1e-9 * limits.max_future_ns else 0
    if excess < -max(step, 2.0 * delay, doubt):
        return -1
    return 1 if excess > max(5.0 * step, 10.0 * delay, doubt) else 0


@part
def _pend(c: Clocks, dev: int, side: int, ts: int, arrival: int, offset: int) -> int:
    """Count a row against the line. 0: wait; 1: the clock stepped; 2: a backlog drained below the line, no step."""
    p = c.pending[dev]
    if p[_COUNT] == 0 or p[_SIDE] != side:
        p[_SIDE], p[_COUNT], p[_FIRST_TS], p[_FIRST_ARRIVAL] = side, 0, ts, arrival
        p[_LOW_TS], p[_LOW_DELAY], p[_OFFSET] = ts, arrival - ts, offset - 1
        p[_BACK] = ts < c.newest[dev, 0]
    if p[_OFFSET] != offset:
        p[_OFFSET] = offset
        p[_COUNT] += 1
    if arrival - ts < p[_LOW_DELAY]:
        p[_LOW_TS], p[_LOW_DELAY] = ts, arrival - ts
    by_device, by_broker = ts - p[_FIRST_TS], arrival - p[_FIRST_ARRIVAL]
    together = by_device <= 2 * by_broker and by_broker <= 2 * by_device
    if side < 0:
        if p[_COUNT] < 3 or by_device < _BELOW_NS:
            return 0
        return 1 if together else 2
    held = by_broker >= (_BACK_NS if p[_BACK] else _ABOVE_NS)
    return 1 if held and together and p[_COUNT] >= 5 else 0


@part
def _jump_ns(c: Clocks, dev: int) -> int:
    """How far the clock jumped, against the line where the clock would have been without the jump."""
    jump = 0
    for _ in range(2):
        t = 1e-9 * (c.pending[dev, _LOW_TS] - jump - c.start[dev])
        jump = c.level[dev] + _offset_ns(c, dev, t) - c.pending[dev, _LOW_DELAY]
    return jump


@part
def _restart(c: Clocks, dev: int, limits: _Limits, offset: int) -> None:
    """A new segment from the pending row of least delay; the drift found so far is the prior, the order is kept."""
    ts, delay = c.pending[dev, _LOW_TS], c.pending[dev, _LOW_DELAY]
    true = c.newest[dev, 1]
    begin(c, dev, c.boot[dev], ts, delay, c.line[dev, 1] if c.fit[dev, 0] >= READY else c.line[dev, 2])
    c.newest[dev, 0] = ts
    teach(c, dev, ts, 0.0, 0.0, offset - 1, limits.slot_ns)
    fit(c, dev, limits.slot_ns, limits.hull)
    c.newest[dev, 0] = _NO_TIME
    if true != _NO_TIME and 0 <= true - (ts + delay) < _SLEW_NS:
        c.newest[dev, 0], c.newest[dev, 1] = ts - 1, true
