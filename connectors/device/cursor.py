"""How far a spool is done, in one small file that a kill or a loss of power at any moment leaves readable."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

_SLOT = struct.Struct("<QQQQI")  # turn, done_below, dropped, damaged, CRC-32 of these
_STRIDE = 512
"""Each slot in a disk sector of its own."""


class Cursor:
    """Two slots, written in turn; the newer one with a right checksum counts.

    Attributes:
        done_below: all records with smaller numbers are done.
        dropped, damaged: how many were given up so far because the spool was full, or could not be read.
    """

    def __init__(self, path: Path) -> None:
        self.done_below = self.dropped = self.damaged = 0
        self._turn = 0
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        kept = os.read(self._fd, 2 * _STRIDE)
        for at in (0, _STRIDE):
            slot = kept[at : at + _SLOT.size]
            if len(slot) == _SLOT.size:
                turn, done_below, dropped, damaged, checksum = _SLOT.unpack(slot)
                if zlib.crc32(slot[:-4]) == checksum and turn >= self._turn:
                    self._turn, self.done_below, self.dropped, self.damaged = turn, done_below, dropped, damaged
        if len(kept) < _STRIDE + _SLOT.size:  # room for both now: the disk may be full later
            self.write()
            self.write()

    def write(self) -> None:
        """Write the attributes down; they outlive the process from now on. Nothing once it is closed."""
        if self._fd < 0:
            return
        self._turn += 1
        slot = _SLOT.pack(self._turn, self.done_below, self.dropped, self.damaged, 0)[:-4]
        os.lseek(self._fd, _STRIDE * (self._turn % 2), os.SEEK_SET)
        os.write(self._fd, slot + struct.pack("<I", zlib.crc32(slot)))

    def sync(self) -> None:
        """Have what was written outlive a loss of power."""
        if self._fd >= 0:
            os.fsync(self._fd)

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
