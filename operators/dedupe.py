"""Messages that come twice, by (device, boot, sequence number), and the numbers that never came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.boots import REMEMBERED
from operators.byte_index import U64
from operators.compiled import kernel
from operators.decoded import Messages
from operators.touched import Changed, Touched
from operators.types import I32, I64, TICK, Batch, Mask, State

WINDOW = 1024
"""Sequence numbers below the highest that are remembered, per device and boot."""
_WORDS = WINDOW // 64
_SLOTS = REMEMBERED + 1


@dataclass(frozen=True, slots=True)
class Gaps:
    """Runs of sequence numbers that were jumped over, one list per column, in log order.

    Attributes:
        device, boot: int32[g]; device is the id within its type.
        from_seq, to_seq: int64[g], first and last number missing, both included.
        missing: int64[g], to_seq - from_seq + 1.
        offset: int64[g], offset of the message that came after the gap.
    """

    device: I32
    boot: I32
    from_seq: I64
    to_seq: I64
    missing: I64
    offset: I64

    def __len__(self) -> int:
        return int(self.offset.size)


@dataclass(frozen=True, slots=True)
class Deduped:
    """One push of `Dedupe`.

    Attributes:
        batch: rows that are no duplicates, ticks included.
        duplicate: bool[rows of the input], by row.
        duplicate_messages: bool[messages of the input], by message.
        gaps: numbers jumped over.
    """

    batch: Batch
    duplicate: Mask
    duplicate_messages: Mask
    gaps: Gaps


@kernel
def _judge(
    device: I32, boot: I32, seq: I64, entry_of: I32, boot_of: I32, high: I64, bits: U64, count: int, duplicate: Mask,
    gap: I64,
) -> tuple[int, int]:  # fmt: skip
    """Verdict per message; `gap` takes (message, from, to) of each gap. Returns entries in use and gaps."""
    gaps = 0
    for i in range(seq.size):
        s = seq[i]
        if s < 0:
            continue
        slot = 0 if boot[i] == 0 else 1 + boot[i] % (_SLOTS - 1)
        entry = entry_of[device[i], slot]
        if entry < 0:
            entry = count
            count += 1
            entry_of[device[i], slot] = entry
            boot_of[device[i], slot] = boot[i]
            high[entry] = -1
        elif boot_of[device[i], slot] != boot[i]:
            boot_of[device[i], slot] = boot[i]
            high[entry] = -1
        top = high[entry]
        if s > top:
            if top < 0 or s - top >= WINDOW:
                bits[entry, :] = 0
            else:
                for x in range(top + 1, s):
                    bits[entry, (x % WINDOW) // 64] &= ~(np.uint64(1) << np.uint64(x % 64))
            if top >= 0 and s > top + 1:
                gap[gaps, 0], gap[gaps, 1], gap[gaps, 2] = i, top + 1, s - 1
                gaps += 1
            high[entry] = s
        elif top - s >= WINDOW:
            continue
        elif bits[entry, (s % WINDOW) // 64] >> np.uint64(s % 64) & np.uint64(1):
            duplicate[i] = True
        bits[entry, (s % WINDOW) // 64] |= np.uint64(1) << np.uint64(s % 64)
    return count, gaps


class Dedupe:
    """Lets each (device, boot, seq) through once: the first wins, whatever the body of the second.

    The newest WINDOW numbers of each boot are remembered. A number below them passes, since nobody can prove that it
    was seen; a message without a number passes. A gap is told when it is jumped over; its numbers still pass when
    they come later. The first number of a boot leaves no gap. Each device remembers REMEMBERED boots, besides the
    nameless one.

    Args:
        signals: signals of the twin type.

    >>> dedupe = Dedupe(1)
    >>> out = dedupe.push(Batch.of(series=[0, 0, 0], ts=[1, 2, 2], value=[5.0, 6.0, 7.0], seq=[3, 6, 6]))
    >>> out.duplicate.tolist(), out.gaps.from_seq.tolist(), out.gaps.to_seq.tolist()
    ([False, False, True], [4], [5])
    """

    def __init__(self, signals: int) -> None:
        self.signals = signals
        self._entry_of = np.full((0, _SLOTS), -1, np.int32)
        self._boot_of = np.zeros((0, _SLOTS), np.int32)
        self._high = np.zeros(0, np.int64)
        self._bits = np.zeros((0, _WORDS), np.uint64)
        self._count = 0
        self._touched = Touched()

    def push(self, batch: Batch, messages: Messages | None = None) -> Deduped:
        """Judge the messages of a batch.

        Args:
            messages: all sample and report messages of the type (`Decoded.messages.of_type`), those without rows
                included: their numbers are no gaps. Without it the messages are those that have rows.
        """
        sample = batch.series != TICK
        first = sample.copy()
        if messages is None:
            first[1:] &= (batch.offset[1:] != batch.offset[:-1]) | ~sample[:-1]
            rows = np.flatnonzero(first)
            device, boot = (batch.series[rows] // self.signals).astype(np.int32), batch.boot[rows]
            seq, offset = batch.seq[rows], batch.offset[rows]
        else:
            device, boot, seq, offset = messages.device, messages.boot, messages.seq, messages.offset
        duplicate = np.zeros(seq.size, np.bool_)
        gaps = self._push(device, boot, seq, offset, duplicate)
        by_row = np.zeros(len(batch), np.bool_)
        if not duplicate.any():
            return Deduped(batch, by_row, duplicate, gaps)
        of_row = np.cumsum(first[sample]) - 1 if messages is None else np.repeat(np.arange(seq.size), messages.rows)
        by_row[sample] = duplicate[of_row]
        return Deduped(batch.take(np.flatnonzero(~by_row)), by_row, duplicate, gaps)

    def _push(self, device: I32, boot: I32, seq: I64, offset: I64, duplicate: Mask) -> Gaps:
        if seq.size:
            self._reserve(int(device.max()) + 1, self._count + int(np.count_nonzero(seq >= 0)))
        gap = np.empty((seq.size, 3), np.int64)
        self._count, n = _judge(
            device, boot, seq, self._entry_of, self._boot_of, self._high, self._bits, self._count, duplicate, gap
        )
        numbered = seq >= 0
        slot = np.where(boot == 0, 0, 1 + boot % (_SLOTS - 1))
        self._touched.mark(self._entry_of[device[numbered], slot[numbered]])
        at, first, last = gap[:n, 0], gap[:n, 1].copy(), gap[:n, 2].copy()
        return Gaps(device[at], boot[at], first, last, last - first + 1, offset[at])

    def _reserve(self, devices: int, entries: int) -> None:
        have = self._entry_of.shape[0]
        if devices > have:
            more = max(devices, 2 * have) - have
            self._entry_of = np.concatenate([self._entry_of, np.full((more, _SLOTS), -1, np.int32)])
            self._boot_of = np.concatenate([self._boot_of, np.zeros((more, _SLOTS), np.int32)])
        have = self._high.size
        if entries > have:
            more = max(entries, 2 * have) - have
            self._high = np.concatenate([self._high, np.zeros(more, np.int64)])
            self._bits = np.concatenate([self._bits, np.zeros((more, _WORDS), np.uint64)])

    def snapshot(self) -> State:
        """Highest number and bitmap of each entry, and which entry each device and boot has."""
        used = self._entry_of.max(axis=1) >= 0
        live = int(np.flatnonzero(used)[-1]) + 1 if used.any() else 0
        return {
            "entry_of": self._entry_of[:live].copy(),
            "boot_of": self._boot_of[:live].copy(),
            "high": self._high[: self._count].copy(),
            "bits": self._bits[: self._count],
        }

    def changed(self) -> Changed:
        """Rows of `high` and `bits` that may have changed since this was last asked."""
        return dict.fromkeys(("high", "bits"), self._touched.take())

    def restore(self, state: State) -> None:
        """Take over a snapshot."""
        self._entry_of, self._boot_of = state["entry_of"].copy(), state["boot_of"].copy()
        self._high, self._bits = state["high"].copy(), state["bits"].copy()
        self._count = int(self._high.size)
