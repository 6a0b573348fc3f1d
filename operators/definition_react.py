"""The `detectors` and `rules` sections of a twin type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from jsonschema import Draft202012Validator

from operators.definition import SECOND, CommandSpec, DetectorSpec, RuleSpec
from operators.definition_check import Cursor, check, nearest
from operators.definition_methods import Method
from operators.definition_signals import Names


def read_detectors(
    root: Cursor, names: Names, methods: Mapping[str, Method], *, rows: bool
) -> tuple[DetectorSpec, ...]:
    """The detectors in file order; `settings` holds what the file says, over the defaults of the method.

    Raises:
        DefinitionError: unknown method, setting or signal, an id used twice, or rows where the type has none.
    """
    section = root.get("detectors")
    found: list[DetectorSpec] = []
    for place in section or ():
        refuse_twice(place, [d.id for d in found])
        name = place.text("method")
        if name not in methods:
            raise (place.get("method") or place).error(f"unknown method {name!r}", nearest(name, methods))
        method = methods[name]
        listed = place.get("signals")
        signals = names.listed(listed) if listed else names.scalars
        if len(signals) < method.min_signals:
            detail = f"{name} needs at least {method.min_signals} signals, here {len(signals)}"
            raise (listed or place).error(detail, "add signals, or take 'ewma_z' for single ones")
        found.append(
            DetectorSpec(
                id=place.text("id"),
                method=name,
                on=_on(place, name, method, rows=rows),
                signals=signals,
                threshold=place.number("threshold", 3.0),
                settings=method.defaults() | _settings(place, method),
                order=_order(place),
                clear_after_ns=place.duration("clear_after", 30 * SECOND),
            )
        )
    return tuple(found)


def _order(place: Cursor) -> Literal["arrival", "event"]:
    entry = place.get("order")
    return "event" if entry and entry.node.value == "event" else "arrival"


def _on(place: Cursor, name: str, method: Method, *, rows: bool) -> Literal["samples", "rows"]:
    on: Literal["samples", "rows"] = method.on[0]
    if entry := place.get("on"):
        on = "rows" if entry.node.value == "rows" else "samples"
    if on not in method.on:
        raise (place.get("on") or place).error(f"{name} does not run on {on}", f"write {' or '.join(method.on)}")
    if on == "rows" and not rows:
        raise (place.get("on") or place).error(
            "runs on rows, and a type without align has none", "add an align section"
        )
    return on


def _settings(place: Cursor, method: Method) -> dict[str, object]:
    settings = place.get("settings")
    if settings is None:
        return {}
    schema = {"type": "object", "additionalProperties": False, "properties": dict(method.settings)}
    check(settings, Draft202012Validator(schema))
    values: dict[str, object] = settings.plain()
    return values


def read_rules(root: Cursor, names: Names, commands: Mapping[str, CommandSpec]) -> tuple[RuleSpec, ...]:
    """The rules in file order.

    Raises:
        DefinitionError: unknown signal or command, an id used twice, not exactly one condition.
    """
    section = root.get("rules")
    found: list[RuleSpec] = []
    for place in section or ():
        refuse_twice(place, [r.id for r in found])
        found.append(_rule(place, names, commands))
    return tuple(found)


def _rule(place: Cursor, names: Names, commands: Mapping[str, CommandSpec]) -> RuleSpec:
    kinds: list[Literal["above", "below", "absent"]] = ["above", "below", "absent"]
    given = [kind for kind in kinds if place.get(kind)]
    if len(given) != 1:
        detail = f"has {' and '.join(given) or 'none'} of above, below, absent"
        raise place.error(detail, "write exactly one of them")
    kind = given[0]
    for key in ("hysteresis", "debounce") if kind == "absent" else ():
        if entry := place.get(key):
            raise entry.error("means nothing for an absence", "remove it")
    command = place.text("command")
    if command:
        _check_command(place.get("command") or place, command, commands)
    return RuleSpec(
        id=place.text("id"),
        signal=names.one(place.get("signal") or place, place.text("signal")),
        kind=kind,
        limit=0.0 if kind == "absent" else place.number(kind, 0.0),
        hysteresis=place.number("hysteresis", 0.0),
        debounce_ns=place.duration("debounce", 0),
        after_ns=place.duration(kind, 0, zero=False) if kind == "absent" else 0,
        severity="alarm" if place.text("severity") == "alarm" else "warn",
        message=place.text("message"),
        command=command,
    )


def _check_command(place: Cursor, verb: str, commands: Mapping[str, CommandSpec]) -> None:
    if verb not in commands:
        raise place.error(f"unknown command {verb!r}", nearest(verb, commands, otherwise="commands of this type"))
    if not Draft202012Validator(commands[verb].arguments).is_valid({}):
        raise place.error(f"{verb!r} requires arguments, which a rule cannot give", "name a command that needs none")


def refuse_twice(place: Cursor, ids: Sequence[str]) -> None:
    entry = place.get("id")
    if entry is not None and entry.node.value in ids:
        raise entry.error(f"id {entry.node.value!r} exists already", "rename one of them")
