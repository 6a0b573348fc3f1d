"""What records say, in a form in which two runs can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from connectors.kafka_commit import Record
from flows.encode import from_bytes

ABOUT_FETCHES = ("ledger", "twin-live", "twin-states")
"""Topics whose records depend on how the log was cut into fetches."""


def rows(record: Record) -> list[dict[str, Any]]:
    """The rows of an Arrow block, or the one document."""
    assert record.value is not None
    if dict(record.headers)["content-type"] == b"application/json":
        return [msgspec.json.decode(record.value)]
    found: list[dict[str, Any]] = from_bytes(record.value).to_pylist()
    return found


def told(records: Iterable[Record]) -> dict[str, list[str]]:
    """What records say, by topic, partition, device and rule, detector or named window, in their order."""
    lines: dict[str, list[str]] = {}
    for record in records:
        if record.topic in ABOUT_FETCHES:
            continue
        for row in rows(record):
            who = row.get("device") or row.get("key")
            by = row.get("rule") or row.get("detector") or row.get("window") or ""
            lines.setdefault(f"{record.topic}/{record.partition}/{who}/{by}", []).append(repr(row))
    return lines


def last_states(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """The last state told of each device, without where the telling stood in the log."""
    states = {row["device"]: row for record in records if record.topic == "twin-states" for row in rows(record)}
    return {device: {k: v for k, v in row.items() if k != "offset"} for device, row in states.items()}


def once(records: Iterable[Record]) -> Iterator[str]:
    """Each different thing the live path said; repeats say the same."""
    yield from dict.fromkeys(repr(row) for record in records for row in rows(record))
