"""The `detectors` and `rules` sections of a twin type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from jsonschema import Draft202012Validator

from operators.definition import SECOND, CommandSpec, DetectorSpec, PatternSpec, RuleSpec
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


def read_rules(
    root: Cursor, names: Names, commands: Mapping[str, CommandSpec]
) -> tuple[tuple[RuleSpec, ...], tuple[PatternSpec, ...]]:
    """The rules over one condition, and those over two (`when`), each in file order.

    Raises:
        DefinitionError: unknown signal or command, an id used twice, not exactly one condition.
    """
    section = root.get("rules")
    ids: list[str] = []
    rules: list[RuleSpec] = []
    patterns: list[PatternSpec] = []
    for place in section or ():
        refuse_twice(place, ids)
        ids.append(place.text("id"))
        if place.text("command"):
            _check_command(place.get("command") or place, place.text("command"), commands)
        if when := place.get("when"):
            patterns.append(_pattern(place, when, names))
        else:
            rules.append(_rule(place, names))
    return tuple(rules), tuple(patterns)


def _pattern(place: Cursor, when: Cursor, names: Names) -> PatternSpec:
    for key in ("signal", "above", "below", "absent", "hysteresis", "debounce"):
        if entry := place.get(key):
            raise entry.error("means nothing beside when", "move it into when")
    kinds: tuple[Literal["followed_by", "not_followed_by"], ...] = ("followed_by", "not_followed_by")
    given = [kind for kind in kinds if when.get(kind)]
    if len(given) != 1:
        detail = f"has {' and '.join(given) or 'none'} of followed_by, not_followed_by"
        raise when.error(detail, "write exactly one of them")
    return PatternSpec(
        id=place.text("id"),
        kind=given[0],
        first=_limit(when, "", names),
        second=_limit(when.get(given[0]) or when, "", names),
        within_ns=when.duration("within", SECOND, zero=False),
        severity=_severity(place),
        message=place.text("message"),
        command=place.text("command"),
    )


def _severity(place: Cursor) -> Literal["warn", "alarm"]:
    return "alarm" if place.text("severity") == "alarm" else "warn"


def _limit(place: Cursor, name: str, names: Names) -> RuleSpec:
    """A condition with a limit."""
    kinds: tuple[Literal["above", "below"], ...] = ("above", "below")
    given = [kind for kind in kinds if place.get(kind)]
    if len(given) != 1:
        raise place.error(f"has {' and '.join(given) or 'none'} of above, below", "write exactly one of them")
    return RuleSpec(
        id=name,
        signal=names.one(place.get("signal") or place, place.text("signal")),
        kind=given[0],
        limit=place.number(given[0], 0.0),
        hysteresis=place.number("hysteresis", 0.0),
        debounce_ns=place.duration("debounce", 0),
    )


def _rule(place: Cursor, names: Names) -> RuleSpec:
    if not place.get("signal"):
        at = Cursor(place.source, place.node, (*place.path, "signal"))
        raise at.error("is missing", "add 'signal: temperature', or when")
    given = [kind for kind in ("above", "below", "absent") if place.get(kind)]
    if len(given) != 1:
        detail = f"has {' and '.join(given) or 'none'} of above, below, absent"
        raise place.error(detail, "write exactly one of them")
    told: dict[str, Any] = {
        "severity": _severity(place),
        "message": place.text("message"),
        "command": place.text("command"),
    }
    if given[0] != "absent":
        return replace(_limit(place, place.text("id"), names), **told)
    for key in ("hysteresis", "debounce"):
        if entry := place.get(key):
            raise entry.error("means nothing for an absence", "remove it")
    return RuleSpec(
        id=place.text("id"),
        signal=names.one(place.get("signal") or place, place.text("signal")),
        kind="absent",
        after_ns=place.duration("absent", 0, zero=False),
        severity=_severity(place),
        message=place.text("message"),
        command=place.text("command"),
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
