"""Signals, vectors and calibrations of a twin type, read from a document that its schema has passed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from operators.definition import Calibration, Signal, Vector
from operators.definition_check import Cursor, nearest
from operators.types import F64
from operators.units import UnitError, unit

MAX_SIGNALS = 1024
RESERVED = ("device", "ts_ns", "skew_ns", "degraded", "default")
"""Columns of the rows table that stand beside the signals, and the word for all signals in `align`."""

_INF = float("inf")


class Names:
    """What a type calls its signals: scalars by name, and vectors that stand for all their elements.

    >>> names = Names((Signal("t"), Signal("imu.0"), Signal("imu.1")), (Vector("imu", 2),))
    >>> names.expand("imu"), names.expand("t"), names.expand("x")
    (('imu.0', 'imu.1'), ('t',), None)
    """

    def __init__(self, signals: Iterable[Signal], vectors: Iterable[Vector]) -> None:
        self.scalars = tuple(signal.name for signal in signals)
        self._parts: dict[str, tuple[str, ...]] = {name: (name,) for name in self.scalars}
        declared = tuple(vectors)
        self.vectors = {v.name: tuple(f"{v.name}.{i}" for i in range(v.length)) for v in declared}
        self.quaternions = tuple(v.name for v in declared if v.unit_norm)

    def expand(self, name: str) -> tuple[str, ...] | None:
        """The signals behind a name; None for an unknown one."""
        return self._parts.get(name) or self.vectors.get(name)

    def of(self, place: Cursor, name: str) -> tuple[str, ...]:
        """As expand, but an unknown name is refused here with the nearest known one."""
        found = self.expand(name)
        if found is None:
            raise place.error(f"unknown signal {name!r}", nearest(name, [*self.vectors, *self.scalars]))
        return found

    def one(self, place: Cursor, name: str) -> str:
        """A name that must be a single signal."""
        found = self.of(place, name)
        if name in self.vectors and name not in self._parts:
            raise place.error(f"{name!r} is a vector of {len(found)}", f"name one element, e.g. {found[0]!r}")
        return found[0]

    def listed(self, place: Cursor) -> tuple[str, ...]:
        """The signals of a list, or all of them; naming one twice is refused."""
        if place.node.value == "all":
            return self.scalars
        names: dict[str, None] = {}
        for item in place:
            for name in self.of(item, str(item.node.value)):
                if name in names:
                    raise item.error(f"names {name!r} twice", "keep one of them")
                names[name] = None
        return tuple(names)


def read_signals(root: Cursor, components: Sequence[str]) -> tuple[tuple[Signal, ...], tuple[Vector, ...]]:
    """Signals in file order, vectors unfolded in place.

    Raises:
        DefinitionError: unknown unit or component, a bad range, two signals of one name, too many signals.
    """
    section = root.get("signals")
    signals: dict[str, Signal] = {}
    vectors: list[Vector] = []
    for name, place in section.items() if section else ():
        length = _length(place)
        if length:
            vectors.append(Vector(name, length, place.flag("quaternion")))
        for signal in _elements(name, length, place, components):
            if signal.name in signals:
                raise place.error(f"its signal {signal.name!r} exists already", "rename one of them")
            if signal.name in RESERVED:
                raise place.error("is a name of twinflow's own", "rename it")
            signals[signal.name] = signal
        if len(signals) > MAX_SIGNALS:
            raise place.error(f"brings the type to over {MAX_SIGNALS} signals", "split the type")
    return tuple(signals.values()), tuple(vectors)


def _length(place: Cursor) -> int:
    """Elements of a vector; 0 for a scalar."""
    quaternion = place.flag("quaternion")
    length = place.whole("length", 4 if quaternion else 0)
    if quaternion and length != 4:
        raise (place.get("length") or place).error(
            f"a quaternion has 4 elements, not {length}", "write 4, or leave it out"
        )
    return length


def _elements(name: str, length: int, place: Cursor, components: Sequence[str]) -> list[Signal]:
    component = place.text("component")
    if component and component not in components:
        raise (place.get("component") or place).error(
            f"unknown component {component!r}", nearest(component, components)
        )
    sentinels = place.get("sentinels")
    units = _units(place, length)
    ranges, normals = _pairs(place, "range", length), _pairs(place, "normal", length)
    for (low, high), (normal_low, normal_high) in zip(ranges, normals, strict=True):
        if (math.isfinite(normal_low) and normal_low < low) or (math.isfinite(normal_high) and normal_high > high):
            fix = f"keep it within [{low:g}, {high:g}]"
            raise (place.get("normal") or place).error("reaches outside of range", fix)
    return [
        Signal(
            name=f"{name}.{i}" if length else name,
            unit=units[i],
            rate_hz=place.number("rate_hz", 0.0),
            low=ranges[i][0],
            high=ranges[i][1],
            normal_low=normals[i][0],
            normal_high=normals[i][1],
            sentinels=sentinels.floats() if sentinels else (),
            stuck_after_ns=place.duration("stuck_after", 0),
            component=component,
        )
        for i in range(length or 1)
    ]


def _units(place: Cursor, length: int) -> list[str]:
    """The unit of each element."""
    entry, n = place.get("unit"), length or 1
    if entry is None:
        return ["1"] * n
    items = list(entry)
    if entry.is_list() and len(items) != n:
        raise entry.error(f"has {len(items)} units for {n} elements", "write one unit, or one per element")
    for item in items:
        try:
            unit(str(item.node.value))
        except UnitError as e:
            raise item.error(e.detail, e.fix) from None
    texts = [str(item.node.value) for item in items]
    return texts if entry.is_list() else texts * n


def _pairs(place: Cursor, key: str, length: int) -> list[tuple[float, float]]:
    """[low, high] per element."""
    n = length or 1
    entry = place.get(key)
    if entry is None:
        return [(-_INF, _INF)] * n
    items = list(entry)
    nested = items[0].is_list()
    if nested and len(items) != n:
        raise entry.error(f"has {len(items)} pairs for {n} elements", "write one pair, or one per element")
    pairs: list[tuple[float, float]] = []
    for item in items if nested else [entry]:
        low, high = item.bounds()
        if not low < high:
            raise item.error(f"low {low:g} is not below high {high:g}", "write [low, high]")
        pairs.append((low, high))
    return pairs if nested else pairs * n


def read_calibrations(place: Cursor, names: Names) -> tuple[Calibration, ...]:
    """The calibrations under the key `calibration`.

    Raises:
        DefinitionError: unknown signals, one signal in two calibrations, or a shape that does not fit.
    """
    section = place.get("calibration")
    found: list[Calibration] = []
    taken: dict[str, str] = {}
    for label, entry in section.items() if section else ():
        listed = entry.get("signals")
        signals = names.listed(listed) if listed else names.of(entry, label)
        for name in signals:
            if name in taken:
                raise entry.error(f"signal {name!r} is calibrated by {taken[name]!r} already", "keep one of them")
            taken[name] = label
        found.append(Calibration(signals, _matrix(entry, len(signals)), _bias(entry, len(signals))))
    return tuple(found)


def read_device_calibrations(
    root: Cursor, names: Names, common: Sequence[Calibration]
) -> dict[str, tuple[Calibration, ...]]:
    """Per device its own calibrations, after those of the type that share no signal with them."""
    section = root.get("devices")
    merged: dict[str, tuple[Calibration, ...]] = {}
    for device, place in section.items() if section else ():
        own = read_calibrations(place, names)
        taken = {name for calibration in own for name in calibration.signals}
        merged[device] = (*(c for c in common if taken.isdisjoint(c.signals)), *own)
    return merged


def _matrix(entry: Cursor, n: int) -> F64:
    place = entry.get("matrix")
    if place is None:
        return _fixed(np.eye(n))
    if not place.is_list():
        (scale,) = place.floats()
        return _fixed(_finite(place, scale * np.eye(n)))
    rows = [row.floats() for row in place]
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        raise place.error(f"has rows of {widths[0]} and of {widths[-1]} numbers", "give every row the same length")
    shape = (len(rows), widths[0])
    if shape not in ((n, n), (n + 1, n + 1)):
        detail = f"matrix is {shape[0]}x{shape[1]} for {n} {'signal' if n == 1 else 'signals'}"
        raise place.error(detail, f"give it {n}x{n}, or {n + 1}x{n + 1} (homogeneous)")
    return _fixed(_finite(place, np.array(rows, dtype=np.float64)))


def _bias(entry: Cursor, n: int) -> F64:
    place = entry.get("bias")
    if place is None:
        return _fixed(np.zeros(n))
    values = place.floats()
    if place.is_list() and len(values) != n:
        raise place.error(f"bias has {len(values)} numbers for {n} {'signal' if n == 1 else 'signals'}", f"give it {n}")
    return _fixed(_finite(place, np.array(values if place.is_list() else values * n, dtype=np.float64)))


def _finite(place: Cursor, values: F64) -> F64:
    if not np.isfinite(values).all():
        raise place.error("holds an infinite number", "write finite ones")
    return values


def _fixed(values: F64) -> F64:
    values.flags.writeable = False
    return values


def known_or_default(section: Cursor, names: Names) -> Mapping[str, Cursor]:
    """A map of one value per signal: `default`, vectors and scalars by name, the narrower name winning."""
    wide: dict[str, Cursor] = {}
    narrow: dict[str, Cursor] = {}
    for key, place in section.items():
        if key == "default":
            wide.update(dict.fromkeys(names.scalars, place) | wide)
        elif key in names.scalars:
            narrow[key] = place
        else:
            wide.update(dict.fromkeys(names.of(place, key), place))
    return wide | narrow
