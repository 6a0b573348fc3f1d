"""Which devices a shard has met: name to (twin type, dense device id), in order of first appearance."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from operators.byte_index import ByteIndex
from operators.definition import TwinType
from operators.errors import ContractError, StateError
from operators.signal_plan import Plans
from operators.types import I32, State

MAX_DEVICES = 1_000_000


class Roster:
    """Numbers the devices of one shard; bounded, so that a flood of made-up names costs dead letters, not memory.

    Args:
        type_of: the twin type of a device name, None where it has none. It must keep its answer for a device that
            was met (the first answer counts); two types of one name are one type.
        max_devices: devices it takes; a further one is refused with `too_many_devices`.

    >>> from operators.definition import Signal
    >>> pump = TwinType("pump", 1, (Signal("a"), Signal("b")))
    >>> roster = Roster(lambda name: pump if name.startswith("p") else None)
    >>> roster.add("p-7"), roster.add("p-8"), roster.place("p-8"), roster.names(0)
    (0, 1, (0, 1), ['p-7', 'p-8'])
    """

    def __init__(self, type_of: Callable[[str], TwinType | None], max_devices: int = MAX_DEVICES) -> None:
        self.type_of = type_of
        self.max_devices = max_devices
        self.index = ByteIndex()
        self.plans = Plans()
        self._names: list[list[str]] = []
        self._types = np.zeros(8, np.int32)
        self._ids = np.zeros(8, np.int32)

    def __len__(self) -> int:
        return self.index.count

    @property
    def types(self) -> list[TwinType]:
        """Twin types by number."""
        return [plan.type for plan in self.plans.plans]

    @property
    def type_numbers(self) -> I32:
        """int32[at least the number of devices]: twin type by device, over all types in order of appearance."""
        return self._types

    @property
    def ids(self) -> I32:
        """int32[...]: id within the type, by device as in `type_numbers`."""
        return self._ids

    def names(self, type_number: int) -> Sequence[str]:
        """Names of the devices of a type, by their id; grows as devices are met, until the next restore."""
        return self._names[type_number]

    def name(self, type_number: int, device: int) -> str:
        """Name of one device."""
        return self._names[type_number][device]

    def number(self, name: str) -> int:
        """Place of a device among all of the shard, -1 where it was never met."""
        return self.index.number(name.encode())

    def place(self, name: str) -> tuple[int, int] | None:
        """Type number and id of a device, None where it was never met."""
        number = self.number(name)
        return None if number < 0 else (int(self._types[number]), int(self._ids[number]))

    def check(self, name: str, where: str = "") -> TwinType:
        """The type of a device that was not met yet, without taking it in.

        Raises:
            ContractError: `unknown_type`, or `too_many_devices` where the shard is full.
        """
        twin_type = self.type_of(name)
        if twin_type is None:
            raise ContractError(reason="unknown_type", where=where, detail=f"no twin type fits device {name[:80]!r}")
        met = next((n for n, t in enumerate(self.types) if t.name == twin_type.name), -1)
        devices = len(self._names[met]) if met >= 0 else 0
        if len(self) >= self.max_devices or (devices + 1) * len(twin_type.signals) > np.iinfo(np.int32).max:
            detail = f"device {name[:80]!r} is new and the shard already has {len(self)}"
            raise ContractError(reason="too_many_devices", where=where, detail=detail)
        return self.types[met] if met >= 0 else twin_type

    def add(self, name: str, where: str = "") -> int:
        """Take in a device that was not met yet; its place among all of the shard.

        Raises:
            ContractError: as `check`.
        """
        twin_type = self.check(name, where)
        known = [t.name for t in self.types]
        if twin_type.name not in known:
            known.append(twin_type.name)
            self.plans.add(twin_type)
            self._names.append([])
        return self._append(name, known.index(twin_type.name))

    def _append(self, name: str, type_number: int) -> int:
        number = self.index.add(name.encode())
        if number >= self._types.size:
            self._types, self._ids = np.resize(self._types, 2 * number), np.resize(self._ids, 2 * number)
        self._types[number], self._ids[number] = type_number, len(self._names[type_number])
        self._names[type_number].append(name)
        return number

    def snapshot(self) -> State:
        """Names (UTF-8 bytes and where each ends), types by device, and the signals each type had (UTF-8 JSON)."""
        kinds = [[t.name, [s.name for s in t.signals]] for t in self.types]
        index = self.index.snapshot()
        return {
            "kinds": np.frombuffer(json.dumps(kinds).encode(), np.uint8).copy(),
            "types": self._types[: len(self)].copy(),
            "text": index["text"],
            "ends": index["ends"],
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot; types are asked for again by the first device of each.

        Raises:
            StateError: a type is gone or its signals are no longer those of the snapshot.
        """
        ends, types = state["ends"], state["types"].astype(np.int32)
        text = state["text"].tobytes()
        starts = [0, *ends.tolist()]
        names = [text[a:b].decode() for a, b in pairwise(starts)]
        self.plans, self._names = Plans(), []
        for number, (kind, signals) in enumerate(json.loads(state["kinds"].tobytes())):
            twin_type = self.type_of(names[int(np.argmax(types == number))])
            if twin_type is None or twin_type.name != kind or [s.name for s in twin_type.signals] != signals:
                fix = "give the type a new name, or start the shard afresh"
                raise StateError(where="roster", detail=f"twin type {kind!r} has changed its signals", fix=fix)
            self.plans.add(twin_type)
            self._names.append([])
        self.index.restore({"text": state["text"], "ends": ends, "owners": np.zeros(ends.size, np.int64)})
        self._types = np.concatenate([types, np.zeros(8, np.int32)])
        self._ids = np.zeros(types.size + 8, np.int32)
        for number, (name, type_number) in enumerate(zip(names, types.tolist(), strict=True)):
            self._ids[number] = len(self._names[type_number])
            self._names[type_number].append(name)
