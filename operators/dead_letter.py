"""Messages that broke the wire contract, with the reason, kept whole so that they can be read, mended and redriven."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

Reason: TypeAlias = Literal[
    "bad_compression",
    "bad_record",
    "poison",
    "bad_header",
    "empty",
    "too_large",
    "too_deep",
    "bad_utf8",
    "bad_json",
    "duplicate_key",
    "bad_shape",
    "unknown_schema",
    "bad_device",
    "wrong_key",
    "bad_seq",
    "bad_boot",
    "unknown_type",
    "too_many_devices",
    "no_time",
    "bad_time",
    "bad_name",
    "bad_value",
    "wrong_length",
    "out_of_range",
    "bad_quaternion",
    "bad_report",
    "bad_block",
    "wrong_unit",
]
REASONS: tuple[str, ...] = get_args(Reason)
"""Every reason decode gives, in the order in which a message is judged: the first that holds is the one."""
LONGEST_RAW = 1_048_576
"""Bytes of a message that a dead letter keeps; the offset leads to the whole of it."""


@dataclass(slots=True)
class DeadLetters:
    """Rejected messages in log order, one list per column.

    Attributes:
        offset: of the message in its partition.
        arrival: broker append time, ns UTC, 0 where it is not known.
        reason: one of REASONS.
        detail: what exactly, for people.
        raw: the value's bytes, at most LONGEST_RAW of them; b"" for a tombstone.
        key: the key's bytes, None where there was none.
        samples: samples lost with the message; 1 where they could not be counted.

    >>> dead = DeadLetters()
    >>> dead.add(offset=7, arrival=0, reason="empty", detail="no value", raw=b"", key=b"p-7")
    >>> len(dead), dead.reason
    (1, ['empty'])
    """

    offset: list[int] = field(default_factory=list)
    arrival: list[int] = field(default_factory=list)
    reason: list[str] = field(default_factory=list)
    detail: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    key: list[bytes | None] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offset)

    def add(
        self, *, offset: int, arrival: int, reason: str, detail: str, raw: bytes, key: bytes | None, samples: int = 1
    ) -> None:
        """One more rejected message."""
        self.offset.append(offset)
        self.arrival.append(arrival)
        self.reason.append(reason)
        self.detail.append(detail)
        self.raw.append(raw[:LONGEST_RAW])
        self.key.append(key)
        self.samples.append(samples)
