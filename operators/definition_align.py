"""The `align` section of a twin type."""

from __future__ import annotations

import math

from operators.definition import SECOND, AlignSpec
from operators.definition_check import MAX_DURATION_NS, Cursor
from operators.definition_signals import Names, known_or_default


def read_align(root: Cursor, names: Names) -> AlignSpec | None:
    """The grid of rows; None where the type has no `align`.

    Raises:
        DefinitionError: a duration of zero or an unknown signal.
    """
    section = root.get("align")
    if section is None:
        return None
    every = section.duration("every", SECOND, zero=False)
    required = section.get("required")
    needed = set(names.listed(required)) if required else set()
    skew = section.get("max_skew")
    return AlignSpec(
        every_ns=every,
        linear=_linear(section, names),
        max_gap_ns=_gaps(root, section, names, every),
        required=tuple(name in needed for name in names.scalars),
        max_skew_ns=skew.as_duration() if skew else None,
    )


def _linear(section: Cursor, names: Names) -> tuple[bool, ...]:
    method = section.get("method")
    if method is None:
        return (False,) * len(names.scalars)
    if not method.is_map():
        return (method.node.value == "linear",) * len(names.scalars)
    chosen = known_or_default(method, names)
    return tuple(name in chosen and chosen[name].node.value == "linear" for name in names.scalars)


def _gaps(root: Cursor, section: Cursor, names: Names, every: int) -> tuple[int, ...]:
    gap = section.get("max_gap")
    if gap is not None and not gap.is_map():
        return (gap.as_duration(zero=False),) * len(names.scalars)
    chosen = known_or_default(gap, names) if gap is not None else {}
    usual = _usual_gaps(root, names, every)
    return tuple(chosen[name].as_duration(zero=False) if name in chosen else usual[name] for name in names.scalars)


def _usual_gaps(root: Cursor, names: Names, every: int) -> dict[str, int]:
    """Four sample periods, at least two grid steps; ten grid steps where the rate is not known."""
    gaps: dict[str, int] = {}
    signals = root.get("signals")
    for key, place in signals.items() if signals else ():
        rate = place.number("rate_hz", 0.0)
        usual = max(2.0 * every, 4 * SECOND / rate) if rate > 0 else 10.0 * every
        gaps |= dict.fromkeys(names.expand(key) or (), math.ceil(min(usual, MAX_DURATION_NS)))
    return gaps
