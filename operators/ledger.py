"""The ledger: every record and every sample that came in has exactly one outcome, and the sums must agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Counts:
    """How many had which outcome.

    >>> (Counts(applied=2) + Counts(late=1)).total
    3
    """

    control: int = 0
    applied: int = 0
    late: int = 0
    duplicate: int = 0
    rejected: int = 0
    quarantined: int = 0

    @property
    def total(self) -> int:
        """Sum over all outcomes."""
        return self.control + self.applied + self.late + self.duplicate + self.rejected + self.quarantined

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.control + other.control, self.applied + other.applied, self.late + other.late,
            self.duplicate + other.duplicate, self.rejected + other.rejected, self.quarantined + other.quarantined,
        )  # fmt: skip


@dataclass(slots=True)
class Ledger:
    """What came in, and what became of it, in records and in samples.

    >>> ledger = Ledger(records_in=2, samples_in=3, records=Counts(applied=2), samples=Counts(applied=2, late=1))
    >>> ledger.balance
    0
    """

    records_in: int = 0
    samples_in: int = 0
    records: Counts = field(default_factory=Counts)
    samples: Counts = field(default_factory=Counts)

    @property
    def balance(self) -> int:
        """Records and samples that came in and are not accounted for, or are twice; 0 when all is well."""
        return abs(self.records_in - self.records.total) + abs(self.samples_in - self.samples.total)

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            self.records_in + other.records_in,
            self.samples_in + other.samples_in,
            self.records + other.records,
            self.samples + other.samples,
        )

    def to_dict(self) -> dict[str, object]:
        """As plain data, with the balance."""
        return {**asdict(self), "balance": self.balance}

    @staticmethod
    def from_dict(data: dict[str, object]) -> Ledger:
        """The inverse of `to_dict`."""
        records, samples = data["records"], data["samples"]
        assert isinstance(records, dict)
        assert isinstance(samples, dict)
        return Ledger(int(str(data["records_in"])), int(str(data["samples_in"])), Counts(**records), Counts(**samples))
