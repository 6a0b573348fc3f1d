"""The checks of the command gate, in their one order; the first that fails is the verdict.

Four are built: schema, deadline, idempotency, dispatch. The others are named slots. A slot that nothing fills passes as
"not configured"; one that is demanded and not filled refuses every command: fail closed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from operators.command_records import AHEAD_NS, ALARM_VERBS, LONGEST_SHELVE_NS, WINDOW_NS, Asked, Check
from operators.definition import SECOND, CommandSpec, TwinType
from operators.lineage import DefinitionVersion, Versions

CHECKS = (
    *("schema", "signature", "key", "deadline", "sequence", "idempotency", "role", "second_approval", "rate"),
    *("interlocks", "envelope", "dispatch"),
)
BUILT = frozenset(("schema", "deadline", "idempotency", "dispatch"))
SLOTS = tuple(name for name in CHECKS if name not in BUILT)
MOST_WAITING = 100
"""Commands of one device that may be without an end at once."""
LONGEST_WHY = 300

Slot: TypeAlias = Callable[[Asked, CommandSpec, int], Check]
"""What fills a slot: judges a request at a time (ns UTC), by a check of the slot's name."""


class Checks:
    """All checks in order.

    Args:
        type_of: the type of a device, None where it has none.
        slots: what fills a slot.
        required: slots that must be passed, whether something fills them or not.

    Raises:
        ValueError: a name that is no slot.

    >>> Checks(lambda device: None, required=["password"])
    Traceback (most recent call last):
    ValueError: 'password' is no slot of the gate; there are signature, key, sequence, role, second_approval, rate, \
interlocks, envelope
    """

    def __init__(
        self,
        type_of: Callable[[str], TwinType | None],
        *,
        slots: Mapping[str, Slot] | None = None,
        required: Collection[str] = (),
    ) -> None:
        self._type_of, self._slots, self._required = type_of, dict(slots or {}), frozenset(required)
        self._versions: dict[str, tuple[TwinType, Versions]] = {}
        self._validators: dict[tuple[str, str], Draft202012Validator] = {}
        for name in sorted({*self._slots, *self._required} - {*SLOTS}):
            raise ValueError(f"{name!r} is no slot of the gate; there are {', '.join(SLOTS)}")

    def judge(
        self, asked: Asked, now_ns: int, *, waiting: int, floor_ns: int
    ) -> tuple[CommandSpec | None, tuple[Check, ...]]:
        """What the request asks for, and the checks up to the first that fails.

        Args:
            waiting: commands of this device that have no end yet.
            floor_ns: ids of requests that expired up to here may have been forgotten.
        """
        spec, schema = self._schema(asked, now_ns)
        done = [schema]
        if spec is None:
            return None, tuple(done)
        for name in CHECKS[1:]:
            if name == "deadline":
                check = _deadline(asked, now_ns)
            elif name == "idempotency":
                check = _idempotency(asked, floor_ns)
            elif name == "dispatch":
                check = _dispatch(spec, waiting)
            else:
                check = self._slot(name, asked, spec, now_ns)
            done.append(check)
            if check.passed is False:
                return None, tuple(done)
        return spec, tuple(done)

    def definition(self, device: str) -> DefinitionVersion | None:
        """Of the type that the commands of a device are judged by; None where it has none."""
        twin = self._type_of(device)
        if twin is None:
            return None
        known = self._versions.get(twin.name)
        if known is None or known[0] is not twin:
            known = self._versions[twin.name] = (twin, Versions(twin))
        return known[1].definition

    def _slot(self, name: str, asked: Asked, spec: CommandSpec, now_ns: int) -> Check:
        filled = self._slots.get(name)
        if filled is not None:
            return filled(asked, spec, now_ns)
        if name == "second_approval" and spec.grave:
            return Check(name, False, spec.verb, why=f"{spec.verb} is grave; no second approval can be given yet")
        if name in self._required:
            return Check(name, False, why=f"{name} is demanded by a setting, but nothing does it")
        return Check(name, None, why="not configured")

    def _schema(self, asked: Asked, now_ns: int) -> tuple[CommandSpec | None, Check]:
        def no(why: str, value: object = None, limit: object = None) -> tuple[None, Check]:
            return None, Check("schema", False, value, limit, why[:LONGEST_WHY])

        if asked.fault:
            return no(asked.fault)
        twin = self._type_of(asked.device)
        if twin is None:
            return no(f"no pattern of the fleet fits {asked.device!r}", asked.device)
        verbs = {c.verb: c for c in twin.commands} | ALARM_VERBS
        spec = verbs.get(asked.verb)
        if spec is None:
            known = [c.verb for c in twin.commands]
            return no(f"{twin.name} understands {', '.join(known) or 'no command'}", asked.verb, known)
        wrong = self._arguments(twin.name, spec, asked) or _shelving(asked, now_ns)
        if wrong:
            return no(wrong)
        return spec, Check("schema", True, asked.verb, why=f"{twin.name} version {twin.version}")

    def _arguments(self, twin: str, spec: CommandSpec, asked: Asked) -> str:
        """What is wrong with the arguments, "" where nothing is."""
        arguments = msgspec.json.decode(asked.arguments)
        validator = self._validators.get((twin, spec.verb))
        if validator is None:
            validator = self._validators[twin, spec.verb] = Draft202012Validator(spec.arguments)
        try:
            error = best_match(validator.iter_errors(arguments))
        except ArithmeticError as broken:  # numbers past every float
            return f"arguments: cannot be judged: {broken}"
        return "" if error is None else f"arguments{error.json_path[1:]}: {error.message}"


def _shelving(asked: Asked, now_ns: int) -> str:
    """What is wrong with a `shelve`, "" where nothing is."""
    if asked.verb != "shelve":
        return ""
    until_ns = msgspec.json.decode(asked.arguments)["until_ns"]
    if not now_ns < until_ns <= now_ns + LONGEST_SHELVE_NS:
        return f"arguments.until_ns: {_secs(until_ns - now_ns):g} s from now; more than 0 s, at most 7 d are allowed"
    return "" if asked.reason.strip() else "reason: an alarm is shelved for a reason; write one"


def _deadline(asked: Asked, now_ns: int) -> Check:
    age_ns, life_ns = now_ns - asked.ts_ns, asked.expires_ns - asked.ts_ns
    wrong = ""
    if age_ns < -AHEAD_NS:
        wrong = f"asked {_secs(-age_ns):g} s from now: the clock of {asked.issuer} is ahead"
    elif not 0 < life_ns <= WINDOW_NS:
        wrong = f"good for {_secs(life_ns):g} s; more than 0 s, at most {_secs(WINDOW_NS):g} s are allowed"
    elif now_ns > asked.expires_ns:
        wrong = f"expired {_secs(now_ns - asked.expires_ns):g} s ago"
    return Check("deadline", not wrong, _secs(age_ns), _secs(life_ns), wrong or "age and longest age, s")


def _idempotency(asked: Asked, floor_ns: int) -> Check:
    if asked.expires_ns <= floor_ns:
        why = "the gate no longer knows the ids of requests as old as this: it may be a repeat; ask anew"
        return Check("idempotency", False, asked.id, why=why)
    return Check("idempotency", True, asked.id, why="never seen before")


def _dispatch(spec: CommandSpec, waiting: int) -> Check:
    if spec.verb in ALARM_VERBS:
        return Check("dispatch", True, why="carried out by the gate")
    if waiting >= MOST_WAITING:
        why = f"{waiting} commands of this device have no end yet; wait for one"
        return Check("dispatch", False, waiting, MOST_WAITING, why)
    return Check("dispatch", True, waiting, MOST_WAITING, f"to be begun within {_secs(spec.timeout_ns):g} s")


def _secs(ns: int) -> float:
    return round(ns / SECOND, 3)
