"""What a twin is right now: reported and desired values, derived velocities, a report document, a revision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from operators.compiled import kernel, part
from operators.definition import TwinType
from operators.errors import StateError
from operators.merge_patch import Json
from operators.rings import (
    HELD,
    TS,
    Rings,
    _drop_before,
    _insert,
    _slot,
    more_series,
    more_slots,
    new_rings,
    plain,
    rings_from_state,
    rings_state,
)
from operators.touched import Changed, Touched
from operators.twin_documents import Documents
from operators.types import F64, I32, I64, NO_SEQ, NO_TIME, U8, Batch, Mask, State

AT, SEQ, ARRIVAL = 0, 1, 2
_UNKNOWN = NO_TIME, NO_SEQ, NO_TIME
_COLUMNS = ("latest", "value", "quality", "desired", "desired_at", "revision", "velocity")


@dataclass(frozen=True, slots=True)
class StateOutput:
    """What a push changed.

    Attributes:
        device: int32[m], devices with any change, in order of their first one in the push.
        revision: int64[m], their revisions after the push.
        applied: bool[rows pushed], the sample became the reported value when it came; False for ticks.
        counted: bool[rows pushed], the row raised the revision of its device by one.
    """

    device: I32
    revision: I64
    applied: Mask
    counted: Mask


@dataclass(frozen=True, slots=True)
class StateTable:
    """Reported values of m devices as columns; NaN, NO_TIME and 0 where a signal has never been reported.

    Attributes:
        device: int32[m]. revision: int64[m].
        value: float64[m, n]. ts_ns, arrival_ns: int64[m, n]. quality: uint8[m, n].
        velocity: float64[m, len(type.velocity)], unit of the signal per second; NaN where not known.
    """

    device: I32
    revision: I64
    value: F64
    ts_ns: I64
    arrival_ns: I64
    quality: U8
    velocity: F64


class TwinState:
    """Newest state of every device of one shard and twin type.

    A reported value is the sample of the newest event time; of equal times the larger seq, else the later row.
    Velocity of the type's `velocity` signals: slope between the newest sample and the oldest one within `lookback`
    before it, unknown while there is only one; samples out of order take their place by time, so it does not depend
    on the order of arrival. `revision` counts the changes of a device: a reported or derived value, a desired one, a
    report.

    >>> from operators.definition import Signal, TwinType
    >>> agv = TwinType("agv", 1, (Signal("x", "m"), Signal("v", "m/s")), velocity=("x",), lookback_ns=10**9)
    >>> state = TwinState(agv)
    >>> out = state.push(Batch.of(series=[0, 1, 0], ts=[0, 0, 500_000_000], value=[1.0, 0.9, 2.0]))
    >>> out.device, out.revision, out.applied
    (array([0], dtype=int32), array([3]), array([ True, True, True]))
    >>> state.desire(0, "v", 1.5, at_ns=600_000_000)
    True
    >>> twin = state.read(0)
    >>> twin["derived"], round(twin["delta"]["v"], 3)
    ({'velocity': {'x': {'value': 2.0, 'unit': 'm/s'}}}, 0.6)
    """

    def __init__(self, twin_type: TwinType) -> None:
        self.type = twin_type
        self.signals = len(twin_type.signals)
        self._lane = np.full(self.signals, -1, np.int64)
        self._lane[[twin_type.index[name] for name in twin_type.velocity]] = np.arange(len(twin_type.velocity))
        self._clear()

    def _clear(self) -> None:
        n, moving = self.signals, len(self.type.velocity)
        self.devices = 0
        self._latest: I64 = np.empty((0, n, 3), np.int64)
        self._value: F64 = np.empty((0, n), np.float64)
        self._quality: U8 = np.empty((0, n), np.uint8)
        self._desired: F64 = np.empty((0, n), np.float64)
        self._desired_at: I64 = np.empty((0, n), np.int64)
        self._revision: I64 = np.empty(0, np.int64)
        self._velocity: F64 = np.empty((0, moving), np.float64)
        self._rings: Rings = new_rings(0)
        self._documents = Documents()
        self._touched = Touched()

    def _hold(self, devices: int) -> None:
        self.devices = max(self.devices, devices)
        missing = self.devices - len(self._revision)
        if missing <= 0:
            return
        n, more = self.signals, max(missing, len(self._revision))
        moving = len(self.type.velocity)
        self._latest = np.concatenate((self._latest, np.broadcast_to(np.array(_UNKNOWN), (more, n, 3))))
        self._value = np.concatenate((self._value, np.full((more, n), np.nan)))
        self._quality = np.concatenate((self._quality, np.zeros((more, n), np.uint8)))
        self._desired = np.concatenate((self._desired, np.full((more, n), np.nan)))
        self._desired_at = np.concatenate((self._desired_at, np.full((more, n), NO_TIME)))
        self._revision = np.concatenate((self._revision, np.zeros(more, np.int64)))
        self._velocity = np.concatenate((self._velocity, np.full((more, moving), np.nan)))
        self._rings = more_series(self._rings, len(self._revision) * moving)

    def push(self, batch: Batch) -> StateOutput:
        """Apply samples in log order."""
        applied, counted = np.zeros((2, len(batch)), np.bool_)
        if len(batch):
            self._hold(int(batch.series.max()) // self.signals + 1)
        changed = np.zeros(self.devices, np.bool_)
        order = np.empty(self.devices, np.int32)
        cursor = np.zeros(2, np.int64)
        columns = plain(batch.series), plain(batch.ts), plain(batch.arrival), plain(batch.value)
        rest = plain(batch.quality), plain(batch.seq)
        while not _apply(
            self._lane, self.type.lookback_ns, self._latest, self._value, self._quality, self._revision,
            self._velocity, *self._rings, *columns, *rest, applied, counted, changed, order, cursor,
        ):  # fmt: skip
            self._rings = more_slots(self._rings)
        device = order[: cursor[1]].copy()
        self._touched.mark(device)
        return StateOutput(device, self._revision[device], applied, counted)

    def desire(self, device: int, signal: str, value: float | None, at_ns: int) -> bool:
        """Set what a value should be (None: no wish any more); False where a newer wish is there.

        Raises:
            KeyError: the type has no such signal.
        """
        s = self.type.index[signal]
        self._hold(device + 1)
        if at_ns < self._desired_at[device, s]:
            return False
        self._desired[device, s] = math.nan if value is None else value
        self._desired_at[device, s] = at_ns
        self._change(device)
        return True

    def report(self, device: int, patch: dict[str, Json], ts_ns: int, seq: int = NO_SEQ) -> bool:
        """Merge a report into the document of the device, as `Documents.report` says."""
        if not self._documents.report(device, patch, ts_ns, seq):
            return False
        self._hold(device + 1)
        self._change(device)
        return True

    def revision(self, device: int) -> int:
        """Of one device; 0 where it was never seen."""
        return int(self._revision[device]) if device < self.devices else 0

    def _change(self, device: int) -> None:
        self._revision[device] += 1
        self._touched.mark(np.array([device]))

    def delta(self, device: int) -> dict[str, float | None]:
        """Desired minus reported, by signal, where they differ; None where nothing is reported yet."""
        if device >= self.devices:
            return {}
        desired, value = self._desired[device], self._value[device]
        differ = np.flatnonzero(~np.isnan(desired) & (desired != value))
        return {self.type.signals[s].name: _number(desired[s] - value[s]) for s in differ}

    def read(self, device: int) -> dict[str, Json]:
        """All about one device as plain JSON values; a signal without a value is left out."""
        seen = device < self.devices
        return {
            "device": device,
            "revision": self.revision(device),
            "reported": self._reported(device) if seen else {},
            "derived": {"velocity": self._velocities(device) if seen else {}},
            "desired": self._wishes(device) if seen else {},
            "delta": {**self.delta(device)},
            "report": self._documents.read(device),
        }

    def _reported(self, device: int) -> dict[str, Json]:
        latest, found = self._latest[device], np.flatnonzero(self._latest[device, :, AT] != NO_TIME)
        return {
            self.type.signals[s].name: {
                "value": _number(self._value[device, s]),
                "unit": self.type.signals[s].unit,
                "ts_ns": int(latest[s, AT]),
                "arrival_ns": int(latest[s, ARRIVAL]),
                "quality": int(self._quality[device, s]),
            }
            for s in found
        }

    def _velocities(self, device: int) -> dict[str, Json]:
        units = [self.type.signals[self.type.index[name]].unit for name in self.type.velocity]
        known = zip(self.type.velocity, units, self._velocity[device].tolist(), strict=True)
        return {name: {"value": x, "unit": f"{unit}/s"} for name, unit, x in known if math.isfinite(x)}

    def _wishes(self, device: int) -> dict[str, Json]:
        desired, at = self._desired[device], self._desired_at[device]
        found = np.flatnonzero(~np.isnan(desired))
        return {self.type.signals[s].name: {"value": float(desired[s]), "at_ns": int(at[s])} for s in found}

    def table(self, device: I32) -> StateTable:
        """The reported values of many devices at once, e.g. of `StateOutput.device`; all must have been seen."""
        latest = self._latest[device]
        return StateTable(
            device=device,
            revision=self._revision[device],
            value=self._value[device],
            ts_ns=latest[:, :, AT].copy(),
            arrival_ns=latest[:, :, ARRIVAL].copy(),
            quality=self._quality[device],
            velocity=self._velocity[device],
        )

    def snapshot(self) -> State:
        """All values as arrays with one row per device, the samples within the lookback, documents as JSON bytes."""
        columns = {name: getattr(self, f"_{name}")[: self.devices] for name in _COLUMNS}
        series = self.devices * len(self.type.velocity)
        return {**columns, **rings_state(self._rings, series), **self._documents.snapshot()}

    def changed(self) -> Changed:
        """Rows of all columns but samples and documents that may have changed since this was last asked."""
        return dict.fromkeys(_COLUMNS, self._touched.take())

    def restore(self, state: State) -> None:
        """Take over a snapshot.

        Raises:
            StateError: columns are missing or it was made for other signals.
        """
        if missing := sorted({*_COLUMNS, "ring_count", "ring_key", "ring_value"} - state.keys()):
            raise StateError(where="twin_state", detail=f"misses {', '.join(missing)}", fix="restore an older snapshot")
        documents, rings, devices = Documents(), rings_from_state(state), len(state["revision"])
        documents.restore(state)
        self._clear()
        self._hold(devices)
        for name in _COLUMNS:
            mine: F64 = getattr(self, f"_{name}")
            if mine.shape != state[name].shape:
                detail = f"{name} is {state[name].shape}, not {mine.shape}"
                raise StateError(where="twin_state", detail=detail, fix="restore it into the type it was made with")
            mine[:] = state[name]
        self._rings, self._documents = rings, documents


def _number(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None


@part
def _slope(key: I64, value: F64, block: I64, s: int) -> float:
    """Per second, between the oldest and the newest sample that a series holds; NaN with fewer than two."""
    if block[s, HELD] < 2:
        return np.nan
    old, new = _slot(block, s, 0), _slot(block, s, block[s, HELD] - 1)
    return float((value[new] - value[old]) / ((key[new, TS] - key[old, TS]) * 1e-9))


@kernel
def _apply(
    lane: I64, lookback: int, latest: I64, reported: F64, flags: U8, revision: I64, velocity: F64,
    key: I64, value: F64, block: I64, free: I64,
    series: I32, ts: I64, arrival: I64, x: F64, quality: U8, seq: I64,
    applied: Mask, counted: Mask, changed: Mask, order: I32, cursor: I64,
) -> bool:  # fmt: skip
    """Goes on at row cursor[0], having listed cursor[1] devices; False when the arena has no room."""
    n, moving = reported.shape[1], velocity.shape[1]
    for row in range(cursor[0], series.size):
        cursor[0] = row
        if series[row] < 0:
            continue
        d, t = series[row] // n, ts[row]
        s = series[row] - d * n
        newest = latest[d, s, AT]
        new = t > newest or (t == newest and seq[row] >= latest[d, s, SEQ])
        moved, v = False, lane[s]
        if v >= 0 and (new or t >= newest - lookback):
            ring = d * moving + v
            _drop_before(key, block, ring, max(t, newest) - lookback)
            if not _insert(key, value, block, free, ring, t, x[row], seq[row], 0):
                return False
            slope = _slope(key, value, block, ring)
            moved = slope != velocity[d, v] and not (np.isnan(slope) and np.isnan(velocity[d, v]))
            velocity[d, v] = slope
        if new:
            latest[d, s, AT], latest[d, s, SEQ], latest[d, s, ARRIVAL] = t, seq[row], arrival[row]
            reported[d, s], flags[d, s] = x[row], quality[row]
            applied[row] = True
        if new or moved:
            revision[d] += 1
            counted[row] = True
            if not changed[d]:
                changed[d] = True
                order[cursor[1]] = d
                cursor[1] += 1
    cursor[0] = series.size
    return True
