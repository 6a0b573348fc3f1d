"""Windows that the data themselves delimit: sessions, ended by a pause, and counts, ended by a number of samples.

A session holds samples of one series less than `length_ns` (the pause) apart, [first, last + pause). W of the device
closes it as it closes other windows: revision 0 when W >= end, one more for each late sample until W >= end +
allowed_lateness, then final. A late sample may join two sessions, or move the start of one that was told already:
then what was told under the lost start is taken back by one more revision of it, final, with count 0. Sessions never
overlap: a sample before the end of a final one of its series is not taken.

A count window holds `count` samples of one series in event order and all further ones of the last instant, [first,
last + 1 ns). The first sample after that closes it, final at once. Samples that are late are not taken.
"""

from __future__ import annotations

import numpy as np

from operators.definition import WindowSpec
from operators.errors import StateError
from operators.rings import plain
from operators.session_kernels import _finish_counts, _finish_sessions, _push_counts, _push_sessions
from operators.types import F64, I64, NO_TIME, Batch, Mask, Quality, State
from operators.watermark import Watermarks, grown
from operators.window import WindowOutput, longer, window_output
from operators.window_extra import ExtraState
from operators.window_kernels import NEVER, START, Emitted, Plan, Rows, Windows

_KEYS, _SUMS = 6, 8


class _Slots:
    """What sessions and counts hold per device: `slots` open windows of each signal, and the room for emissions."""

    def __init__(self, plan: Plan, extra: ExtraState) -> None:
        self.plan, self.extra = plan, extra
        self.width = extra.kernel.place.size
        self.marks = Watermarks(plan.wait, plan.idle_timeout)
        self.last_offset = -1
        self.out = Emitted(np.empty((256, 8), np.int64), np.empty((256, 6)))
        self._clear()

    def _clear(self) -> None:
        self.next_close: I64 = np.empty(0, np.int64)
        self.live: I64 = np.empty(0, np.int64)
        self.closed: I64 = np.empty(0, np.int64)
        self.key: I64 = np.empty((0, _KEYS), np.int64)
        self.acc: F64 = np.empty((0, _SUMS))

    @property
    def per_device(self) -> int:
        return self.plan.signals * self.plan.slots

    def hold(self, batch: Batch) -> None:
        """Room for the devices of the batch."""
        self.marks.hold(int(batch.series.max(initial=-1)) // self.width + 1)
        self._room(self.marks.w.size)
        if len(batch):
            self.last_offset = int(batch.offset[-1])

    def _room(self, devices: int) -> None:
        held = len(self.key)
        if held >= devices * self.per_device:
            return
        self.next_close, self.live = grown(self.next_close, devices, NEVER), grown(self.live, devices, 0)
        self.closed = grown(self.closed, devices * self.plan.signals, NO_TIME)
        key, acc = np.zeros((devices * self.per_device, _KEYS), np.int64), np.zeros((devices * self.per_device, _SUMS))
        key[:held], acc[:held], key[held:, START] = self.key, self.acc, NO_TIME
        self.key, self.acc = key, acc
        self.extra.hold(len(key))

    def lengthen(self, filled: int) -> None:
        self.out = longer(self.out, filled)
        self.extra.lengthen(len(self.out.ints))

    def windows(self) -> Windows:
        return Windows(self.marks.w, self.marks.last_arrival, self.next_close, self.live, self.key, self.acc)

    def output(self, filled: int, taken: Mask, late: Mask) -> WindowOutput:
        return window_output(self.out, filled, taken, late, self.extra, sort=True)

    def snapshot(self) -> State:
        devices, plan = self.marks.devices, self.plan
        used, shape = devices * self.per_device, (devices, plan.signals, plan.slots)
        return {
            **self.marks.snapshot(),
            "next_close": self.next_close[:devices].copy(),
            "live": self.live[:devices].copy(),
            "closed": self.closed[: devices * plan.signals].reshape(devices, plan.signals).copy(),
            "key": self.key[:used].reshape(*shape, _KEYS).copy(),
            "acc": self.acc[:used].reshape(*shape, _SUMS).copy(),
            "last_offset": np.array([self.last_offset], np.int64),
            "spec": self._spec(),
            **self.extra.snapshot(devices, self.per_device),
        }

    def restore(self, state: State) -> None:
        missing = {"next_close", "live", "closed", "key", "acc", "last_offset", "spec"} - state.keys()
        if missing or not np.array_equal(state["spec"], self._spec()):
            raise StateError(
                where="session",
                detail=f"{sorted(missing)} are missing" if missing else f"is of {state['spec']}, not {self._spec()}",
                fix="restore it with the definition it was taken under",
            )
        self.marks.restore(state)
        self.next_close, self.live = state["next_close"].astype(np.int64), state["live"].astype(np.int64)
        self.closed = state["closed"].reshape(-1).astype(np.int64)
        self.key = state["key"].reshape(-1, _KEYS).astype(np.int64)
        self.acc = state["acc"].reshape(-1, _SUMS).astype(np.float64)
        self.last_offset = int(state["last_offset"][0])
        self.extra.restore(state)

    def _spec(self) -> I64:
        plan = self.plan
        return np.array([plan.length, plan.wait, plan.allowed, *self.extra.spec()], np.int64)


def _rows(batch: Batch) -> Rows:
    return Rows(*(plain(getattr(batch, name)) for name in Rows._fields))


class Session:
    """Sessions of the signals that `extra` chooses; takes rows of the whole type in any order.

    Memory is 120 bytes * ceil((wait + allowed_lateness + pause) / pause) per device and signal, and 3 kB more for each
    where quantiles are asked for.

    Args:
        spec: `length_ns` is the pause; `hop_ns` means nothing.
        idle_timeout_ns: a tick moves the watermark of devices silent for so long.

    >>> from operators.definition import NamedWindow
    >>> spec = WindowSpec(length_ns=10, wait_ns=0)
    >>> core = Session(spec, 1000, ExtraState(NamedWindow("run", "session", ("a",)), ["a"]))
    >>> out = core.push(Batch.of(series=0, ts=[1, 9, 18, 40], value=[1.0, 2.0, 3.0, 4.0]))
    >>> out.start_ns, out.end_ns, out.count
    (array([1]), array([28]), array([3]))
    """

    def __init__(self, spec: WindowSpec, idle_timeout_ns: int, extra: ExtraState) -> None:
        pause, kept = spec.length_ns, spec.wait_ns + spec.allowed_lateness_ns + spec.length_ns
        if pause <= 0 or spec.allowed_lateness_ns < 0:
            raise ValueError(f"needs a pause > 0 and allowed_lateness >= 0; got {spec}")
        plan = Plan(
            signals=extra.chosen.size, wait=spec.wait_ns, idle_timeout=idle_timeout_ns, length=pause, hop=pause,
            allowed=spec.allowed_lateness_ns, slots=-(-kept // pause),
        )  # fmt: skip
        self._slots = _Slots(plan, extra)

    def push(self, batch: Batch) -> WindowOutput:
        """Take rows in log order; returns what they trigger."""
        held, n, rows = self._slots, len(batch), _rows(batch)
        held.hold(batch)
        taken, late = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        row = filled = 0
        while True:
            row, filled = _push_sessions(
                held.plan, held.windows(), held.closed, rows, held.marks.devices, row, taken, late, held.out, filled,
                held.extra.kernel,
            )  # fmt: skip
            if row == n:
                return held.output(filled, taken, late)
            held.lengthen(filled)

    def finish(self) -> WindowOutput:
        """End of input: all open sessions, final, by end, then series. Nothing may be pushed afterwards."""
        held, none = self._slots, np.zeros(0, np.bool_)
        while len(held.out.ints) < int(held.live[: held.marks.devices].sum()):
            held.lengthen(0)
        filled = _finish_sessions(
            held.plan, held.windows(), held.marks.devices, held.last_offset, held.out, held.extra.kernel
        )
        return held.output(filled, none, none)

    def snapshot(self) -> State:
        """Arrays with one entry per device along axis 0, the last offset, and the times it was made for."""
        return self._slots.snapshot()

    def restore(self, state: State) -> None:
        """Take over a snapshot of a core with the same signals and times.

        Raises:
            StateError: an array is missing or does not fit.
        """
        self._slots.restore(state)


class CountWindow:
    """Counts of the signals that `extra` chooses; takes rows of the whole type in event order, out of `Reorder`.

    >>> from operators.definition import NamedWindow
    >>> core = CountWindow(2, ExtraState(NamedWindow("two", "count", ("a",)), ["a"]))
    >>> out = core.push(Batch.of(series=0, ts=[1, 5, 5, 7], value=[1.0, 2.0, 3.0, 4.0]))
    >>> out.start_ns, out.end_ns, out.count
    (array([1]), array([6]), array([3]))
    >>> core.finish().count
    array([1])
    """

    def __init__(self, count: int, extra: ExtraState) -> None:
        if count < 1:
            raise ValueError(f"count must be >= 1, not {count}")
        self.count = count
        plan = Plan(signals=extra.chosen.size, wait=0, idle_timeout=1, length=count, hop=count, allowed=0, slots=1)
        self._slots = _Slots(plan, extra)

    def push(self, batch: Batch) -> WindowOutput:
        """Take rows in event order per device; returns what they close."""
        held, n, rows = self._slots, len(batch), _rows(batch)
        held.hold(batch)
        taken, late = np.zeros(n, np.bool_), (batch.quality & Quality.LATE) != 0
        row = filled = 0
        while True:
            row, filled = _push_counts(
                held.plan, self.count, held.windows(), rows, late, row, taken, held.out, filled, held.extra.kernel
            )
            if row == n:
                return held.output(filled, taken, late)
            held.lengthen(filled)

    def finish(self) -> WindowOutput:
        """End of input: the counts under way, by end, then series."""
        held, none = self._slots, np.zeros(0, np.bool_)
        while len(held.out.ints) < held.marks.devices * held.per_device:
            held.lengthen(0)
        filled = _finish_counts(
            held.plan, held.windows(), held.marks.devices, held.last_offset, held.out, held.extra.kernel
        )
        return held.output(filled, none, none)

    def snapshot(self) -> State:
        """Arrays with one entry per device along axis 0, the last offset, and the count it was made for."""
        return self._slots.snapshot()

    def restore(self, state: State) -> None:
        """Take over a snapshot of a core with the same signals and count.

        Raises:
            StateError: an array is missing or does not fit.
        """
        self._slots.restore(state)
