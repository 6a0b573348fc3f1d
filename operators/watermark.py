"""The watermark rule, in one place: per device, W = newest event time - wait; a tick moves the silent devices on.

Kernels of `window`, `align` and `reorder` call `_observe` and `_tick`, so that all of them agree on what is late.
W >= x closes x; a sample with ts < W is late. W never goes back.
"""

from __future__ import annotations

import numpy as np

from operators.compiled import part
from operators.errors import StateError
from operators.types import I64, NO_TIME, State


@part
def _observe(w: I64, last_arrival: I64, d: int, ts: int, arrival: int, wait: int) -> bool:
    """Take a sample of device d into account, before anything else is done with it; True if W moved."""
    if arrival > last_arrival[d]:
        last_arrival[d] = arrival
    if ts - wait > w[d]:
        w[d] = ts - wait
        return True
    return False


@part
def _tick(w: I64, last_arrival: I64, n_devices: int, arrival: int, wait: int, idle_timeout: int) -> None:
    """W >= arrival - wait for every device from which nothing came for idle_timeout; the same tick twice is one."""
    for d in range(n_devices):
        if last_arrival[d] != NO_TIME and arrival - last_arrival[d] >= idle_timeout and arrival - wait > w[d]:
            w[d] = arrival - wait


def grown(column: I64, size: int, fill: int) -> I64:
    """The same column with at least `size` entries, doubled where it was too short; new entries are `fill`."""
    if column.size >= size:
        return column
    longer = np.full(max(size, 2 * column.size), fill, np.int64)
    longer[: column.size] = column
    return longer


class Watermarks:
    """W of every device, and when it was last heard of.

    Args:
        wait_ns: how long after the newest event time an older one is still awaited, >= 0.
        idle_timeout_ns: a device is silent when nothing arrived for so long, > 0.

    Attributes:
        w: int64[>= devices], NO_TIME before the first sample.
        last_arrival: int64[>= devices], newest arrival, NO_TIME before the first sample.
        devices: number of devices seen, entries beyond it are unused.

    >>> marks = Watermarks(wait_ns=2, idle_timeout_ns=10)
    >>> marks.hold(1)
    >>> _observe(marks.w, marks.last_arrival, 0, 100, 105, marks.wait_ns), int(marks.w[0])
    (True, 98)
    >>> _tick(marks.w, marks.last_arrival, marks.devices, 115, marks.wait_ns, marks.idle_timeout_ns)
    >>> int(marks.w[0])
    113
    """

    def __init__(self, wait_ns: int, idle_timeout_ns: int) -> None:
        if wait_ns < 0 or idle_timeout_ns <= 0:
            raise ValueError(f"wait_ns {wait_ns} must be >= 0 and idle_timeout_ns {idle_timeout_ns} > 0")
        self.wait_ns, self.idle_timeout_ns = wait_ns, idle_timeout_ns
        self.devices = 0
        self.w: I64 = np.empty(0, np.int64)
        self.last_arrival: I64 = np.empty(0, np.int64)

    def hold(self, devices: int) -> None:
        """Make room for that many devices; fewer than before changes nothing."""
        self.devices = max(self.devices, devices)
        self.w = grown(self.w, self.devices, NO_TIME)
        self.last_arrival = grown(self.last_arrival, self.devices, NO_TIME)

    def snapshot(self) -> State:
        """`w` and `last_arrival`, int64[devices] each."""
        return {"w": self.w[: self.devices].copy(), "last_arrival": self.last_arrival[: self.devices].copy()}

    def restore(self, state: State) -> None:
        """Take over `w` and `last_arrival` of a snapshot; other keys are not looked at.

        Raises:
            StateError: one of them is missing or they differ in length.
        """
        if "w" not in state or "last_arrival" not in state or state["w"].shape != state["last_arrival"].shape:
            raise StateError(
                where="watermarks", detail="w and last_arrival do not fit", fix="restore an older snapshot"
            )
        self.devices = state["w"].size
        self.w = state["w"].astype(np.int64)
        self.last_arrival = state["last_arrival"].astype(np.int64)
