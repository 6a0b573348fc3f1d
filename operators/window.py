"""Windows in event time over every series: count, mean, sd, min, max, slope, RMS; tumbling and hopping.

Windows are [start, end), starts are multiples of `hop` since the epoch, and a sample belongs to every window with
start <= ts < end. W of the device closes them: it is first emitted (revision 0) when W >= end, again with revision + 1
for each sample that arrives until W >= end + allowed_lateness, and is then final: the first emission itself where
both are reached at once (always when allowed_lateness is 0), else the same revision once more with `is_final`.
Consumers upsert by (series, start, revision). A sample whose windows are all past that instant is not taken. Samples
may come in any order; nothing needs to stand in front.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.definition import WindowSpec
from operators.errors import StateError
from operators.rings import plain
from operators.touched import Changed, Touched
from operators.types import F64, I32, I64, NO_TIME, Batch, Mask, State
from operators.watermark import Watermarks, grown
from operators.window_extra import Extra, ExtraState
from operators.window_kernels import (
    BEGIN,
    END,
    FINAL,
    NEVER,
    OFFSET,
    OUT_MAX,
    OUT_MEAN,
    OUT_MIN,
    OUT_RMS,
    OUT_SD,
    OUT_SLOPE,
    REV,
    ROW,
    SERIES,
    START,
    Emitted,
    N,
    Plan,
    Rows,
    Windows,
    _finish,
    _push,
)


@dataclass(frozen=True, slots=True)
class WindowOutput:
    """m emissions in order of the rows that triggered them, then window end, then series; and a verdict per row.

    Attributes:
        series: int32[m].
        start_ns, end_ns: int64[m], the window [start, end), ns since the epoch.
        count: int64[m], samples in it so far.
        mean, sd, min, max, rms: float64[m], in the signal's unit; sd is the population's (divided by count).
        slope: float64[m], least-squares rise per second of event time; NaN below two distinct times.
        revision: int32[m], 0 for the first emission of a window.
        is_final: bool[m], True where nothing can change any more.
        offset: int64[m], offset of the row that triggered it; at `finish` that of the last row seen.
        taken: bool[n] per input row; False for a sample too late for every window it belongs to. True for ticks.
        late: bool[n] per input row; older than W of its device on arrival, even if taken. False for ticks.
        extra: float64[m, e], what else a named window was asked for (`NamedWindow.columns`); e = 0 for others.
    """

    series: I32
    start_ns: I64
    end_ns: I64
    count: I64
    mean: F64
    sd: F64
    min: F64
    max: F64
    slope: F64
    rms: F64
    revision: I32
    is_final: Mask
    offset: I64
    taken: Mask
    late: Mask
    extra: F64

    def __len__(self) -> int:
        return int(self.series.size)


def window_output(
    out: Emitted, filled: int, taken: Mask, late: Mask, extra: ExtraState | None, *, sort: bool
) -> WindowOutput:
    """The emissions written so far; `sort`: by triggering row, then end, then series, else as they were written."""
    ints, floats = out.ints[:filled], out.floats[:filled]
    more = np.empty((filled, 0)) if extra is None else extra.kernel.out[:filled]
    if sort:
        order = np.lexsort((ints[:, SERIES], ints[:, END], ints[:, ROW]))
        ints, floats, more = ints[order], floats[order], more[order]
    series = ints[:, SERIES].astype(np.int32)
    return WindowOutput(
        series=series if extra is None else extra.series(series),
        start_ns=ints[:, BEGIN].copy(),
        end_ns=ints[:, END].copy(),
        count=ints[:, N].copy(),
        mean=floats[:, OUT_MEAN].copy(),
        sd=floats[:, OUT_SD].copy(),
        min=floats[:, OUT_MIN].copy(),
        max=floats[:, OUT_MAX].copy(),
        slope=floats[:, OUT_SLOPE].copy(),
        rms=floats[:, OUT_RMS].copy(),
        revision=ints[:, REV].astype(np.int32),
        is_final=ints[:, FINAL].astype(np.bool_),
        offset=ints[:, OFFSET].copy(),
        taken=taken,
        late=late,
        extra=more.copy(),
    )


def longer(out: Emitted, filled: int) -> Emitted:
    """Room for twice as many emissions, with those written so far."""
    room = 2 * out.ints.shape[0]
    made = Emitted(np.empty((room, 8), np.int64), np.empty((room, 6)))
    made.ints[:filled], made.floats[:filled] = out.ints[:filled], out.floats[:filled]
    return made


class Window:
    """Windows of all series of one twin type in one shard.

    Memory is 96 bytes * signals * ceil((wait + allowed_lateness + length) / hop) per device, whatever comes.

    Args:
        signals: number of signals of a device, n of `series = device * n + signal`.
        spec: length, hop, wait and allowed lateness, ns; 0 < hop <= length.
        idle_timeout_ns: a tick moves the watermark of devices silent for so long.
        extra: further statistics and the signals that count, for a named window; then `signals` is their number. The
            rows pushed are still those of the whole type, and each of them moves W.

    Raises:
        ValueError: the times of `spec` do not hold together.

    >>> core = Window(1, WindowSpec(length_ns=10, hop_ns=10, wait_ns=5), idle_timeout_ns=100)
    >>> out = core.push(Batch.of(series=0, ts=[0, 8, 4, 15], value=[1.0, 3.0, 2.0, 5.0]))
    >>> out.start_ns, out.count, out.mean, out.is_final
    (array([0]), array([3]), array([2.]), array([ True]))
    >>> core.finish().mean
    array([5.])
    """

    def __init__(self, signals: int, spec: WindowSpec, idle_timeout_ns: int, extra: ExtraState | None = None) -> None:
        if signals <= 0 or not 0 < spec.hop_ns <= spec.length_ns or spec.allowed_lateness_ns < 0:
            raise ValueError(f"needs signals > 0, 0 < hop <= length, allowed_lateness >= 0; got {signals}, {spec}")
        self.signals, self.spec, self.idle_timeout_ns = signals, spec, idle_timeout_ns
        self._extra, self._width = extra, signals if extra is None else extra.kernel.place.size
        reach = spec.wait_ns + spec.allowed_lateness_ns + spec.length_ns
        self._plan = Plan(
            signals=signals,
            wait=spec.wait_ns,
            idle_timeout=idle_timeout_ns,
            length=spec.length_ns,
            hop=spec.hop_ns,
            allowed=spec.allowed_lateness_ns,
            slots=-(-reach // spec.hop_ns),
        )
        self._per_device = signals * self._plan.slots
        self._marks = Watermarks(spec.wait_ns, idle_timeout_ns)
        self._next_close: I64 = np.empty(0, np.int64)
        self._live: I64 = np.empty(0, np.int64)
        self._key: I64 = np.empty((0, 4), np.int64)
        self._acc: F64 = np.empty((0, 8))
        self._last_offset = -1
        self._touched = Touched()
        self._out = Emitted(np.empty((256, 8), np.int64), np.empty((256, 6)))

    def push(self, batch: Batch) -> WindowOutput:
        """Take rows in log order; returns what they trigger."""
        n = len(batch)
        self._hold(int(batch.series.max(initial=-1)) // self._width + 1)
        taken, late = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        rows = Rows(plain(batch.series), plain(batch.ts), plain(batch.arrival), plain(batch.value), plain(batch.offset))
        at, devices = self._windows(), self._marks.devices
        row, filled = _push(self._plan, at, rows, devices, 0, taken, late, self._out, 0, self._wanted())
        while row < n:
            self._lengthen(filled)
            row, filled = _push(self._plan, at, rows, devices, row, taken, late, self._out, filled, self._wanted())
        if n:
            self._last_offset = int(batch.offset[-1])
        self._touch(batch.series, filled)
        # within a row all is in order already, save where a tick closed windows of several devices
        return window_output(self._out, filled, taken, late, self._extra, sort=bool(np.any(batch.series < 0)))

    def finish(self) -> WindowOutput:
        """End of input: all open windows, final, by window end, then series. Nothing may be pushed afterwards."""
        live = int(self._live[: self._marks.devices].sum())
        while self._out.ints.shape[0] < live:
            self._lengthen(0)
        none = np.zeros(0, np.bool_)
        filled = _finish(self._plan, self._windows(), self._marks.devices, self._last_offset, self._out, self._wanted())
        return window_output(self._out, filled, none, none, self._extra, sort=True)

    def snapshot(self) -> State:
        """Arrays with one entry per device along axis 0, the last offset, and the times it was made for."""
        devices, slots = self._marks.devices, self._plan.slots
        used = devices * self._per_device
        return self._marks.snapshot() | {
            "next_close": self._next_close[:devices].copy(),
            "live": self._live[:devices].copy(),
            "key": self._key[:used].reshape(devices, self.signals, slots, 4),
            "acc": self._acc[:used].reshape(devices, self.signals, slots, 8),
            "last_offset": np.array([self._last_offset], np.int64),
            "spec": self._spec(),
            **({} if self._extra is None else self._extra.snapshot(devices, self._per_device)),
        }

    def changed(self) -> Changed:
        """Rows of `key` and `acc` that may have changed since this was last asked."""
        return dict.fromkeys(("key", "acc"), self._touched.take())

    def restore(self, state: State) -> None:
        """Take over a snapshot of a core with the same signals and spec.

        Raises:
            StateError: an array is missing or does not fit.
        """
        missing = {"next_close", "live", "key", "acc", "last_offset", "spec"} - state.keys()
        if missing or not np.array_equal(state["spec"], self._spec()):
            raise StateError(
                where="window",
                detail=f"{sorted(missing)} are missing" if missing else f"is of {state['spec']}, not {self._spec()}",
                fix="restore it with the definition it was taken under",
            )
        self._marks.restore(state)
        self._next_close = state["next_close"].astype(np.int64)
        self._live = state["live"].astype(np.int64)
        self._key = state["key"].reshape(-1, 4).astype(np.int64)
        self._acc = state["acc"].reshape(-1, 8).astype(np.float64)
        self._last_offset = int(state["last_offset"][0])
        if self._extra is not None:
            self._extra.restore(state)

    def _touch(self, series: I32, filled: int) -> None:
        """Mark devices with a sample, and those whose windows a tick closed: each of these was emitted."""
        self._touched.mark(series[series >= 0] // self._width)
        self._touched.mark(self._out.ints[:filled, SERIES] // self.signals)

    def _wanted(self) -> Extra | None:
        return None if self._extra is None else self._extra.kernel

    def _spec(self) -> I64:
        plan = self._plan
        more = () if self._extra is None else self._extra.spec()
        return np.array([plan.signals, plan.length, plan.hop, plan.wait, plan.allowed, *more], np.int64)

    def _hold(self, devices: int) -> None:
        self._marks.hold(devices)
        room = self._marks.w.size
        if self._next_close.size < room:
            self._next_close = grown(self._next_close, room, NEVER)
            self._live = grown(self._live, room, 0)
            key = np.empty((room * self._per_device, 4), np.int64)
            acc = np.empty((room * self._per_device, 8))
            held = self._key.shape[0]
            key[:held], acc[:held] = self._key, self._acc
            key[held:], acc[held:] = 0, 0.0
            key[held:, START] = NO_TIME
            self._key, self._acc = key, acc
            if self._extra is not None:
                self._extra.hold(len(key))

    def _windows(self) -> Windows:
        return Windows(self._marks.w, self._marks.last_arrival, self._next_close, self._live, self._key, self._acc)

    def _lengthen(self, filled: int) -> None:
        self._out = longer(self._out, filled)
        if self._extra is not None:
            self._extra.lengthen(len(self._out.ints))
