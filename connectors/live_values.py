"""The latest value of every signal of every twin, and the last minutes of it, held in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from connectors.live_arena import Arena
from connectors.live_rows import Block
from operators.definition import Signal, TwinType
from operators.types import F64, I32, I64, NO_TIME, U8, Mask, Quality

MOST_TWINS = 20_000
MOST_SERIES = 1 << 18
MOST_BLOCK_KINDS = 4096
MADE_UP_SIGNALS = 64
"""Signals of a type that is in no file: room for that many is kept, as they come to be known one by one."""
NO_READING = int(Quality.SENTINEL) | int(Quality.DENORMAL)


@dataclass(slots=True)
class Twin:
    """One device that was heard of; its signals are the series base ... base + len(type.signals) - 1."""

    number: int
    name: str
    type: TwinType
    base: int
    shard: str = ""


@dataclass(frozen=True, slots=True)
class NewRows:
    """Samples that just came, n rows in log order: series int64[n], twin int32[n], ts, value (NaN: no reading)."""

    series: I64
    twin: I32
    ts: I64
    value: F64
    quality: U8


@dataclass(slots=True)
class _Known:
    """What the codes of a block's dictionaries mean, kept as long as the next block carries the same ones."""

    devices: Any
    signals: Any
    base: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    column: I64 = field(default_factory=lambda: np.zeros(0, np.int64))


LEAST_SILENCE_NS = 5_000_000_000


class LiveValues:
    """All that `twin-live` said, bounded: at most MOST_TWINS twins, and an arena of points of fixed size.

    Args:
        types: twin types by name; a type that is not among them is made up from the signals that come (version 0).
        arena: where the points for charts go.
    """

    def __init__(self, types: Mapping[str, TwinType], arena: Arena | None = None) -> None:
        self.types = dict(types)
        self.arena = arena or Arena()
        self.twins: list[Twin] = []
        self.index: dict[str, int] = {}
        self.left_out: set[str] = set()
        self.unknown_signals = 0
        self._known: dict[tuple[str, str], _Known] = {}
        self._series = 0
        self._room(256, 64)

    def _room(self, series: int, twins: int) -> None:
        self.ts: I64 = np.full(series, NO_TIME, np.int64)
        self.arrival: I64 = np.full(series, NO_TIME, np.int64)
        self.value: F64 = np.full(series, np.nan)
        self.quality: U8 = np.zeros(series, np.uint8)
        self.twin_of: I32 = np.full(series, -1, np.int32)
        self.heard: I64 = np.full(twins, NO_TIME, np.int64)
        self.limit_ns: I64 = np.zeros(twins, np.int64)

    def _grow(self) -> None:
        for name in ("ts", "arrival", "value", "quality", "twin_of"):
            setattr(self, name, _longer(getattr(self, name), self._series))
        for name in ("heard", "limit_ns"):
            setattr(self, name, _longer(getattr(self, name), len(self.twins)))
        self.arena.hold(self._series)

    def twin(self, name: str) -> Twin | None:
        """The twin of that name, if it was heard of."""
        number = self.index.get(name)
        return None if number is None else self.twins[number]

    def meet(self, name: str, type_name: str, signals: Any = (), shard: str = "") -> Twin | None:
        """The twin of that name, made known where it is new; None when there are too many.

        Args:
            signals: names of its signals, where the type is not known.
        """
        held = self.twin(name)
        if held is not None and (not type_name or held.type.name == type_name):
            held.shard = shard or held.shard
            return held
        kind = self.types.get(type_name)
        if kind is None:
            kind = self.types[type_name] = TwinType(
                type_name, 0, tuple(Signal(str(s)) for s in signals)[:MADE_UP_SIGNALS]
            )
        n = MADE_UP_SIGNALS if kind.version == 0 else len(kind.signals)
        if (held is None and len(self.twins) >= MOST_TWINS) or self._series + n > MOST_SERIES:
            if len(self.left_out) < MOST_TWINS:
                self.left_out.add(name)
            return None
        number = len(self.twins) if held is None else held.number
        made = Twin(number, name, kind, self._series, shard)
        if held is None:
            self.twins.append(made)
            self.index[name] = number
        else:
            self.twins[number] = made
            self._known.clear()
        self._series += n
        self._grow()
        self.twin_of[made.base : self._series] = number
        self.limit_ns[number] = silence_limit_ns(kind)
        return made

    def push(self, blocks: Sequence[tuple[Block, str, str]]) -> NewRows:
        """Take the samples of blocks with their twin type and shard, all at once: small blocks cost little more."""
        series = np.concatenate([self._series_of(*block) for block in blocks])
        good = series >= 0
        self.unknown_signals += int(good.size - np.count_nonzero(good))
        series = series[good]
        twin = self.twin_of[series]
        ts, arrival, value, quality = (
            np.concatenate([getattr(block, name) for block, _, _ in blocks])[good]
            for name in ("ts", "arrival", "value", "quality")
        )
        value = np.where(quality & NO_READING, np.nan, value)
        np.maximum.at(self.heard, twin, arrival)
        read = ~np.isnan(value)
        self._latest(series[read], ts[read], arrival[read], value[read], quality[read])
        self.arena.add(series[read], ts[read], value[read])
        return NewRows(series, twin, ts, value, quality)

    def _latest(self, series: I64, ts: I64, arrival: I64, value: F64, quality: U8) -> None:
        order = np.lexsort((ts, series))
        s = series[order]
        rows = order[np.append(s[1:] != s[:-1], True)] if s.size else order
        rows = rows[ts[rows] >= self.ts[series[rows]]]
        at = series[rows]
        self.ts[at], self.arrival[at], self.value[at], self.quality[at] = (
            ts[rows], arrival[rows], value[rows], quality[rows],
        )  # fmt: skip

    def seed(self, twin: Twin, signal: str, ts: int, arrival: int, value: float, quality: int) -> None:
        """A value from a stored state, used where nothing newer came; it is no sign of life by itself."""
        column = twin.type.index.get(signal, -1)
        if column >= 0 and ts > self.ts[twin.base + column]:
            s = twin.base + column
            self.ts[s], self.arrival[s], self.value[s], self.quality[s] = ts, arrival, value, quality
        self.heard[twin.number] = max(int(self.heard[twin.number]), arrival)

    def _series_of(self, block: Block, twin_type: str, shard: str) -> I64:
        known = self._meaning(block, twin_type, shard)
        base, column = known.base[block.device], known.column[block.signal]
        return np.where((base >= 0) & (column >= 0), base + column, -1)

    def _meaning(self, block: Block, twin_type: str, shard: str) -> _Known:
        known = self._known.get((shard, twin_type))
        if known is None or not known.signals.equals(block.signals):
            signals = block.signals.to_pylist()
            self._extend(twin_type, signals)
            devices = [self.meet(name, twin_type, signals, shard) for name in block.devices.to_pylist()]
            index = next((t.type.index for t in devices if t is not None), {})
            known = _Known(None, block.signals)
            known.column = np.array([index.get(s, -1) for s in signals], np.int64)
            if len(self._known) >= MOST_BLOCK_KINDS:
                self._known.clear()
            self._known[shard, twin_type] = known
        if known.devices is None or not known.devices.equals(block.devices):
            met = [self.meet(name, twin_type, (), shard) for name in block.devices.to_pylist()]
            known.base = np.array([-1 if t is None else t.base for t in met], np.int64)
            known.devices = block.devices
        return known

    def _extend(self, type_name: str, signals: list[str]) -> None:
        """A made-up type learns signals that its earlier blocks did not have."""
        kind = self.types.get(type_name)
        if kind is None or kind.version:
            return
        new = [Signal(s) for s in signals if s not in kind.index]
        room = MADE_UP_SIGNALS - len(kind.signals)
        if new[:room]:
            kind = self.types[type_name] = TwinType(type_name, 0, kind.signals + tuple(new[:room]))
            for twin in self.twins:
                if twin.type.name == type_name:
                    twin.type = kind

    def offline(self, now_ns: int) -> Mask:
        """bool[twins]: nothing came for longer than the type allows."""
        heard, limit = self.heard[: len(self.twins)], self.limit_ns[: len(self.twins)]
        silent: Mask = (heard == NO_TIME) | (now_ns - np.maximum(heard, 0) > limit)
        return silent


def silence_limit_ns(kind: TwinType) -> int:
    """How long a twin may be silent: 3 periods of its fastest signal + 0.35 s, at least LEAST_SILENCE_NS; its idle
    time-out where none has a rate. A value is old much sooner; a twin is not gone because the broker took a breath.

    >>> silence_limit_ns(TwinType("probe", 1, (Signal("a", rate_hz=10.0), Signal("b", rate_hz=0.1))))
    5000000000
    """
    fastest = max((s.rate_hz for s in kind.signals), default=0.0)
    return max(stale_limit_ns(fastest), LEAST_SILENCE_NS) if fastest > 0 else kind.idle_timeout_ns


def stale_limit_ns(rate_hz: float) -> int:
    """Age from which a value of a signal of this rate counts as old."""
    return int(3e9 / rate_hz) + 350_000_000


def _longer(column: Any, needed: int) -> Any:
    if needed <= column.size:
        return column
    more = np.empty(max(needed, 2 * column.size), column.dtype)
    more[: column.size] = column
    kind = column.dtype.kind
    empty = NO_TIME if column.dtype == np.int64 else np.nan if kind == "f" else -1 if kind == "i" else 0
    more[column.size :] = empty
    return more
