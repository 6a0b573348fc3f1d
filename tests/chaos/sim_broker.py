"""A broker and a network that exist only in the simulator: one partition, transactions, fencing, faults by dice."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from connectors.kafka_columns import OffsetExpiredError
from connectors.kafka_commit import CommitError, Record
from operators.frames import Frames

TOPIC = "samples"


class Crash(BaseException):
    """The process is gone at this very point; no handler of it runs."""


@dataclass(slots=True)
class Dice:
    """Every choice of a seed, in one order; `trace` is what happened.

    Attributes:
        fault: chance of a fault at a point where one may come; 0 while the world settles.
    """

    random: random.Random
    fault: float
    trace: list[str] = field(default_factory=list)

    def hit(self, share: float = 1.0) -> bool:
        """Whether a fault comes here."""
        return self.random.random() < self.fault * share

    def note(self, *what: object) -> None:
        """Something happened."""
        self.trace.append(" ".join(map(str, what)))

    def point(self, where: str) -> None:
        """A point at which the process may be killed."""
        if self.hit():
            self.note("crash", where)
            raise Crash(where)


@dataclass(slots=True)
class Transaction:
    """What one producer has open."""

    epoch: int
    records: list[Record] = field(default_factory=list)


class SimBroker:
    """One partition of input, the outputs of one shard, the offset that is committed with them.

    Attributes:
        input: offset, value and arrival of every record; offsets that carry none are left out.
        committed: what readers see: (end offset, records) of each transaction.
        offset: where the group stands, None before the first commit. live: what came on the live path.
        on_commit: called after every change of `committed` or `offset`.
        fences: whether an older producer of the name is refused; False only to see that the simulator notices.
    """

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.input: list[tuple[int, bytes, int]] = []
        self.first = self.end = 0
        self.committed: list[tuple[int, list[Record]]] = []
        self.live: list[Record] = []
        self.offset: int | None = None
        self.on_commit: Callable[[], None] = lambda: None
        self.fences = True
        self._epoch = 0
        self._open: dict[int, Transaction] = {}
        self._sequences: set[tuple[int, int]] = set()

    def append(self, producer: int, sequence: int, value: bytes, arrival: int) -> None:
        """A device's idempotent producer: a retry of the same sequence number is not written again."""
        if (producer, sequence) in self._sequences:
            return
        self._sequences.add((producer, sequence))
        self.input.append((self.end, value, arrival))
        self.end += 1

    def skip(self) -> None:
        """An offset without a record: the marker of somebody's transaction."""
        self.end += 1

    def fetch(self, offset: int, most: int) -> Frames | None:
        """Records from an offset on, as a consumer gets them."""
        if offset < self.first:
            raise OffsetExpiredError(topic=TOPIC, partition=0, wanted=offset, first=self.first)
        found = [row for row in self.input if row[0] >= offset][:most]
        if not found:
            return None
        offsets, values, arrivals = zip(*found, strict=True)
        last = found[-1] is self.input[-1]
        made = Frames.of(values, arrival=arrivals, first_offset=offsets[0])
        return replace(made, offset=np.array(offsets), end_offset=self.end if last else offsets[-1] + 1)

    def begin_producer(self) -> int:
        """Fences whoever had the name: what that one left open is aborted."""
        self._open.clear()
        self._epoch += 1
        return self._epoch

    def write(self, epoch: int, records: list[Record]) -> None:
        """Into the open transaction."""
        self._check(epoch)
        self._open.setdefault(epoch, Transaction(epoch)).records.extend(records)

    def commit(self, epoch: int, offset: int) -> None:
        """Records and offset at once."""
        self._check(epoch)
        self.take(self._open.pop(epoch, Transaction(epoch)).records, offset)

    def take(self, records: list[Record], offset: int | None) -> None:
        """What readers see from now on; None leaves the offset where it is."""
        if offset is not None:
            self.offset = offset
        self.committed.append((self.offset or 0, records))
        self.on_commit()

    def _check(self, epoch: int) -> None:
        if self.fences and epoch != self._epoch:
            raise CommitError(shard="00bg", doing="writing", cause="fenced")


class Link:
    """Between a process and the broker: a request may be lost, or its answer, so that the outcome is not known."""

    def __init__(self, broker: SimBroker, dice: Dice) -> None:
        self.broker, self.dice = broker, dice

    def call(self, what: str, request: Callable[[], None]) -> None:
        """One request; it may have its effect although no answer comes.

        Raises:
            CommitError: no answer in time: the outcome is not certain.
            Crash: the process was killed before or after.
        """
        self.dice.point(f"before {what}")
        if self.dice.hit(0.5):
            self.dice.note("lost", what)
            raise CommitError(shard="00bg", doing=what, cause="timed out")
        request()
        if self.dice.hit(0.5):
            self.dice.note("answer lost", what)
            raise CommitError(shard="00bg", doing=what, cause="timed out")
        self.dice.point(f"after {what}")
