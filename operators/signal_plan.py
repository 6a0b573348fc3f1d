"""Twin types compiled for decoding: which signal a name on the wire means, and what its values must keep to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from operators.byte_index import ByteIndex, Table
from operators.definition import Signal, TwinType
from operators.types import F64, I64, U8

NORM_TOLERANCE = 1e-3
"""How far the length of a quaternion may be from 1."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a name on the wire may carry.

    Attributes:
        scalar: signal of a plain number, -1 where a number is not expected.
        elements: signals of a list, in order; empty where a list is not expected.
        declared: the list is a vector of the type, so its length is law.
        unit_norm: the list is a quaternion.
    """

    scalar: int = -1
    elements: tuple[int, ...] = ()
    declared: bool = False
    unit_norm: bool = False


class Columns(NamedTuple):
    """All types for a kernel; flat signal = base[type] + signal, width = signals of a type.

    `scalar` to `declared` go by the number of a name.
    """

    names: Table
    base: I64
    width: I64
    trusted: U8
    low: F64
    high: F64
    alone: U8
    sentinel_at: I64
    sentinels: F64
    scalar: I64
    list_at: I64
    list_length: I64
    unit_norm: U8
    declared: U8
    elements: I64


class Plan:
    """One twin type for the row by row path.

    >>> plan = Plan(TwinType("imu", 1, tuple(Signal(f"gyro.{i}") for i in range(3))))
    >>> plan.names["gyro"].elements, plan.names["gyro.1"].scalar
    ((0, 1, 2), 1)
    """

    def __init__(self, twin_type: TwinType) -> None:
        self.type = twin_type
        self.signals = len(twin_type.signals)
        self.names = _names(twin_type)
        self.norms = [n.elements for n in self.names.values() if n.unit_norm]

    def fault(self, signal: int, value: float) -> str:
        """Why a finite value cannot be a reading of the signal, "" where it can; a sentinel always can."""
        spec = self.type.signals[signal]
        if spec.low <= value <= spec.high or value in spec.sentinels:
            return ""
        return f"{spec.name} = {value!r} is outside {spec.low:g} ... {spec.high:g} {spec.unit}"


def norm_fault(values: Sequence[float]) -> bool:
    """Whether a quaternion's length is off by more than NORM_TOLERANCE."""
    total = 0.0
    for value in values:
        total += value * value
    return not abs(math.sqrt(total) - 1.0) <= NORM_TOLERANCE


def _names(twin_type: TwinType) -> dict[str, Name]:
    index = twin_type.index
    declared = {v.name: v for v in twin_type.vectors}
    bases = dict.fromkeys([*declared, *(_base(s) for s in twin_type.signals if _base(s))])
    lists: dict[str, tuple[int, ...]] = {}
    for base in bases:
        elements: list[int] = []
        while (name := f"{base}.{len(elements)}") in index:
            elements.append(index[name])
        lists[base] = tuple(elements[: declared[base].length] if base in declared else elements)
    names: dict[str, Name] = {}
    for name in dict.fromkeys([*index, *lists]):
        vector = declared.get(name)
        names[name] = Name(
            scalar=index.get(name, -1),
            elements=lists.get(name, ()),
            declared=vector is not None,
            unit_norm=vector is not None and vector.unit_norm,
        )
    return names


def _base(signal: Signal) -> str:
    base, dot, element = signal.name.rpartition(".")
    return base if dot and element == "0" else ""


class Plans:
    """The plans of all types of a shard; `columns` is rebuilt as types appear."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self._build()

    def add(self, twin_type: TwinType) -> None:
        """The next type; its number is its place."""
        self.plans.append(Plan(twin_type))
        self._build()

    def _build(self) -> None:
        names = ByteIndex()
        entries: list[Name] = []
        signals = [s for plan in self.plans for s in plan.type.signals]
        counts = [plan.signals for plan in self.plans]
        alone: list[bool] = []
        for number, plan in enumerate(self.plans):
            in_norm = {e for elements in plan.norms for e in elements}
            alone += [i not in in_norm for i in range(plan.signals)]
            for name, entry in plan.names.items():
                names.add(name.encode(), number)
                entries.append(entry)
        lengths = [len(e.elements) for e in entries]
        sentinels = [len(s.sentinels) for s in signals]
        self.columns = Columns(
            names=names.table,
            base=np.cumsum([0, *counts], dtype=np.int64)[: len(counts)],
            width=np.array(counts, np.int64),
            trusted=np.array([p.type.clock == "trusted" for p in self.plans], np.uint8),
            low=np.array([s.low for s in signals], np.float64),
            high=np.array([s.high for s in signals], np.float64),
            alone=np.array(alone, np.uint8),
            sentinel_at=np.cumsum([0, *sentinels], dtype=np.int64),
            sentinels=np.array([x for s in signals for x in s.sentinels], np.float64),
            scalar=np.array([e.scalar for e in entries], np.int64),
            list_at=np.cumsum([0, *lengths], dtype=np.int64)[: len(lengths)],
            list_length=np.array(lengths, np.int64),
            unit_norm=np.array([e.unit_norm for e in entries], np.uint8),
            declared=np.array([e.declared for e in entries], np.uint8),
            elements=np.array([i for e in entries for i in e.elements], np.int64),
        )
