"""The life of a command as records: what is asked, what a device answers, what the gate tells and dispatches.

    requested -> authorised -> dispatched -> acknowledged -> effect
              `-> refused                |               `-> failed, timed_out
                                         `-> failed, timed_out

Times are ns since the epoch, UTC.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from operators.definition import SECOND, CommandSpec
from operators.lineage import DefinitionVersion

Stage: TypeAlias = Literal[
    "requested", "authorised", "dispatched", "acknowledged", "effect", "refused", "timed_out", "failed"
]
STAGES: tuple[Stage, ...] = (
    *("requested", "authorised", "dispatched", "acknowledged"),
    *("effect", "refused", "timed_out", "failed"),
)
ENDS: frozenset[str] = frozenset(("effect", "refused", "timed_out", "failed"))
LATE = "late: "
"""Begins the reason of what a device answered after the time-out; the end stays `timed_out`."""

WINDOW_NS = 30 * SECOND
"""A request is good for this long at most."""
AHEAD_NS = 5 * SECOND
"""The clock of who asks may be this far ahead of the gate's."""
LONGEST_SHELVE_NS = 7 * 86_400 * SECOND

_ALARM = {"type": "string", "minLength": 1, "maxLength": 128}


def _of_alarm(verb: str, **more: dict[str, Any]) -> CommandSpec:
    properties = {"alarm": _ALARM, **more}
    schema = {"type": "object", "required": list(properties), "additionalProperties": False, "properties": properties}
    return CommandSpec(verb, schema)


ALARM_VERBS: dict[str, CommandSpec] = {
    "acknowledge": _of_alarm("acknowledge"),
    "shelve": _of_alarm("shelve", until_ns={"type": "integer"}),
    "unshelve": _of_alarm("unshelve"),
}
"""Verbs that every twin has; the gate carries them out itself, no device hears of them."""


NOTHING = msgspec.Raw(b"null")
NOWHERE = ("", -1, -1)


class CommandLineage(msgspec.Struct, frozen=True):
    """What a command rests on.

    Attributes:
        topic, partition, offset: of its request.
        definition: of the twin type that the gate judged it by; null where the device has none.
        cause: the lineage that the request brought along: of an alert where a rule asked (its id under `alert`); null
            where a person did. Nothing of it is checked here: `twinflow explain` does.
    """

    topic: str
    partition: int
    offset: int
    definition: DefinitionVersion | None
    cause: msgspec.Raw


class Check(msgspec.Struct, frozen=True):
    """One check of the gate. `passed` is None where it is a slot that nothing fills and nothing demands."""

    check: str
    passed: bool | None
    value: Any = None
    limit: Any = None
    why: str = ""


class Asked(msgspec.Struct, frozen=True):
    """A request whose id and device can be read.

    Attributes:
        arguments: as JSON; b"{}" where they cannot be read.
        expires_ns: nothing is dispatched after it.
        lineage: what it rests on, as who asked says; JSON, null where it says nothing.
        place: topic, partition and offset of the request.
        fault: what is wrong with its form, "" where nothing is.
    """

    id: str
    device: str
    verb: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    reason: str = ""
    issuer: str = ""
    ts_ns: int = 0
    expires_ns: int = 0
    fault: str = ""
    lineage: msgspec.Raw = NOTHING
    place: tuple[str, int, int] = NOWHERE


class Answer(msgspec.Struct, frozen=True):
    """What a device says about a command (topic command-acks)."""

    id: str
    device: str
    status: Literal["accepted", "done", "failed", "refused"]
    ts_ns: int
    detail: str = ""


class Dispatch(msgspec.Struct, frozen=True):
    """A command on its way to the device (topic commands): not to be begun after `deadline_ns`."""

    id: str
    device: str
    verb: str
    arguments: msgspec.Raw
    issuer: str
    ts_ns: int
    deadline_ns: int
    lineage: CommandLineage | None = None


class Event(msgspec.Struct, frozen=True):
    """One stage of a command's life (topic command-events).

    Attributes:
        detail: the checks, in order, of `authorised` and `refused`.
        expires_ns: of the request; a repeat of its id is recognised at least until then.
        deadline_ns: when the wait for the next answer ends; 0 where none is awaited.
        again: told before, and told again because the request was repeated.
    """

    id: str
    device: str
    verb: str
    stage: Stage
    ts_ns: int
    arguments: msgspec.Raw
    issuer: str
    reason: str
    detail: tuple[Check, ...] | None
    expires_ns: int
    deadline_ns: int = 0
    again: bool = False
    lineage: CommandLineage | None = None
