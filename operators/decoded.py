"""What decode hands on: samples per twin type, and everything that is no sample, as columns or short lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from operators.dead_letter import DeadLetters
from operators.frames import Frames
from operators.types import I32, I64, U8, Batch, Mask


class Kind(IntEnum):
    """What a message turned out to be; every message is exactly one of these."""

    REJECTED = 0
    SAMPLES = 1
    REPORT = 2
    CONTROL = 3  # a tick, a schema, a definition


@dataclass(frozen=True, slots=True)
class Messages:
    """What became of each of n messages, in log order: with it every record and sample can be accounted for.

    Attributes:
        offset: int64[n].
        kind: uint8[n], Kind.
        type: int32[n], twin type number; -1 for rejected and control messages.
        device: int32[n], id within the type; -1 likewise.
        seq: int64[n], NO_SEQ where it has none.
        boot: int32[n], dense id within the device, 0 where it names none.
        rows: int32[n], its rows in the batch of its type, contiguous and in this order.
        aside: int32[n], values of unknown signals.
        trusted: bool[n], the device's clock is not to be corrected.
    """

    offset: I64
    kind: U8
    type: I32
    device: I32
    seq: I64
    boot: I32
    rows: I32
    aside: I32
    trusted: Mask

    def __len__(self) -> int:
        return int(self.offset.size)

    def of_type(self, type_number: int) -> Messages:
        """The sample and report messages of one type."""
        m = self.type == type_number
        return Messages(
            self.offset[m], self.kind[m], self.type[m], self.device[m], self.seq[m], self.boot[m], self.rows[m],
            self.aside[m], self.trusted[m],
        )  # fmt: skip


@dataclass(frozen=True)
class Aside:
    """Values of signals that the twin type does not know: counted and kept, never applied; read again on demand.

    Args:
        messages: what became of each message; `frames` are the messages themselves.
        name_of: name of a device by type number and id.
        read: name, event time (ns UTC) and value of each such reading in one message of the frames, by its row.
    """

    messages: Messages
    frames: Frames
    name_of: Callable[[int, int], str]
    read: Callable[[Frames, int], Sequence[tuple[str, int, float]]]

    def __len__(self) -> int:
        return int(self.messages.aside.sum())

    @cached_property
    def _rows(self) -> list[int]:
        return np.repeat(np.arange(len(self.messages)), self.messages.aside).tolist()

    @cached_property
    def _readings(self) -> list[tuple[str, int, float]]:
        return [one for row in np.flatnonzero(self.messages.aside).tolist() for one in self.read(self.frames, row)]

    @property
    def offset(self) -> list[int]:
        """Offset of the message."""
        return [int(self.messages.offset[row]) for row in self._rows]

    @property
    def device(self) -> list[str]:
        """Name of the device."""
        return [self.name_of(int(self.messages.type[row]), int(self.messages.device[row])) for row in self._rows]

    @property
    def signal(self) -> list[str]:
        """Name of the signal; an element of a list as name.i."""
        return [name for name, _, _ in self._readings]

    @property
    def ts(self) -> list[int]:
        """Event time, ns UTC."""
        return [ts for _, ts, _ in self._readings]

    @property
    def value(self) -> list[float]:
        """The value."""
        return [value for _, _, value in self._readings]


@dataclass(frozen=True, slots=True)
class Report:
    """A checked JSON document about a device, to be merged into its twin."""

    offset: int
    type: int
    device: int
    ts: int
    arrival: int
    quality: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Control:
    """A message of header kind `definition`: its bytes as they came, for whoever applies definitions."""

    offset: int
    kind: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Decoded:
    """One push of `Decoder`.

    Attributes:
        batches: by twin type number: its samples, and every tick since the type was first met, in log order.
        messages: what became of each message.
        dead: rejected messages.
        aside: values of unknown signals.
        reports: checked documents.
        control: definition messages.
        end_offset: where the next read of the partition starts.
    """

    batches: list[Batch]
    messages: Messages
    dead: DeadLetters
    aside: Aside
    reports: list[Report]
    control: list[Control]
    end_offset: int
