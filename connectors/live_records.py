"""What the JSON topics of the live view hold, as far as it is read; a field that is missing has its neutral value."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec


class Arrived(NamedTuple):
    """One record as it came from a topic."""

    topic: str
    partition: int
    offset: int
    arrival_ns: int
    key: str
    value: bytes | None
    headers: dict[str, str]


class AlertRecord(msgspec.Struct):
    """Topic alerts: an alert was raised or has returned to normal; `id` is the same in both."""

    id: str
    device: str
    state: str
    ts_ns: int
    twin_type: str = ""
    signal: str | None = None
    rule: str | None = None
    detector: str | None = None
    severity: str = "warn"
    value: float | None = None
    limit: float | None = None
    score: float | None = None
    cause: str | None = None
    message: str | None = None
    ranked: Any = None
    source: str = ""
    offset: int | None = None
    shard: str = ""


class CommandRecord(msgspec.Struct):
    """Topic command-events: one stage of a command's life."""

    id: str
    device: str
    verb: str
    stage: str
    ts_ns: int
    arguments: Any = None
    issuer: str | None = None
    reason: str | None = None
    detail: Any = None
    deadline_ns: int = 0


class DeadLetterRecord(msgspec.Struct):
    """Topic dead-letters: a refused message, whole, with the reason."""

    reason: str
    detail: str = ""
    topic: str = "samples"
    partition: int = -1
    offset: int = -1
    arrival_ns: int = 0
    device: str | None = None
    key: str | None = None
    raw: str | None = None
    raw_base64: str | None = None
    whole: bool = True


class GapRecord(msgspec.Struct):
    """Topic gaps: sequence numbers of a device that never came."""

    device: str
    missing: int


class Outcomes(msgspec.Struct):
    """How many had which outcome."""

    control: int = 0
    applied: int = 0
    late: int = 0
    duplicate: int = 0
    rejected: int = 0
    quarantined: int = 0

    def add(self, other: Outcomes) -> None:
        """Count those of another one in."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class LedgerSums(msgspec.Struct):
    """What came in and what became of it, in records and in samples."""

    records_in: int = 0
    samples_in: int = 0
    records: Outcomes = msgspec.field(default_factory=Outcomes)
    samples: Outcomes = msgspec.field(default_factory=Outcomes)
    balance: int = 0

    def add(self, other: LedgerSums) -> None:
        """Count those of another one in."""
        self.records_in += other.records_in
        self.samples_in += other.samples_in
        self.records.add(other.records)
        self.samples.add(other.samples)
        self.balance += other.balance


class LedgerRecord(msgspec.Struct):
    """Topic ledger: one contiguous range [from_offset, end_offset) of one partition."""

    shard: str
    partition: int
    from_offset: int
    end_offset: int
    ledger: LedgerSums
    skipped: int = 0
    at_ns: int = 0


class Reported(msgspec.Struct):
    """A value of a stored twin state."""

    value: float | None = None
    ts_ns: int = 0
    arrival_ns: int = 0
    quality: int = 0


class StateRecord(msgspec.Struct):
    """Topic twin-states, as far as it fills the live view."""

    twin_type: str = ""
    reported: dict[str, Reported] = {}
