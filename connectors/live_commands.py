"""The life of each command, folded from its events."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.live_alarms import ACKNOWLEDGE, Alarms
from connectors.live_records import CommandRecord

MOST = 2_000
STAGES = ("requested", "authorised", "dispatched", "acknowledged", "effect")
ENDS = ("effect", "refused", "timed_out")


class Command(msgspec.Struct, kw_only=True):
    """One command: what was asked of whom, and when it reached which stage (ns UTC)."""

    id: str
    device: str
    verb: str
    arguments: Any = None
    issuer: str = ""
    why: str = ""
    stage: str = ""
    stages: dict[str, int] = {}
    reason: str = ""
    detail: Any = None
    open: bool = True
    at_ns: int = 0


class Commands:
    """The newest MOST commands."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._held: dict[str, Command] = {}
        self.version = 0

    def take(self, event: CommandRecord) -> None:
        """One more event; repeats change nothing."""
        held = self._held.get(event.id)
        if held is None:
            held = Command(id=event.id, device=event.device, verb=event.verb, at_ns=event.ts_ns, stages={})
            self._held[event.id] = held
            while len(self._held) > MOST:
                del self._held[next(iter(self._held))]
        if event.stage in held.stages:
            return
        self.version += 1
        held.stages[event.stage] = event.ts_ns
        held.issuer = held.issuer or event.issuer or ""
        held.arguments = event.arguments if held.arguments is None else held.arguments
        if event.stage == "requested":
            held.why = event.reason or ""
        elif event.reason:
            held.reason = event.reason
        held.detail = event.detail if event.detail is not None else held.detail
        if held.open:
            held.stage = event.stage
        held.open = held.open and event.stage not in ENDS
        if (
            event.stage in ("acknowledged", "effect")
            and event.verb == ACKNOWLEDGE
            and isinstance(event.arguments, dict)
        ):
            self._alarms.acknowledge(str(event.arguments.get("alarm", "")), held.issuer, event.ts_ns)

    def listed(self) -> list[Command]:
        """Newest first."""
        return sorted(self._held.values(), key=lambda c: -c.at_ns)
