"""A mapping against the twin type of a device: which of its signals there are, and how their values are converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from connectors.recordings.faults import RecordingError, nearest
from connectors.recordings.mapping import Mapping, Source
from operators.definition import TwinType
from operators.units import UnitError, conversion

TypeOf: TypeAlias = Callable[[str], TwinType | None]
Scale: TypeAlias = tuple[float, float]
SAME: Scale = (1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Bound:
    """`scales[signal]`: factor and offset for each element; `unknown`: signals that the type does not have."""

    twin_type: TwinType | None
    scales: dict[str, tuple[Scale, ...]]
    unknown: tuple[str, ...] = ()


class Binder:
    """Binds a mapping to the types of its devices; without `type_of` nothing is checked and nothing converted."""

    def __init__(self, mapping: Mapping, type_of: TypeOf | None) -> None:
        self.mapping, self.type_of = mapping, type_of
        self._bound: dict[str, Bound] = {}
        self._by_type: dict[str, Bound] = {}

    def of(self, device: str) -> Bound:
        """What holds for a device.

        Raises:
            RecordingError: no type fits the device, or the type knows none of the signals.
            MappingError: a unit is of another kind than the type's, a vector of another length, a signal comes twice.
        """
        if device not in self._bound:
            self._bound[device] = self._bind(device)
        return self._bound[device]

    def _bind(self, device: str) -> Bound:
        if self.type_of is None:
            return Bound(None, {name: (SAME,) * len(s.names) for name, s in self.mapping.signals.items()})
        twin_type = self.type_of(device)
        if twin_type is None:
            fix = "name a device of a known type with --device, or add a pattern to models/twins/fleet.yaml"
            raise RecordingError(what=f"device {device!r}", why="no twin type fits it", fix=fix)
        if twin_type.name not in self._by_type:
            self._by_type[twin_type.name] = self._against(twin_type)
        return self._by_type[twin_type.name]

    def _against(self, twin_type: TwinType) -> Bound:
        scales: dict[str, tuple[Scale, ...]] = {}
        unknown: list[str] = []
        fed: dict[str, str] = {}
        for name, source in self.mapping.signals.items():
            elements = self._elements(name, source, twin_type)
            if elements is None:
                unknown.append(name)
            for element in elements or ():
                if element in fed:
                    detail = f"{element!r} comes from {fed[element]!r} too"
                    raise self.mapping.error(f"signals.{name}", detail, "take one of them out")
                fed[element] = name
            scales[name] = tuple(map(self._scale(name, source, twin_type), elements or ())) or (SAME,) * len(
                source.names
            )
        if len(unknown) == len(scales):
            fix = nearest(unknown[0], twin_type.index)
            why = f"the twin type {twin_type.name!r} has none of its signals, such as {unknown[0]!r}"
            raise RecordingError(what=self.mapping.source, why=why, fix=fix)
        return Bound(twin_type, scales, tuple(unknown))

    def _elements(self, name: str, source: Source, twin_type: TwinType) -> list[str] | None:
        """Signals of the type that a source feeds, None where the type does not know it."""
        if not source.vector:
            vector = next((v for v in twin_type.vectors if v.name == name), None)
            if vector is not None:
                detail = f"is a number, but a vector of {vector.length} in {twin_type.name!r}"
                raise self.mapping.error(f"signals.{name}", detail, "give columns or fields, one per element")
            return [name] if name in twin_type.index else None
        elements = [f"{name}.{i}" for i in range(len(source.names))]
        vector = next((v for v in twin_type.vectors if v.name == name), None)
        known = vector.length if vector else sum(f"{name}.{i}" in twin_type.index for i in range(len(elements) + 1))
        if name in twin_type.index or (known and known != len(elements)):
            detail = f"has {len(elements)} elements, but {known or 'is a number'} in {twin_type.name!r}"
            raise self.mapping.error(f"signals.{name}", detail, "list one column or field per element")
        return elements if known else None

    def _scale(self, name: str, source: Source, twin_type: TwinType) -> Callable[[str], Scale]:
        def one(element: str) -> Scale:
            target = twin_type.signals[twin_type.index[element]].unit
            try:
                return conversion(source.unit, target)
            except UnitError:
                detail = f"is {source.unit!r}, but {target!r} in the twin type {twin_type.name!r}, of another kind"
                raise self.mapping.error(f"signals.{name}.unit", detail, "correct the unit") from None

        return one
