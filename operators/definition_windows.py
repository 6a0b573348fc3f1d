"""The `window` and `windows` sections of a twin type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from operators.definition import SECOND, NamedWindow, Signal, WindowSpec, waves
from operators.definition_check import Cursor
from operators.definition_react import refuse_twice
from operators.definition_signals import Names

MAX_WINDOWS_PER_SAMPLE = 1000
MAX_OPEN = 1000
"""Windows of one signal that may be open at once; with quantiles each takes 3 kB."""
MAX_WAVES = 1000
_KINDS: dict[str, Literal["time", "session", "count"]] = {"length": "time", "session": "session", "count": "count"}


def read_window(root: Cursor) -> WindowSpec:
    """The window every type has.

    Raises:
        DefinitionError: a hop longer than the window, or far too short for it.
    """
    section, usual = root.get("window"), WindowSpec()
    if section is None:
        return usual
    return _times(section, usual.wait_ns if section.get("lateness") is None else section.duration("lateness", 0))


def _times(section: Cursor, wait_ns: int) -> WindowSpec:
    usual = WindowSpec()
    length = section.duration("length", usual.length_ns, zero=False)
    hop = section.duration("hop", length, zero=False)
    if hop > length:
        raise (section.get("hop") or section).error(
            "is longer than length, so samples would fall between windows", "shorten it"
        )
    if length > hop * MAX_WINDOWS_PER_SAMPLE:
        detail = f"puts every sample into over {MAX_WINDOWS_PER_SAMPLE} windows"
        raise (section.get("hop") or section).error(detail, "lengthen it")
    return WindowSpec(length, hop, wait_ns, section.duration("allowed_lateness", usual.allowed_lateness_ns))


def read_windows(root: Cursor, names: Names, window: WindowSpec, signals: Sequence[Signal]) -> tuple[NamedWindow, ...]:
    """The named windows in file order; all wait as long as `window` does.

    Raises:
        DefinitionError: an id used twice, not exactly one kind, an unknown signal, times or bands that do not fit.
    """
    found: list[NamedWindow] = []
    by_name = {s.name: s for s in signals}
    for place in root.get("windows") or ():
        refuse_twice(place, [w.id for w in found])
        found.append(_named(place, names, window, by_name))
    return tuple(found)


def _named(place: Cursor, names: Names, window: WindowSpec, by_name: dict[str, Signal]) -> NamedWindow:
    given = [key for key in _KINDS if place.get(key)]
    if len(given) != 1:
        raise place.error(f"has {' and '.join(given) or 'none'} of length, session, count", "write exactly one of them")
    kind = _KINDS[given[0]]
    for key in {"time": (), "session": ("hop", "bands"), "count": ("hop", "bands", "allowed_lateness")}[kind]:
        if entry := place.get(key):
            raise entry.error(f"means nothing for a window by {given[0]}", "remove it")
    listed = place.get("signals")
    chosen = names.listed(listed) if listed else names.scalars
    if not chosen:
        raise (listed or place).error("names no signal", "list at least one")
    times = _time_of(place, kind, window)
    kept = times.wait_ns + times.allowed_lateness_ns + times.length_ns
    if kept > times.hop_ns * MAX_OPEN:
        detail = f"would keep over {MAX_OPEN} windows of a signal open (lateness + allowed_lateness + length)"
        raise (place.get("hop") or place.get(given[0]) or place).error(detail, "lengthen it, or shorten the others")
    quantiles = place.get("quantiles")
    return NamedWindow(
        id=place.text("id"),
        kind=kind,
        signals=chosen,
        times=times,
        count=place.whole("count", 0),
        quantiles=quantiles.floats() if quantiles else (),
        crest=place.flag("crest"),
        bands=_bands(place, times.length_ns, [by_name[name] for name in chosen]),
    )


def _time_of(place: Cursor, kind: str, window: WindowSpec) -> WindowSpec:
    if kind == "time":
        return _times(place, window.wait_ns)
    if kind == "count":
        return WindowSpec(wait_ns=window.wait_ns)
    pause = place.duration("session", SECOND, zero=False)
    return WindowSpec(pause, pause, window.wait_ns, place.duration("allowed_lateness", 0))


def _bands(place: Cursor, length_ns: int, signals: Sequence[Signal]) -> tuple[tuple[float, float], ...]:
    found: list[tuple[float, float]] = []
    section = place.get("bands")
    for item in section or ():
        low, high = item.bounds()
        for signal in signals:
            if signal.rate_hz < 2.0 * high:
                rate = f"{signal.rate_hz:g} Hz" if signal.rate_hz else "a rate that is not known (rate_hz)"
                detail = f"{high:g} Hz is over half of {rate}, at which {signal.name!r} is sampled"
                raise item.error(detail, "lower it, or list other signals")
        if not 0.0 <= low < high or not waves(low, high, length_ns):
            detail = f"[{low:g}, {high:g}) holds no multiple of {SECOND / length_ns:g} Hz, which is 1 / length"
            raise item.error(detail, "widen it, or lengthen the window")
        found.append((low, high))
    if section and sum(len(waves(*band, length_ns)) for band in found) > MAX_WAVES:
        detail = f"take over {MAX_WAVES} frequencies (width times length)"
        raise section.error(detail, "narrow them, or shorten the window")
    if section and max(waves(*band, length_ns)[-1] for band in found) * length_ns >= 2**63:
        raise section.error("reach too far for so long a window", "shorten the window")
    return tuple(found)
