"""The other side of the command protocol, played by confluent-kafka: dispatches as the gate does, reads the answers."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from connectors.device.link import partition_of
from tests.connectors.batches import Sent
from tests.connectors.brokers import by_confluent, produce, until

PARTITIONS = 12


def command(device: str, verb: str, *, wait_secs: float = 60.0, **more: Any) -> dict[str, Any]:
    """A command as the gate writes it; `wait_secs`: from now to its deadline."""
    now = time.time_ns()
    return {
        "id": uuid.uuid4().hex, "device": device, "verb": verb, "arguments": {}, "issuer": "person:test", "ts_ns": now,
        "deadline_ns": now + round(wait_secs * 1e9), **more,
    }  # fmt: skip


def dispatch(bootstrap: str, topic: str, *commands: dict[str, Any]) -> None:
    """Write commands where the gate would."""
    for one in commands:
        key = one["device"].encode()
        produce(bootstrap, topic, [Sent(key, json.dumps(one).encode())], partition=partition_of(key, PARTITIONS))


def answers(bootstrap: str, topic: str, device: str) -> list[dict[str, Any]]:
    """All answers of a device so far, in order."""
    found = by_confluent(bootstrap, topic, partition=partition_of(device.encode(), PARTITIONS))
    return [json.loads(m.value or b"") for m in found if m.key == device.encode()]


def said(bootstrap: str, topic: str, given: dict[str, Any]) -> list[tuple[str, str]]:
    """Status and detail of the answers to one command."""
    found = answers(bootstrap, topic, given["device"])
    return [(a["status"], a["detail"]) for a in found if a["id"] == given["id"]]


def ended(bootstrap: str, topic: str, given: dict[str, Any], *, answers: int = 1) -> list[tuple[str, str]]:
    """Wait for so many answers to a command."""
    until(lambda: len(said(bootstrap, topic, given)) >= answers, f"{answers} answers to {given['verb']}", 90.0)
    return said(bootstrap, topic, given)
