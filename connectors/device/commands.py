"""A command as a device sees it, and what its handler may say to it. The protocol: docs/wire.md, *Commands*."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .wire import device_name

LONGEST_ID = 128
ACCEPTED, DONE, FAILED, REFUSED = "accepted", "done", "failed", "refused"
ENDS = (DONE, FAILED, REFUSED)


class _Later:
    def __repr__(self) -> str:
        return "LATER"


LATER = _Later()
"""What a handler returns that goes on elsewhere: `done` or `fail` of its command is called later, from any thread."""


class NoCommand(ValueError):
    """A record that is not a command."""


@dataclass(eq=False)
class Command:
    """One command for one device.

    Attributes:
        id: its name; a command is acted on once, whatever arrives.
        device, verb, arguments: who shall do what.
        issuer: who asked, such as `person:anna` or `rule:vibration_high`.
        ts_ns, deadline_ns: when it was dispatched, and after when it must not begin; ns UTC by the clock of the gate.
    """

    id: str
    device: str
    verb: str
    arguments: Mapping[str, Any]
    issuer: str
    ts_ns: int
    deadline_ns: int
    answer: Callable[[Command, str, str], None] = field(repr=False)
    status: str = ""

    def accept(self, detail: str = "") -> None:
        """It will be done; say so before work that takes long."""
        self._answer(ACCEPTED, detail)

    def done(self, detail: str = "") -> None:
        """It is done."""
        self._answer(DONE, detail)

    def fail(self, detail: str) -> None:
        """It was tried and did not come about."""
        self._answer(FAILED, detail)

    def refuse(self, detail: str) -> None:
        """The device will not do it; `detail` says why."""
        self._answer(REFUSED, detail)

    def _answer(self, status: str, detail: str) -> None:
        if self.status not in ENDS:  # the first end stands
            self.status = status
            self.answer(self, status, detail)


def read_command(value: bytes, answer: Callable[[Command, str, str], None]) -> Command:
    """A command from its record.

    Raises:
        NoCommand: it is none; the text says what is wrong.

    >>> given = b'{"id":"c1","device":"pump-7","verb":"stop","arguments":{},"ts_ns":1,"deadline_ns":2}'
    >>> command = read_command(given, lambda *_: None)
    >>> command.verb, command.deadline_ns
    ('stop', 2)
    """
    try:
        found = json.loads(value)
    except ValueError as error:
        raise NoCommand(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise NoCommand("no JSON object")
    for name in ("id", "verb"):
        word = found.get(name)
        if not isinstance(word, str) or not 1 <= len(word) <= LONGEST_ID:
            raise NoCommand(f"{name} is {str(word)[:80]!r}, not a text of 1 to {LONGEST_ID} characters")
    for name in ("ts_ns", "deadline_ns"):
        ns = found.get(name)
        if not isinstance(ns, int) or isinstance(ns, bool) or not 1 <= ns <= 1 << 62:
            raise NoCommand(f"{name} is {str(ns)[:80]!r}, not an integer of ns since 1970")
    arguments, issuer = found.get("arguments", {}), found.get("issuer", "")
    if not isinstance(arguments, dict) or not isinstance(issuer, str):
        raise NoCommand(f"arguments are {str(arguments)[:80]!r}, issuer is {str(issuer)[:80]!r}: an object and a text")
    try:
        device_name(found.get("device", ""))
        (found["id"] + found["verb"] + issuer).encode()
    except ValueError as error:
        raise NoCommand(str(error)) from None
    return Command(
        id=found["id"],
        device=found["device"],
        verb=found["verb"],
        arguments=arguments,
        issuer=issuer,
        ts_ns=found["ts_ns"],
        deadline_ns=found["deadline_ns"],
        answer=answer,
    )
