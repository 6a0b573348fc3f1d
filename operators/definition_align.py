"""The `align` section of a twin type."""

from __future__ import annotations

import math

from operators.definition import SECOND, AlignSpec
from operators.definition_check import MAX_DURATION_NS, Cursor
from operators.definition_signals import Names, known_or_default

_ONE_OF = ("every", "leader", "group")


def read_align(root: Cursor, names: Names) -> AlignSpec | None:
    """How rows are made; None where the type has no `align`.

    Raises:
        DefinitionError: not exactly one of every, leader, group, a duration of zero, an unknown signal, slerp of what
            is no quaternion.
    """
    section = root.get("align")
    if section is None:
        return None
    given = [key for key in _ONE_OF if section.get(key)]
    if not given:
        place = Cursor(section.source, section.node, (*section.path, "every"))
        raise place.error("is missing", "add 'every: 100ms', or leader or group")
    if len(given) > 1:
        raise section.error(f"has {' and '.join(given)} of every, leader, group", "write exactly one of them")
    required, skew = section.get("required"), section.get("max_skew")
    needed = set(names.listed(required)) if required else set()
    max_skew = skew.as_duration() if skew else None
    group = section.get("group")
    if group is not None:
        return _group(section, names, group.as_duration(zero=False), needed, max_skew)
    leader = section.get("leader")
    every = section.duration("every", SECOND, zero=False) if leader is None else 0
    linear, turns = _methods(section, names)
    return AlignSpec(
        every_ns=every or 1,
        linear=linear,
        max_gap_ns=_gaps(root, section, names, every),
        required=tuple(name in needed for name in names.scalars),
        max_skew_ns=max_skew,
        leader=-1 if leader is None else names.scalars.index(names.one(leader, str(leader.node.value))),
        turns=turns,
    )


def _group(section: Cursor, names: Names, span: int, needed: set[str], max_skew: int | None) -> AlignSpec:
    for key in ("method", "max_gap"):
        if entry := section.get(key):
            raise entry.error("means nothing for groups", "remove it")
    n = len(names.scalars)
    members = tuple(name in needed or not needed for name in names.scalars)
    return AlignSpec(1, (False,) * n, (0,) * n, members, max_skew, group_ns=span)


def _methods(section: Cursor, names: Names) -> tuple[tuple[bool, ...], tuple[int, ...]]:
    """Per signal whether it lies between its neighbours, and where the orientations among these begin."""
    method = section.get("method")
    if method is None:
        return (False,) * len(names.scalars), ()
    places = known_or_default(method, names) if method.is_map() else dict.fromkeys(names.scalars, method)
    chosen = {name: place.node.value for name, place in places.items()}
    turns = [q for q in names.quaternions if all(chosen.get(name) == "slerp" for name in names.vectors[q])]
    turned = {name for q in turns for name in names.vectors[q]}
    for name, word in chosen.items():
        if word == "slerp" and name not in turned:
            detail = f"slerp is for a whole quaternion, and {name!r} is none"
            raise places[name].error(detail, "write linear, or name the quaternion")
    linear = tuple(chosen.get(name) in ("linear", "slerp") for name in names.scalars)
    return linear, tuple(names.scalars.index(f"{q}.0") for q in turns)


def _gaps(root: Cursor, section: Cursor, names: Names, every: int) -> tuple[int, ...]:
    gap = section.get("max_gap")
    if gap is not None and not gap.is_map():
        return (gap.as_duration(zero=False),) * len(names.scalars)
    chosen = known_or_default(gap, names) if gap is not None else {}
    usual = _usual_gaps(root, names, every)
    return tuple(chosen[name].as_duration(zero=False) if name in chosen else usual[name] for name in names.scalars)


def _usual_gaps(root: Cursor, names: Names, every: int) -> dict[str, int]:
    """Four sample periods, at least two grid steps; ten grid steps, without a grid seconds, where no rate is known."""
    gaps: dict[str, int] = {}
    signals = root.get("signals")
    for key, place in signals.items() if signals else ():
        rate = place.number("rate_hz", 0.0)
        usual = max(2.0 * every, 4 * SECOND / rate) if rate > 0 else 10.0 * (every or SECOND)
        gaps |= dict.fromkeys(names.expand(key) or (), math.ceil(min(usual, MAX_DURATION_NS)))
    return gaps
