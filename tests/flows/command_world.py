"""`python -m flows.commands` over a real broker, and what people and devices do to it."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer

from connectors.kafka_commit import PRODUCER
from connectors.kafka_records import Got, RecordReader
from tests.connectors.brokers import until
from tests.support_flow import drain, running_flow
from tests.support_kafka import free_ports

FLEET = 'instances:\n  - {device: "valve-*", type: valve}\n'
VALVE = """
twin_type: valve
version: 1
signals: {flow: {unit: l/min, rate_hz: 1}}
commands:
  open: {timeout: 60s}
  close: {timeout: 1s}
  set:
    timeout: 60s
    arguments:
      type: object
      required: [share]
      additionalProperties: false
      properties: {share: {type: number, minimum: 0, maximum: 1}}
  weld_shut: {timeout: 60s, grave: true}
"""
AWAIT_SECS = 60.0
ENDS = ("effect", "refused", "timed_out", "failed")


def fresh() -> str:
    """An id that nobody had before."""
    return uuid.uuid4().hex


class Valves:
    """Sends requests and answers, and reads what the gate tells, from now on.

    Args:
        broker: host:port.
        folder: for the fleet and the log of the flow.
    """

    def __init__(self, broker: str, folder: Path) -> None:
        self.broker = broker
        self.fleet, self.types, self.log = folder / "fleet.yaml", folder / "types", folder / "commands.log"
        self.types.mkdir(parents=True, exist_ok=True)
        self.fleet.write_text(FLEET)
        (self.types / "valve.yaml").write_text(VALVE)
        self._producer = Producer({**PRODUCER, "bootstrap.servers": broker, "linger.ms": 0, "log_level": 0})
        topics = ("command-events", "commands", "dead-letters")
        self._reader = RecordReader(broker, {(t, p): -1 for t in topics for p in range(12)}, name="valves")
        self.events: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.letters: list[dict[str, Any]] = []
        until(lambda: self.read() or not self._reader.behind, "the ends of the topics", AWAIT_SECS)

    @contextmanager
    def flow(self, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """The flow as a process of its own; killed at the end if it still runs."""
        own = {
            "TWINFLOW_KAFKA": self.broker,
            "TWINFLOW_DATA": str(self.fleet.parent),
            "TWINFLOW_FLEET": str(self.fleet),
            "TWINFLOW_TYPES": str(self.types),
            **env,
        }
        with running_flow("flows.commands", own, self.log) as process:
            yield process

    def drain(self, process: subprocess.Popen[bytes]) -> None:
        """Stop the flow as `up` does."""
        drain(process, self.log)

    def ask(self, device: str, verb: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> str:
        """Send a request; returns its id."""
        request = {
            "id": fresh(), "device": device, "verb": verb, "arguments": arguments or {}, "reason": "a test",
            "issuer": "person:ann", "ts_ns": time.time_ns(), **more,
        }  # fmt: skip
        self.send("command-requests", device, msgspec.json.encode(request))
        return str(request["id"])

    def answer(self, command: str, device: str, status: str, detail: str = "") -> None:
        """Answer as the device."""
        answer = {"id": command, "device": device, "status": status, "detail": detail, "ts_ns": time.time_ns()}
        self.send("command-acks", device, msgspec.json.encode(answer))

    def send(self, topic: str, key: str | None, value: bytes) -> None:
        """Send any bytes and wait until the broker has them."""
        failed: list[object] = []
        self._producer.produce(topic, value, key, on_delivery=lambda error, _m: failed.append(error))
        assert self._producer.flush(AWAIT_SECS) == 0
        assert failed == [None]

    def read(self) -> list[Got]:
        """Take in what has come."""
        found = self._reader.poll(0.05)
        kept = {"command-events": self.events, "commands": self.commands, "dead-letters": self.letters}
        for got in found:
            kept[got.topic].append(msgspec.json.decode(got.value or b"{}"))
        return found

    def stages(self, command: str, *, again: bool = False) -> list[str]:
        """Stages of a command in the order they were told; without those told again."""
        return [e["stage"] for e in self.events if e["id"] == command and (again or not e["again"])]

    def last(self, command: str, stage: str) -> dict[str, Any]:
        """The event of a stage."""
        [found] = [e for e in self.events if (e["id"], e["stage"], e["again"]) == (command, stage, False)]
        return found

    def await_stage(self, command: str, stage: str) -> dict[str, Any]:
        """Wait for a stage of a command."""
        until(lambda: self.read() is None or stage in self.stages(command), f"{stage} of {command}", AWAIT_SECS)
        return self.last(command, stage)

    def await_heard(self, command: str) -> None:
        """Wait for anything about a command, while somebody else reads."""
        until(lambda: self.stages(command), f"anything about {command}", AWAIT_SECS)

    def dispatched(self, command: str) -> list[dict[str, Any]]:
        """The records on their way to the device."""
        return [c for c in self.commands if c["id"] == command]

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()


def port() -> str:
    """A free port, for the health of a flow."""
    return str(free_ports(1)[0])
