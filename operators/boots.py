"""Boots of devices: the text a device names its boot by, to a dense number per device."""

from __future__ import annotations

import numpy as np

from operators.byte_index import ByteIndex
from operators.types import State

REMEMBERED = 4
"""Boots a device has at once: what is resent from an older one counts as a boot of its own."""
LONGEST_BOOT = 64
"""Bytes of a boot name."""


class Boots:
    """Numbers 1, 2, ... per device in order of first appearance; 0 stands for "names no boot".

    Memory is bounded by REMEMBERED names a device: older ones are forgotten (as seen from outside at once).

    >>> boots = Boots()
    >>> boots.add(3, b"a"), boots.add(3, b"b"), boots.number(3, b"a"), boots.number(4, b"a")
    (1, 2, 1, -1)
    """

    def __init__(self) -> None:
        self.index = ByteIndex()
        self.ids = np.zeros(8, np.int32)
        self.newest = np.zeros(8, np.int32)
        self._live_from = 0

    def number(self, device: int, name: bytes) -> int:
        """Number of a boot, -1 where it is new (or forgotten) for the device."""
        entry = self.index.number(name, device)
        if entry < 0 or self.ids[entry] <= self.newest[device] - REMEMBERED:
            return -1
        return int(self.ids[entry])

    def add(self, device: int, name: bytes) -> int:
        """Number of a boot that is new for the device; the device is its place in the roster."""
        self.reserve(device + 1)
        self.newest[device] += 1
        entry = self.index.number(name, device)
        if entry < 0:
            if self.index.count >= max(64, 2 * self._live_from):
                self._forget()
            entry = self.index.add(name, device)
        if entry >= self.ids.size:
            self.ids = np.resize(self.ids, 2 * entry)
        self.ids[entry] = self.newest[device]
        return int(self.newest[device])

    def reserve(self, devices: int) -> None:
        """Room for so many devices."""
        if devices > self.newest.size:
            more = np.zeros(max(devices, 2 * self.newest.size) - self.newest.size, np.int32)
            self.newest = np.concatenate([self.newest, more])

    def _forget(self) -> None:
        """Rebuild without what is too old."""
        n = self.index.count
        owners = self.index.table.owners[:n]
        kept = np.flatnonzero(self.ids[:n] > self.newest[owners] - REMEMBERED)
        texts = [self.index.text(int(i)) for i in kept]
        ids = self.ids[kept]
        self.index.restore(
            {
                "text": np.frombuffer(b"".join(texts), np.uint8),
                "ends": np.cumsum([len(t) for t in texts], dtype=np.int64),
                "owners": owners[kept],
            }
        )
        self.ids = np.concatenate([ids, np.zeros(max(8, ids.size), np.int32)])
        self._live_from = int(kept.size)

    def snapshot(self) -> State:
        """Names, owners, numbers, and the newest number of each device (trailing zeros cut off)."""
        used = int(np.flatnonzero(self.newest)[-1]) + 1 if self.newest.any() else 0
        return {
            **self.index.snapshot(),
            "ids": self.ids[: self.index.count].copy(),
            "newest": self.newest[:used].copy(),
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot."""
        self.index.restore(state)
        self.ids = np.concatenate([state["ids"].astype(np.int32), np.zeros(8, np.int32)])
        self.newest = np.concatenate([state["newest"].astype(np.int32), np.zeros(8, np.int32)])
        self._live_from = self.index.count
