"""Event order per device: samples wait until the watermark has passed them, and none is dropped.

A sample is held until ts < W of its device, since until then one that belongs before it may still come in time. What is
released together leaves in order of (ts, seq, offset), rows of one message in their order within it. A sample that
is late on arrival (ts < W) passes on at once, marked Quality.LATE; all others leave in event order per device.
"""

from __future__ import annotations

import numpy as np

from operators.compiled import kernel, part
from operators.errors import StateError
from operators.types import F64, I64, Batch, Quality, Rows, State
from operators.watermark import Watermarks, _observe, _tick, grown

_LATE = int(Quality.LATE)
_NONE = -1
_NEVER = np.iinfo(np.int64).max
# columns of a held row; NUMBER counts the rows ever taken, so that no two rows are equal
TS, SEQ, OFFSET, NUMBER, ARRIVAL, SERIES, BOOT, QUALITY = range(8)
CHILD, SIBLING = 0, 1


@part
def _meld(held: I64, link: I64, a: int, b: int) -> int:
    """The earlier of two heaps with the other one as its first child; _NONE is the empty heap."""
    if a == _NONE:
        return b
    if b == _NONE:
        return a
    for column in range(TS, ARRIVAL):
        if held[a, column] != held[b, column]:
            if held[a, column] > held[b, column]:
                a, b = b, a
            break
    link[b, SIBLING] = link[a, CHILD]
    link[a, CHILD] = b
    return a


@part
def _without_root(held: I64, link: I64, root: int) -> int:
    """The heap of all but its root: children melded in pairs, then from the last pair to the first.

    Fredman, Sedgewick, Sleator, Tarjan, The pairing heap, Algorithmica 1, 1986.
    """
    child = link[root, CHILD]
    pairs = _NONE
    while child != _NONE:
        other = link[child, SIBLING]
        after = _NONE
        if other != _NONE:
            after = link[other, SIBLING]
            link[other, SIBLING] = _NONE
        link[child, SIBLING] = _NONE
        pair = _meld(held, link, child, other)
        link[pair, SIBLING] = pairs
        pairs, child = pair, after
    heap = _NONE
    while pairs != _NONE:
        after = link[pairs, SIBLING]
        link[pairs, SIBLING] = _NONE
        heap = _meld(held, link, heap, pairs)
        pairs = after
    return heap


@part
def _add(held: I64, link: I64, root: I64, d: int, node: int) -> None:
    link[node, CHILD] = _NONE
    link[node, SIBLING] = _NONE
    root[d] = _meld(held, link, root[d], node)


@part
def _release(held: I64, link: I64, root: I64, d: int, w: int, out: I64, filled: int) -> int:
    """Write the held rows of device d with ts < w to `out`, in order; returns the new `filled`."""
    while root[d] != _NONE and held[root[d], TS] < w:
        out[filled] = root[d]
        filled += 1
        root[d] = _without_root(held, link, root[d])
    return filled


@kernel
def _release_all(held: I64, link: I64, root: I64, devices: int, out: I64) -> None:
    filled = 0
    for d in range(devices):
        filled = _release(held, link, root, d, _NEVER, out, filled)


@kernel
def _push(
    signals: int,
    wait: int,
    idle_timeout: int,
    devices: int,
    w: I64,
    last_arrival: I64,
    held: I64,
    link: I64,
    root: I64,
    nodes: Rows,
    out: I64,
    by: I64,
) -> int:
    """Take the rows already written to `held` at `nodes`; returns how many rows were released into `out`, each `by` the
    record of which offset."""
    filled, told, last = 0, 0, 0
    for node in nodes:
        by[told:filled] = last
        told, last = filled, held[node, OFFSET]
        arrival = held[node, ARRIVAL]
        if held[node, SERIES] < 0:
            _tick(w, last_arrival, devices, arrival, wait, idle_timeout)
            for d in range(devices):
                filled = _release(held, link, root, d, w[d], out, filled)
            continue
        d = held[node, SERIES] // signals
        ts = held[node, TS]
        moved = _observe(w, last_arrival, d, ts, arrival, wait)
        if ts < w[d]:
            held[node, QUALITY] |= _LATE
            out[filled] = node
            filled += 1
            continue
        _add(held, link, root, d, node)
        if moved:
            filled = _release(held, link, root, d, w[d], out, filled)
    by[told:filled] = last
    return filled


@kernel
def _rebuild(signals: int, held: I64, link: I64, root: I64, nodes: Rows) -> None:
    for node in nodes:
        _add(held, link, root, held[node, SERIES] // signals, node)


class Reorder:
    """Samples of each device in event order; memory is what lies within `wait`.

    Args:
        signals: number of signals of a device.
        wait_ns: how long after a device's newest event time an older sample is still awaited.
        idle_timeout_ns: a tick moves the watermark of devices silent for so long.

    Attributes:
        by: int64[], offset of the record that released each row that `push` last returned.

    >>> core = Reorder(1, wait_ns=5, idle_timeout_ns=100)
    >>> core.push(Batch.of(series=0, ts=[10, 8, 15], value=0.0)).ts
    array([8])
    >>> out = core.push(Batch.of(series=0, ts=[7], value=0.0))
    >>> out.ts, Quality(int(out.quality[0]))
    (array([7]), <Quality.LATE: 8>)
    >>> core.finish().ts
    array([10, 15])
    """

    def __init__(self, signals: int, wait_ns: int, idle_timeout_ns: int) -> None:
        if signals <= 0:
            raise ValueError(f"signals must be > 0, not {signals}")
        self.signals = signals
        self._marks = Watermarks(wait_ns, idle_timeout_ns)
        self._held: I64 = np.empty((0, 8), np.int64)
        self._value: F64 = np.empty(0)
        self._link: I64 = np.empty((0, 2), np.int64)  # first child and next sibling in the device's pairing heap
        self._root: I64 = np.empty(0, np.int64)
        self._free: I64 = np.empty(0, np.int64)  # unused rows of held: the first n_free of it
        self._n_free = 0
        self._number = 0
        self.by: I64 = np.empty(0, np.int64)

    def push(self, batch: Batch) -> Batch:
        """Take rows in log order; returns the released ones in order of the rows that released them.

        A tick releases device by device and ends here.
        """
        n = len(batch)
        self._marks.hold(int(batch.series.max(initial=-1)) // self.signals + 1)
        self._root = grown(self._root, self._marks.w.size, _NONE)
        nodes = self._write(batch)
        out, by = np.empty((2, self._free.size - self._n_free), np.int64)
        filled = _push(
            self.signals,
            self._marks.wait_ns,
            self._marks.idle_timeout_ns,
            self._marks.devices,
            self._marks.w,
            self._marks.last_arrival,
            self._held,
            self._link,
            self._root,
            nodes,
            out,
            by,
        )
        self.by = by[:filled]
        self._number += n
        self._take_out(nodes[batch.series < 0])
        return self._take_out(out[:filled])

    def finish(self) -> Batch:
        """End of input: the rest, device by device, each in order."""
        out = np.empty(self._free.size - self._n_free, np.int64)
        _release_all(self._held, self._link, self._root, self._marks.devices, out)
        self.by = self._held[out, OFFSET]
        return self._take_out(out)

    def snapshot(self) -> State:
        """The watermarks and the held rows in the order they came."""
        used = np.ones(self._free.size, np.bool_)
        used[self._free[: self._n_free]] = False
        nodes = np.flatnonzero(used)
        nodes = nodes[np.argsort(self._held[nodes, NUMBER])]
        held = self._held[nodes]
        held[:, NUMBER] = np.arange(nodes.size)
        return self._marks.snapshot() | {"held": held, "value": self._value[nodes]}

    def restore(self, state: State) -> None:
        """Take over a snapshot of a core with the same number of signals.

        Raises:
            StateError: an array is missing or does not fit.
        """
        held, value = state.get("held"), state.get("value")
        if held is None or value is None or held.shape != (value.size, 8):
            raise StateError(where="reorder", detail="held rows do not fit", fix="restore an older snapshot")
        self._marks.restore(state)
        self._root = np.full(self._marks.w.size, _NONE, np.int64)
        self._held, self._value = held.astype(np.int64), value.astype(np.float64)
        self._link = np.empty((value.size, 2), np.int64)
        self._free, self._n_free, self._number = np.empty(value.size, np.int64), 0, value.size
        _rebuild(self.signals, self._held, self._link, self._root, np.arange(value.size))

    def _write(self, batch: Batch) -> I64:
        """Store all rows of the batch; where they are now."""
        n = len(batch)
        if self._n_free < n:
            had = self._free.size
            size = max(2 * had, had + n)
            held, value, link = np.empty((size, 8), np.int64), np.empty(size), np.empty((size, 2), np.int64)
            held[:had], value[:had], link[:had] = self._held, self._value, self._link
            free = np.empty(size, np.int64)
            free[: size - had] = np.arange(had, size)
            free[size - had : size - had + self._n_free] = self._free[: self._n_free]
            self._held, self._value, self._link, self._free = held, value, link, free
            self._n_free += size - had
        self._n_free -= n
        nodes = self._free[self._n_free : self._n_free + n].copy()
        columns = (batch.ts, batch.seq, batch.offset, None, batch.arrival, batch.series, batch.boot, batch.quality)
        for column, values in enumerate(columns):
            self._held[nodes, column] = np.arange(self._number, self._number + n) if values is None else values
        self._value[nodes] = batch.value
        return nodes

    def _take_out(self, nodes: I64) -> Batch:
        """The rows held at these places, which are unused from now on."""
        self._free[self._n_free : self._n_free + nodes.size] = nodes
        self._n_free += nodes.size
        held = self._held[nodes]
        return Batch(
            series=held[:, SERIES].astype(np.int32),
            ts=held[:, TS].copy(),
            arrival=held[:, ARRIVAL].copy(),
            value=self._value[nodes],
            quality=held[:, QUALITY].astype(np.uint8),
            seq=held[:, SEQ].copy(),
            boot=held[:, BOOT].astype(np.int32),
            offset=held[:, OFFSET].copy(),
        )
