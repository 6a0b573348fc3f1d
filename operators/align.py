"""Samples at their own rates become rows of one instant each: on a grid, at a leader's samples, or by groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from operators.align_group import INCOMPLETE, _finish_groups, _push_groups
from operators.align_kernels import (
    ARENA_FULL,
    DEGRADED,
    DEVICE,
    DONE,
    FILLED,
    INSTANT,
    OFFSET,
    PENDING,
    SKEW,
    _finish,
    _push,
)
from operators.definition import AlignSpec
from operators.errors import StateError
from operators.rings import more_series, more_slots, new_rings, plain, rings_from_state, rings_state
from operators.types import F64, I32, I64, NO_TIME, Batch, Mask, State
from operators.watermark import Watermarks

_Rows: TypeAlias = tuple[I64, F64, Mask]


@dataclass(frozen=True, slots=True)
class AlignOutput:
    """m aligned rows of n signals, in order of release, and what became of the samples pushed.

    Attributes:
        device: int32[m].
        ts_ns: int64[m], grid instant.
        value: float64[m, n], NaN where not valid.
        valid: bool[m, n].
        skew_ns: int64[m], greatest distance from the instant to a sample used; both neighbours of a linear value count.
        degraded: bool[m], a required signal is not valid or the skew is over max_skew_ns.
        offset: int64[m], offset of the row that released it; after `finish` of the last row pushed.
        taken: bool[rows pushed], False where the sample is older than the last released instant of its device, and
            for ticks.
        incomplete: int32[], device of each group that lacked a member, so that it made no row.
    """

    device: I32
    ts_ns: I64
    value: F64
    valid: Mask
    skew_ns: I64
    degraded: Mask
    offset: I64
    taken: Mask
    incomplete: I32

    def __len__(self) -> int:
        return int(self.ts_ns.size)


class Align:
    """Aligns the n signals of every device of one shard and twin type.

    Grid instants g are the multiples of `every_ns` since the epoch from a device's first to its newest sample. A
    *previous* value is the latest sample t0 <= g, valid if g - t0 <= max_gap. A *linear* one lies between its
    neighbours t0 <= g <= t1, valid if t1 - t0 <= max_gap; a sample at g is taken as it is. Of samples of equal time
    the larger seq counts, else the later row. A row is written where any signal is valid. An instant is released, in
    order per device, once W > g and for each linear signal W has passed its next sample or W >= g + max_gap; never
    one after the device's newest sample. Memory: two samples per signal and grid step within wait + max_gap.

    An orientation (`spec.turns`) goes by slerp between the neighbours of a linear value, along the shorter arc, and
    comes out normalised; a sample at g is taken as it is. All four are valid or none.

    With a leader the instants are its samples instead, all else alike; memory is all samples within wait + max_gap.

    With `group_ns` a row is a group of samples close together, one of each required signal (the members): the first
    sample of a member that is in no group yet opens [t0, t0 + group), each member gives its latest sample there, the
    latest of all is the instant. It leaves when W has passed its end. Without all members it is dropped, and counted.

    Args:
        spec: instants, and method per signal, of n entries each.
        wait_ns: W = newest event time of the device - wait_ns.
        idle_timeout_ns: silence after which a tick moves W (see `operators.watermark`).

    >>> spec = AlignSpec(every_ns=10, linear=(True, False), max_gap_ns=(20, 20), required=(True, False))
    >>> align = Align(spec, wait_ns=0, idle_timeout_ns=1000)
    >>> out = align.push(Batch.of(series=[0, 1, 0, 0], ts=[5, 8, 15, 25], value=[1.0, 7.0, 3.0, 5.0]))
    >>> out.ts_ns, out.value, out.offset
    (array([10]), array([[2., 7.]]), array([3]))
    >>> align.finish().value
    array([[4., 7.]])
    """

    def __init__(self, spec: AlignSpec, wait_ns: int, idle_timeout_ns: int) -> None:
        self.spec = spec
        self.signals = n = len(spec.linear)
        self._grid = np.array([spec.linear, spec.max_gap_ns, spec.required], np.int64).T.copy()
        self._member = np.array(spec.required, np.bool_)
        self._turns = np.array(spec.turns, np.int64)
        self._max_skew = -1 if spec.max_skew_ns is None else spec.max_skew_ns
        self._marks = Watermarks(wait_ns, idle_timeout_ns)
        room = max(64, min(8192, 2**20 // n))
        self._rows = np.empty((room, 5), np.int64), np.empty((room, n), np.float64), np.empty((room, n), np.bool_)
        self._clear()

    def _clear(self) -> None:
        self._rings = new_rings(0)
        self._lane = np.empty((0, 5), np.int64)
        self._offset = -1

    def _hold(self, devices: int) -> None:
        self._marks.hold(devices)
        room = self._marks.w.size
        if room > len(self._lane):
            self._lane = np.concatenate((self._lane, np.full((room - len(self._lane), 5), NO_TIME)))
        self._rings = more_series(self._rings, room * self.signals)

    def push(self, batch: Batch) -> AlignOutput:
        """Takes rows in log order and returns what they release."""
        taken = np.zeros(len(batch), np.bool_)
        if not len(batch):
            return self._output([], taken)
        marks = self._marks
        self._hold(int(batch.series.max()) // self.signals + 1)
        self._offset = int(batch.offset[-1])

        series, ts, arrival = plain(batch.series), plain(batch.ts), plain(batch.arrival)
        value, seq, offset = plain(batch.value), plain(batch.seq), plain(batch.offset)

        def go_on(cursor: I64) -> int:
            if self.spec.group_ns:
                return _push_groups(
                    self._member, self.spec.group_ns, self._max_skew,
                    marks.w, marks.last_arrival, marks.wait_ns, marks.idle_timeout_ns, marks.devices,
                    self._lane, *self._rings, series, ts, arrival, value, seq, offset, taken, *self._rows, cursor,
                )  # fmt: skip
            return _push(
                self._grid, self._turns, self.spec.leader, self.spec.every_ns, self._max_skew,
                marks.w, marks.last_arrival, marks.wait_ns, marks.idle_timeout_ns, marks.devices,
                self._lane, *self._rings, series, ts, arrival, value, seq, offset, taken, *self._rows, cursor,
            )  # fmt: skip

        return self._output(self._run(go_on), taken)

    def finish(self) -> AlignOutput:
        """End of input: every instant up to each device's newest sample."""
        marks, rings = self._marks, self._rings

        def go_on(cursor: I64) -> int:
            if self.spec.group_ns:
                return _finish_groups(
                    self._member, self.spec.group_ns, self._max_skew, marks.w, self._lane, rings.key, rings.value,
                    rings.block, marks.devices, self._offset, *self._rows, cursor,
                )  # fmt: skip
            return _finish(
                self._grid, self._turns, self.spec.leader, self.spec.every_ns, self._max_skew, marks.w, self._lane,
                rings.key, rings.value,
                rings.block, marks.devices, self._offset, *self._rows, cursor,
            )  # fmt: skip

        return self._output(self._run(go_on), np.zeros(0, np.bool_))

    def _run(self, go_on: Callable[[I64], int]) -> list[_Rows]:
        """Calls the kernel until it is done, emptying the rows and growing the arena between."""
        parts: list[_Rows] = []
        cursor = np.array([0, -1, 0], np.int64)
        while (status := go_on(cursor)) != DONE:
            if status == ARENA_FULL:
                self._rings = more_slots(self._rings)
            else:
                parts.append(self._filled(cursor))
        return [*parts, self._filled(cursor)]

    def _filled(self, cursor: I64) -> _Rows:
        k, (head, value, valid) = int(cursor[FILLED]), self._rows
        cursor[FILLED] = 0
        return head[:k].copy(), value[:k].copy(), valid[:k].copy()

    def _output(self, parts: list[_Rows], taken: Mask) -> AlignOutput:
        empty = tuple(column[:0] for column in self._rows)
        head, value, valid = map(np.concatenate, zip(empty, *parts, strict=True))
        dropped = head[:, DEGRADED] == INCOMPLETE
        incomplete = head[dropped, DEVICE].astype(np.int32)
        if incomplete.size:
            head, value, valid = head[~dropped], value[~dropped], valid[~dropped]
        return AlignOutput(
            device=head[:, DEVICE].astype(np.int32),
            ts_ns=head[:, INSTANT].copy(),
            value=value,
            valid=valid,
            skew_ns=head[:, SKEW].copy(),
            degraded=head[:, DEGRADED] != 0,
            offset=head[:, OFFSET].copy(),
            taken=taken,
            incomplete=incomplete,
        )

    def snapshot(self) -> State:
        """Samples held, and per device its times; plain arrays of the devices seen."""
        devices = self._marks.devices
        return {
            **self._marks.snapshot(),
            **rings_state(self._rings, devices * self.signals),
            "lane": self._lane[:devices, : PENDING + 1].copy(),
            "offset": np.array([self._offset], np.int64),
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot.

        Raises:
            StateError: it was made for another number of signals, or columns are missing or do not fit.
        """
        if missing := sorted({"ring_count", "ring_key", "ring_value", "lane", "offset"} - state.keys()):
            raise StateError(where="align", detail=f"misses {', '.join(missing)}", fix="restore an older snapshot")
        series, devices = state["ring_count"].size, len(state["lane"])
        if series != devices * self.signals:
            detail = f"{series} series are not {devices} devices of {self.signals} signals"
            raise StateError(where="align", detail=detail, fix="restore it into the definition it was made with")
        rings = rings_from_state(state)
        self._marks.restore(state)
        self._clear()
        self._hold(devices)
        self._lane[:devices, : PENDING + 1] = state["lane"]
        self._rings, self._offset = rings, int(state["offset"][0])
