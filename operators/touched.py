"""Devices of which anything may have changed since somebody last asked."""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from operators.types import I32, I64, Mask, Rows

Changed: TypeAlias = dict[str, Rows]
"""By column of a snapshot, the rows that may have changed since this was last asked."""


@runtime_checkable
class Changing(Protocol):
    """A core that names what changed in its widest columns, so that nobody has to compare them."""

    def changed(self) -> Changed: ...


class Touched:
    """A mark per device; more marks than needed cost time, a missing one loses a change.

    >>> touched = Touched()
    >>> touched.mark(np.array([3, 1, 3], np.int32))
    >>> touched.take(), touched.take()
    (array([1, 3]), array([], dtype=int64))
    """

    def __init__(self) -> None:
        self._marked: Mask = np.zeros(0, np.bool_)

    def mark(self, devices: I32 | I64) -> None:
        """Mark some devices, by id."""
        room = int(devices.max(initial=-1)) + 1
        if room > self._marked.size:
            more = max(room, 2 * self._marked.size) - self._marked.size
            self._marked = np.concatenate([self._marked, np.zeros(more, np.bool_)])
        self._marked[devices] = True

    def take(self) -> Rows:
        """The marked devices, ascending; the marks are gone."""
        devices = np.flatnonzero(self._marked)
        self._marked[devices] = False
        return devices
