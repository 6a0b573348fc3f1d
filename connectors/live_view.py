"""What is now, held in memory: latest values, short history, alarms, commands, the pipeline's own words.

`LiveFeed` fills it from Kafka in threads of its own; whoever reads takes `lock` or uses the methods, which do.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from connectors.live_alarms import Alarm, Alarms
from connectors.live_arena import Arena
from connectors.live_commands import Commands
from connectors.live_pipeline import PipelineSums
from connectors.live_records import (
    AlertRecord,
    Arrived,
    CommandRecord,
    DeadLetterRecord,
    GapRecord,
    LedgerRecord,
    StateRecord,
)
from connectors.live_rows import BadBlockError, Block, read_block
from connectors.live_series import Points, reduced
from connectors.live_values import LiveValues, NewRows, Twin
from operators.definition import Fleet
from operators.types import NO_TIME

TwinStatus = Literal["ok", "warn", "alarm", "offline"]
WORST_FIRST: tuple[TwinStatus, ...] = ("alarm", "warn", "offline", "ok")

_alert = msgspec.json.Decoder(AlertRecord)
_command = msgspec.json.Decoder(CommandRecord)
_letter = msgspec.json.Decoder(DeadLetterRecord)
_gap = msgspec.json.Decoder(GapRecord)
_ledger = msgspec.json.Decoder(LedgerRecord)
_state = msgspec.json.Decoder(StateRecord)


class Status(NamedTuple):
    """How one twin is: `since_ns` of its state, None where that is not known; `worst` of its open alarms."""

    twin: Twin
    state: TwinStatus
    since_ns: int | None
    heard_ns: int | None
    worst: Alarm | None
    unacknowledged: int


class LiveView:
    """The live model of all twins.

    Args:
        fleet: which device is of which type.
        clock: wall clock, ns UTC.
        arena: room for points of charts.

    >>> from operators.definition import Signal, TwinType
    >>> pump = TwinType("pump", 1, (Signal("flow", "l/min", rate_hz=1.0),))
    >>> view = LiveView(Fleet((), {"pump": pump}), clock=lambda: 10**18, arena=Arena(points=1024))
    >>> view.statuses()
    []
    """

    def __init__(self, fleet: Fleet, *, clock: Callable[[], int] = time.time_ns, arena: Arena | None = None) -> None:
        self.fleet, self.clock = fleet, clock
        self.lock = threading.RLock()
        self.values = LiveValues(fleet.types, arena)
        self.alarms = Alarms()
        self.commands = Commands(self.alarms)
        self.pipeline = PipelineSums()
        self.unreadable: Counter[str] = Counter()
        self.rows = 0
        self.covered_from_ns = 0
        self.on_rows: Callable[[NewRows], None] | None = None
        self._states: dict[str, bytes] = {}
        self._tracked: dict[str, tuple[TwinStatus, int | None]] = {}

    def take(self, records: Sequence[Arrived]) -> None:
        """Records of any topic, in order of each partition; what cannot be read is counted and left out."""
        blocks: list[tuple[Block, str, str]] = []
        made: NewRows | None = None
        with self.lock:
            for record in records:
                self.pipeline.records[record.topic] += 1
                try:
                    if record.topic == "twin-live":
                        headers = record.headers
                        block = read_block(record.value or b"")
                        blocks.append((block, headers.get("twin-type", ""), headers.get("shard", record.key)))
                    else:
                        self._document(record)
                except (msgspec.MsgspecError, BadBlockError, UnicodeDecodeError):
                    self.unreadable[record.topic] += 1
            if blocks:
                made = self.values.push(blocks)
                self.rows += made.ts.size
        if made is not None and self.on_rows is not None:
            self.on_rows(made)

    def _document(self, record: Arrived) -> None:
        topic, value = record.topic, record.value
        if topic == "twin-states":
            self._state_of(record.key, value)
        elif value is None:
            return
        elif topic == "alerts":
            alert = _alert.decode(value)
            self.alarms.take(alert)
            self.values.meet(alert.device, alert.twin_type or self._type_name(alert.device))
        elif topic == "command-events":
            self.commands.take(_command.decode(value))
        elif topic == "dead-letters":
            self.pipeline.letter(record, _letter.decode(value))
        elif topic == "gaps":
            self.pipeline.gap(record.partition, _gap.decode(value))
        elif topic == "ledger":
            self.pipeline.ledger(_ledger.decode(value), record.arrival_ns)

    def _state_of(self, name: str, value: bytes | None) -> None:
        if value is None:
            self._states.pop(name, None)
            return
        self._states[name] = value
        if self.values.twin(name) is None:
            self._seed(name)

    def _seed(self, name: str) -> None:
        """A twin that was quiet during the look-back has its values from its stored state."""
        state = _state.decode(self._states[name])
        twin = self.values.meet(name, state.twin_type or self._type_name(name), list(state.reported))
        if twin is None:
            del self._states[name]
            return
        for signal, at in state.reported.items():
            if at.value is not None:
                self.values.seed(twin, signal, at.ts_ns, at.arrival_ns, at.value, at.quality)

    def settle(self) -> None:
        """The first fill is done: values of stored states fill what the look-back left open."""
        with self.lock:
            for name in list(self._states):
                try:
                    self._seed(name)
                except msgspec.MsgspecError:
                    self.unreadable["twin-states"] += 1
                    self._states.pop(name, None)

    def _type_name(self, device: str) -> str:
        kind = self.fleet.type_of(device)
        return kind.name if kind is not None else ""

    def has_report(self, name: str) -> bool:
        """Its stored state holds a report that is not empty; far cheaper than reading it."""
        return b'"report":{"' in self._states.get(name, b"")

    def document(self, name: str) -> dict[str, Any]:
        """The stored state of a twin; {} where there is none."""
        stored = self._states.get(name)
        found = msgspec.json.decode(stored) if stored else {}
        return found if isinstance(found, dict) else {}

    def statuses(self) -> list[Status]:
        """All twins, worst first; those of one state by the time since when, then by name."""
        with self.lock:
            now = self.clock()
            self.alarms.end_shelving(now)
            silent = self.values.offline(now).tolist()
            found = [self._status(twin, silent[twin.number], now) for twin in self.values.twins]
        order = {state: i for i, state in enumerate(WORST_FIRST)}
        return sorted(found, key=lambda s: (order[s.state], s.unacknowledged == 0, s.since_ns or 0, s.twin.name))

    def status(self, name: str) -> Status | None:
        """One twin; None where nobody has heard of it."""
        with self.lock:
            twin = self.values.twin(name)
            if twin is None:
                return None
            now = self.clock()
            self.alarms.end_shelving(now)
            return self._status(twin, bool(self.values.offline(now)[twin.number]), now)

    def _status(self, twin: Twin, silent: bool, now_ns: int) -> Status:
        heard = int(self.values.heard[twin.number])
        worst = self.alarms.worst(twin.name)
        state: TwinStatus = "offline" if silent else "ok" if worst is None else worst.severity
        before = self._tracked.get(twin.name)
        if before is None or before[0] != state:
            since = self._since(twin, state, heard, worst, None if before is None else now_ns)
            self._tracked[twin.name] = before = state, since
        unseen = sum(a.acknowledged is None for a in self.alarms.shown(twin.name))
        return Status(twin, state, before[1], None if heard == NO_TIME else heard, worst, unseen)

    def _since(self, twin: Twin, state: TwinStatus, heard: int, worst: Alarm | None, seen_ns: int | None) -> int | None:
        if state == "offline":
            return None if heard == NO_TIME else heard + int(self.values.limit_ns[twin.number])
        if worst is not None:
            return worst.raised_ns
        return self.alarms.last_returned.get(twin.name, seen_ns)

    def latest(self, name: str) -> NewRows | None:
        """The latest value of each signal of a twin that has one."""
        with self.lock:
            twin = self.values.twin(name)
            if twin is None:
                return None
            series = np.arange(twin.base, twin.base + len(twin.type.signals))
            series = series[self.values.ts[series] != NO_TIME]
            v = self.values
            return NewRows(series, v.twin_of[series], v.ts[series], v.value[series], v.quality[series])

    def series(
        self, name: str, signals: Sequence[str], *, from_ns: int, to_ns: int, points: int
    ) -> dict[str, Points] | None:
        """Points of signals; None where the live view does not reach back to `from_ns` (the history does).

        Raises:
            KeyError: the twin or a signal is not known.
        """
        with self.lock:
            twin = self.values.twin(name)
            if twin is None:
                raise KeyError(name)
            arena, found = self.values.arena, {}
            for signal in signals:
                series = twin.base + twin.type.index[signal]
                t, v = arena.read(series)
                whole = not arena.wrapped(series) and from_ns >= self.covered_from_ns
                if not whole and not (t.size and int(t[0]) <= from_ns):
                    return None
                found[signal] = reduced(t, v, from_ns=from_ns, to_ns=to_ns, points=points)
            return found

    def watermarks(self) -> dict[str, int]:
        """By shard: newest event time less the type's wait of the slowest twin that is not silent, ns UTC."""
        found: dict[str, int] = {}
        with self.lock:
            silent = self.values.offline(self.clock())
            for twin in self.values.twins:
                n = len(twin.type.signals)
                if silent[twin.number] or not n or not twin.shard:
                    continue
                newest = int(self.values.ts[twin.base : twin.base + n].max())
                if newest != NO_TIME:
                    mark = newest - twin.type.window.wait_ns
                    found[twin.shard] = min(mark, found.get(twin.shard, mark))
        return found
