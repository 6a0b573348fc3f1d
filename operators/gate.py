"""The one way to a device: requests, answers and time go in, events and dispatches come out; nothing else is asked.

Its events are its state: whatever changes it is told as an event first, and a gate that is given all events of another
goes on as that one would have. No clock inside: every call says when it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from operators.command_records import (
    AHEAD_NS,
    ALARM_VERBS,
    ENDS,
    LATE,
    STAGES,
    WINDOW_NS,
    Answer,
    Asked,
    Check,
    CommandLineage,
    Dispatch,
    Event,
    Stage,
)
from operators.definition import SECOND, TwinType
from operators.gate_checks import Checks, Slot

MOST = 20_000
MOST_BYTES = 64 << 20
"""Ids, and bytes of their last events, that are remembered; those without an end and those not expired stay."""
REACH_NS = WINDOW_NS + AHEAD_NS
"""No request that passes the check `deadline` expires later than this from now."""
_BIT = {stage: 1 << i for i, stage in enumerate(STAGES)}
_event = msgspec.json.Decoder(Event)
_encode = msgspec.json.encode


@dataclass(slots=True)
class Told:
    """What one call brought about, in order. `dead`: reason and detail, where the input is set aside."""

    events: list[Event] = field(default_factory=list)
    dispatches: list[Dispatch] = field(default_factory=list)
    dead: tuple[str, str] | None = None


@dataclass(slots=True)
class _Held:
    """A command that is remembered.

    Attributes:
        last, ts_ns: the event it stands at, its end once it has one.
        stages: those that were told, as bits.
        deadline_ns, timeout_ns: when the wait for the next answer ends, and how long every wait is.
        ended: how; "" while it has not. `acknowledged`: what is left to see of it is an answer after the time-out.
    """

    device: str
    verb: str
    expires_ns: int
    last: bytes = b""
    ts_ns: int = 0
    stages: int = 0
    deadline_ns: int = 0
    timeout_ns: int = 0
    ended: str = ""

    def told(self, stage: Stage) -> bool:
        return bool(self.stages & _BIT[stage])


class Gate:
    """Judges requests, dispatches commands, waits for answers.

    A command is dispatched at most once, whatever comes again, in whatever order: a known id gets the verdict it had.
    An id is forgotten only after its request expired, and a request that expired no later than a forgotten one is
    refused, so a forgotten id cannot be dispatched either, even when the clock is set back. Where nothing more can be
    remembered there is no verdict, only a dead letter.

    Args:
        type_of: the type of a device, None where it has none.
        slots, required: see `Checks`.
        most: ids to remember.

    >>> from operators.definition import CommandSpec, Signal, TwinType
    >>> pump = TwinType("pump", 1, (Signal("pressure"),), commands=(CommandSpec("stop"),))
    >>> gate = Gate({"pump-7": pump}.get)
    >>> asked = Asked("c-1", "pump-7", "stop", issuer="person:ann", ts_ns=10, expires_ns=20)
    >>> [e.stage for e in gate.request(asked, now_ns=11).events]
    ['requested', 'authorised', 'dispatched']
    >>> [e.stage for e in gate.answer(Answer("c-1", "pump-7", "done", 12), at_ns=13).events]
    ['acknowledged', 'effect']
    """

    def __init__(
        self,
        type_of: Callable[[str], TwinType | None],
        *,
        slots: Mapping[str, Slot] | None = None,
        required: Collection[str] = (),
        most: int = MOST,
    ) -> None:
        self._checks = Checks(type_of, slots=slots, required=required)
        self._most, self._bytes = most, 0
        self._held: dict[str, _Held] = {}
        self._waiting: dict[str, set[str]] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._ended: list[tuple[int, str]] = []
        self._floor_ns = 0

    def __len__(self) -> int:
        """Ids that are remembered."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """Commands that have no end yet."""
        return sum(map(len, self._waiting.values()))

    def restore(self, events: Iterable[Event], *, since_ns: int = 0) -> None:
        """Go on from the events of an earlier gate, in their order.

        Args:
            since_ns: 0 where these are all there ever were; else events told up to then may be missing.
        """
        if since_ns:
            self._floor_ns = max(self._floor_ns, since_ns + REACH_NS)
        for event in events:
            self._fold(event)
            while not self._room(1.0) and self._ended:
                self._forget()

    def request(self, asked: Asked, now_ns: int) -> Told:
        """Judge a request; dispatch it, carry it out, or refuse it. A known id is told again as it stands."""
        held = self._held.get(asked.id)
        if held is not None:
            return _again(held, asked)
        if asked.fault:
            asked = msgspec.structs.replace(asked, ts_ns=now_ns, expires_ns=now_ns + REACH_NS)
        share = 0.5 if asked.expires_ns > now_ns + REACH_NS else 1.0  # wrong clocks must not fill all the memory
        while not self._room(share) and self._ended and self._ended[0][0] < now_ns:
            self._forget()
        if not self._room(share):
            why = f"{len(self._held)} commands are remembered and none can be forgotten yet; nothing was decided"
            return Told(dead=("gate_full", why))
        waiting = sum(self._held[i].deadline_ns >= now_ns for i in self._waiting.get(asked.device, ()))
        spec, checks = self._checks.judge(asked, now_ns, waiting=waiting, floor_ns=self._floor_ns)
        told, lineage = Told(), CommandLineage(*asked.place, self._checks.definition(asked.device), asked.lineage)
        self._tell(told, asked, "requested", now_ns, lineage, reason=asked.reason)
        if spec is None:
            self._tell(told, asked, "refused", now_ns, lineage, reason=_why(checks[-1]), detail=checks)
            return told
        self._tell(told, asked, "authorised", now_ns, lineage, detail=checks)
        if spec.verb in ALARM_VERBS:
            self._tell(told, asked, "effect", now_ns, lineage)
            return told
        deadline_ns = now_ns + spec.timeout_ns
        self._tell(told, asked, "dispatched", now_ns, lineage, deadline_ns=deadline_ns)
        told.dispatches.append(
            Dispatch(asked.id, asked.device, asked.verb, asked.arguments, asked.issuer, now_ns, deadline_ns, lineage)
        )
        return told

    def answer(self, answer: Answer, at_ns: int) -> Told:
        """Take what a device said, `at_ns` being when it reached the broker; a repeat changes nothing."""
        held = self._held.get(answer.id)
        if held is None:
            return Told(dead=("unknown_command", f"no command {answer.id!r} is known"))
        if held.device != answer.device:
            return Told(dead=("wrong_device", f"command {answer.id!r} is one of {held.device!r}"))
        if held.ended == "refused" or held.verb in ALARM_VERBS:
            return Told(dead=("not_dispatched", f"command {answer.id!r} was never sent to a device"))
        told = Told()
        if not held.ended and at_ns > held.deadline_ns:
            self._time_out(told, answer.id, held)
        missed = held.ended in ("timed_out", "acknowledged")
        late = f"{LATE}{max(0, at_ns - held.ts_ns) / SECOND:.3f} s after the time-out" if missed else ""
        if held.told("effect" if answer.status in ("failed", "refused") else "failed"):
            if answer.status != "accepted":
                told.dead = ("after_the_end", f"{answer.status}, but command {answer.id!r} had another end before")
        elif answer.status in ("failed", "refused"):
            said = f"{answer.status} by the device" + (f": {answer.detail}" if answer.detail else "")
            self._next(told, held, "failed", at_ns, said, late)
        else:
            self._next(told, held, "acknowledged", at_ns, answer.detail, late)
            if answer.status == "done":
                self._next(told, held, "effect", at_ns, answer.detail, late)
        return told

    def tick(self, now_ns: int) -> Told:
        """Let time pass: what should have been answered before now has timed out."""
        told = Told()
        while self._deadlines and self._deadlines[0][0] < now_ns:
            deadline_ns, command_id = heapq.heappop(self._deadlines)
            held = self._held.get(command_id)
            if held is not None and not held.ended and held.deadline_ns == deadline_ns:
                self._time_out(told, command_id, held)
        return told

    def _time_out(self, told: Told, command_id: str, held: _Held) -> None:
        what = "accepted, but not done" if held.told("acknowledged") else "no answer"
        why = f"{what} within {held.timeout_ns / SECOND:g} s"
        self._next(told, held, "timed_out", held.deadline_ns, why, "")

    def _next(self, told: Told, held: _Held, stage: Stage, at_ns: int, reason: str, late: str) -> None:
        """The next stage of a dispatched command, unless it was told."""
        if held.told(stage):
            return
        last = _event.decode(held.last)
        ts_ns = max(at_ns, held.ts_ns)
        waits = stage == "acknowledged" and not late
        event = msgspec.structs.replace(
            last,
            stage=stage,
            ts_ns=ts_ns,
            reason=": ".join(filter(None, (late, reason))),
            detail=None,
            deadline_ns=ts_ns + held.timeout_ns if waits else 0,
        )
        self._fold(event)
        told.events.append(event)

    def _tell(
        self,
        told: Told,
        asked: Asked,
        stage: Stage,
        ts_ns: int,
        lineage: CommandLineage,
        *,
        reason: str = "",
        detail: tuple[Check, ...] | None = None,
        deadline_ns: int = 0,
    ) -> None:
        event = Event(
            asked.id, asked.device, asked.verb, stage, ts_ns, asked.arguments, asked.issuer, reason, detail,
            asked.expires_ns, deadline_ns, lineage=lineage,
        )  # fmt: skip
        self._fold(event)
        told.events.append(event)

    def _fold(self, event: Event) -> None:
        """The only place where a command's state changes, live and restored alike."""
        held = self._held.get(event.id)
        if held is None:
            held = self._held[event.id] = _Held(event.device, event.verb, event.expires_ns)
            self._waiting.setdefault(event.device, set()).add(event.id)
        if held.told(event.stage):
            return
        held.stages |= _BIT[event.stage]
        if held.ended:
            return
        last = _encode(event)
        self._bytes += len(last) - len(held.last)
        held.last, held.ts_ns, held.deadline_ns = last, event.ts_ns, event.deadline_ns
        if event.stage in ENDS or (event.stage == "acknowledged" and not event.deadline_ns):
            held.ended = event.stage
            heapq.heappush(self._ended, (held.expires_ns, event.id))
            self._waiting[held.device].discard(event.id)
            if not self._waiting[held.device]:
                del self._waiting[held.device]
        elif event.deadline_ns:
            held.timeout_ns = event.deadline_ns - event.ts_ns
            heapq.heappush(self._deadlines, (event.deadline_ns, event.id))

    def _room(self, share: float) -> bool:
        """Whether this share of the memory has room for one more."""
        return len(self._held) < share * self._most and self._bytes < share * MOST_BYTES

    def _forget(self) -> None:
        """Forget the command that expired first, and from now on refuse what expired no later."""
        expires_ns, command_id = heapq.heappop(self._ended)
        self._floor_ns = max(self._floor_ns, expires_ns)
        self._bytes -= len(self._held.pop(command_id).last)


def _again(held: _Held, asked: Asked) -> Told:
    """The stored verdict; where another command came under this id, that one is set aside as well."""
    last = _event.decode(held.last)
    told = Told([msgspec.structs.replace(last, again=True)])
    same = (asked.device, asked.verb, bytes(asked.arguments)) == (last.device, last.verb, bytes(last.arguments))
    if not same and not asked.fault:
        told.dead = ("id_taken", f"id {asked.id!r} is that of another command: {last.verb} of {last.device!r}")
    return told


def _why(failed: Check) -> str:
    return f"{failed.check}: {failed.why}"
