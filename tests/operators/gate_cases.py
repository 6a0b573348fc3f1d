"""A twin type, requests and answers for tests of the command gate."""

from __future__ import annotations

from typing import Any

import msgspec

from operators.command_records import WINDOW_NS, Answer, Asked
from operators.definition import SECOND, CommandSpec, Signal, TwinType
from operators.gate import Told

T0 = 1_800_000_000 * SECOND
SHARE = {"type": "object", "properties": {"share": {"type": "number", "maximum": 1, "multipleOf": 0.1}}}
VALVE = TwinType(
    "valve",
    1,
    (Signal("flow"),),
    commands=(
        CommandSpec("open", timeout_ns=5 * SECOND),
        CommandSpec("set", SHARE, timeout_ns=60 * SECOND),
        CommandSpec("weld_shut", grave=True),
    ),
)


def type_of(device: str) -> TwinType | None:
    return VALVE if device.startswith("v") else None


def asked(command: str = "c", device: str = "v1", verb: str = "open", *, at: int = 0, **more: Any) -> Asked:
    """A request asked `at` ns after T0, good for 30 s."""
    arguments = msgspec.Raw(msgspec.json.encode(more.pop("arguments", {})))
    fields: dict[str, Any] = {"ts_ns": T0 + at, "expires_ns": T0 + at + WINDOW_NS, "issuer": "person:ann"} | more
    return Asked(command, device, verb, arguments, **fields)


def answer(status: Any, command: str = "c", device: str = "v1", detail: str = "") -> Answer:
    return Answer(command, device, status, ts_ns=1, detail=detail)


def stages(*told: Told) -> list[str]:
    return [event.stage for one in told for event in one.events]
