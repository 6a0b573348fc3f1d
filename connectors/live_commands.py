"""The life of each command, folded from its events; what commands do to alarms is handed on to them."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.live_alarms import ACKNOWLEDGE, SHELVE, UNSHELVE, Alarms, Shelved
from connectors.live_records import CommandRecord

MOST = 2_000
SPARE = 500
"""How many more than MOST are kept before the oldest are dropped together."""
STAGES = ("requested", "authorised", "dispatched", "acknowledged", "effect")
ENDS = ("effect", "refused", "timed_out", "failed")
OF_ALARMS = (ACKNOWLEDGE, SHELVE, UNSHELVE)


class Command(msgspec.Struct, kw_only=True):
    """One command: what was asked of whom, and when it reached which stage (ns UTC).

    Attributes:
        why: what the asker said.
        stage: the newest one up to its end; later answers are in `stages` and `late` only.
        reason: what the gate or the device said last.
        late: what the device said after the time-out; the end stays `timed_out`.
        detail: the gate's checks in order, as the event of the verdict lists them.
        deadline_ns: when the wait for the next answer ends; 0 where none is awaited.
    """

    id: str
    device: str
    verb: str
    arguments: Any = None
    issuer: str = ""
    why: str = ""
    stage: str = ""
    stages: dict[str, int] = {}
    reason: str = ""
    late: str = ""
    detail: Any = None
    open: bool = True
    at_ns: int = 0
    deadline_ns: int = 0


class Commands:
    """The newest MOST commands."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._held: dict[str, Command] = {}
        self.version = 0

    def take(self, event: CommandRecord) -> None:
        """One more event; repeats change nothing."""
        held = self._held.get(event.id) or self._new(event)
        if event.stage in held.stages:
            return
        self.version += 1
        held.stages[event.stage] = event.ts_ns
        held.issuer = held.issuer or event.issuer or ""
        held.arguments = event.arguments if held.arguments is None else held.arguments
        if event.stage in ("authorised", "refused") and event.detail:
            held.detail = event.detail
        if event.stage == "requested":
            held.why = event.reason or ""
        elif held.open:
            held.reason = event.reason or held.reason
        else:
            held.late = event.reason or event.stage
        if held.open:
            held.stage, held.deadline_ns = event.stage, event.deadline_ns
        held.open = held.open and event.stage not in ENDS
        if event.stage == "effect" and event.verb in OF_ALARMS and isinstance(held.arguments, dict):
            self._change_alarm(held, held.arguments, event.ts_ns)

    def _new(self, event: CommandRecord) -> Command:
        made = Command(id=event.id, device=event.device, verb=event.verb, at_ns=event.ts_ns, stages={})
        self._held[event.id] = made
        if len(self._held) > MOST + SPARE:
            self._held = {c.id: c for c in self.listed()[:MOST]} | {made.id: made}
        return made

    def _change_alarm(self, command: Command, arguments: dict[str, Any], at_ns: int) -> None:
        alarm, who = str(arguments.get("alarm", "")), person(command.issuer)
        if command.verb == ACKNOWLEDGE:
            self._alarms.acknowledge(alarm, who, at_ns)
        elif command.verb == UNSHELVE:
            self._alarms.unshelve(alarm, at_ns)
        elif type(until_ns := arguments.get("until_ns")) is int:
            self._alarms.shelve(alarm, Shelved(who, command.why or command.reason, at_ns, until_ns))

    def listed(self) -> list[Command]:
        """Newest first."""
        return sorted(self._held.values(), key=lambda c: -c.at_ns)


def person(issuer: str) -> str:
    """An issuer as people read it: "person:m.ruiz" -> "m.ruiz", "rule:overheat" -> "rule overheat".

    >>> person("person:m.ruiz"), person("rule:overheat"), person("")
    ('m.ruiz', 'rule overheat', '')
    """
    return issuer.removeprefix("person:").replace(":", " ", 1)
