"""Columns, quality flags, keyed state and the Protocols of models. Importing this module loads numpy only.

A batch carries columns of one shard and one twin type, many devices in one batch, in log order. A series is one
signal of one device: `series = device * len(signals) + signal`, both dense ids in order of first appearance, so a
kernel gets the device by `series // signals` and the signal by `series % signals`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]
I32: TypeAlias = NDArray[np.int32]
U8: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = NDArray[np.intp]

State: TypeAlias = dict[str, NDArray[Any]]
"""Keyed state of one core: named numeric arrays only (text as UTF-8 bytes in uint8), never pickled objects."""

TICK = -1
"""Series of a row that is no sample but a tick: only its arrival counts, and it counts for every device."""
NO_TIME = np.iinfo(np.int64).min
"""A time that is not known (nanoseconds)."""
NO_SEQ = -1
"""Sequence number of a message that carries none."""


class Quality(IntFlag):
    """Bits of the quality column; 0 is good. A flagged sample is still applied unless its outcome says otherwise."""

    GOOD = 0
    ARRIVAL_AS_TIME = 1  # the message had no ts: its arrival stands in, and it teaches the clock nothing
    CLOCK_CORRECTED = 2
    CLOCK_UNCERTAIN = 4  # the clock model is not ready or just stepped
    LATE = 8  # older than the watermark of its device when it came
    STUCK = 16  # the same value for longer than the signal's stuck_after
    SENTINEL = 32  # a known stand-in for "no reading", e.g. -9999
    DENORMAL = 64  # not zero, yet too small to be a normal float64
    SUSPECT = 128  # physically possible, yet outside the signal's normal range


class Outcome(IntEnum):
    """What became of one sample; the ledger adds these up and every sample has exactly one."""

    APPLIED = 0
    LATE = 1
    DUPLICATE = 2
    REJECTED = 3
    QUARANTINED = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one twin type in one shard, in log order; all columns have the same length n.

    Attributes:
        series: int32[n], device * signals + signal; TICK for a tick.
        ts: int64[n], event time, ns since the epoch UTC.
        arrival: int64[n], broker append time, ns UTC.
        value: float64[n], in the signal's unit.
        quality: uint8[n], bits of Quality.
        seq: int64[n], sequence number of the message, NO_SEQ where it has none.
        boot: int32[n], dense id of the boot the message came from (0 where it has none).
        offset: int64[n], offset of the message in its partition; rows of one message share it.
    """

    series: I32
    ts: I64
    arrival: I64
    value: F64
    quality: U8
    seq: I64
    boot: I32
    offset: I64

    def __len__(self) -> int:
        return int(self.series.size)

    def take(self, rows: Rows | Mask | slice) -> Batch:
        """The given rows, in the given order."""
        return Batch(
            self.series[rows], self.ts[rows], self.arrival[rows], self.value[rows], self.quality[rows], self.seq[rows],
            self.boot[rows], self.offset[rows],
        )  # fmt: skip

    def replace(self, **columns: NDArray[Any]) -> Batch:
        """The same rows with some columns exchanged."""
        return Batch(*(columns.get(name, getattr(self, name)) for name in COLUMNS))

    @staticmethod
    def of(
        *,
        series: Any,
        ts: Any,
        value: Any,
        arrival: Any = None,
        quality: Any = 0,
        seq: Any = NO_SEQ,
        boot: Any = 0,
        offset: Any = None,
    ) -> Batch:
        """A batch from whatever numpy can read; missing columns get their neutral value.

        >>> len(Batch.of(series=[0, 1], ts=[10, 20], value=[1.0, 2.0]))
        2
        """
        ts_column = np.ascontiguousarray(ts, dtype=np.int64)
        n = ts_column.size

        def column(x: Any, dtype: Any) -> Any:
            return np.array(
                np.broadcast_to(np.asarray(x, dtype=dtype), (n,))
            )  # a copy: writable, so kernels compile once

        return Batch(
            series=column(series, np.int32),
            ts=ts_column,
            arrival=column(ts_column if arrival is None else arrival, np.int64),
            value=column(value, np.float64),
            quality=column(quality, np.uint8),
            seq=column(seq, np.int64),
            boot=column(boot, np.int32),
            offset=column(np.arange(n) if offset is None else offset, np.int64),
        )

    @staticmethod
    def join(parts: list[Batch]) -> Batch:
        """The rows of all parts, one part after the other; no parts give an empty batch."""
        if len(parts) <= 1:
            return parts[0] if parts else NO_ROWS
        return Batch(*(np.concatenate([getattr(p, name) for p in parts]) for name in COLUMNS))


COLUMNS = tuple(f.name for f in fields(Batch))
"""Names of the columns of a batch."""
NO_ROWS = Batch.of(series=[], ts=[], value=[])
"""A batch without rows."""


class Stateful(Protocol):
    """What every stateful core can do besides its own push."""

    def snapshot(self) -> State:
        """All that a later `restore` needs, as arrays that hold until the next push; to keep them, copy."""

    def restore(self, state: State) -> None:
        """Take over a snapshot; what was held before is forgotten."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One detector's verdict on n rows.

    Attributes:
        value: float64[n]; what it means is the detector's own (z for EWMA, residual over its limit for PCA).
        ready: bool[n]; False during warm-up, so "unknown" and "normal" stay apart.
        rank: float64[n, features]; share of each feature in the score, 0 where it has none.
    """

    value: F64
    ready: Mask
    rank: F64


class Detector(Protocol):
    """Scores rows before it learns them; one instance serves every device of a twin type, vectorised."""

    def score(self, device: I32, x: F64, /) -> Scores:
        """Scores of x, float64[n, features] (NaN = missing), row i belonging to device[i], learned one by one."""

    def snapshot(self) -> State: ...

    def restore(self, state: State) -> None: ...
