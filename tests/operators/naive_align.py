"""Alignment said twice more, plainly: over a whole recording, and row by row with every release condition spelt out."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan

from operators.definition import AlignSpec
from operators.types import TICK, Batch

Row = tuple[int, int, tuple[float, ...], int, bool]
"""(device, ts, value or nan per signal, skew, degraded)"""


def value_at(samples: dict[int, tuple[int, float]], g: int, linear: bool, gap: int) -> tuple[float, int] | None:
    """(value, greatest distance to a sample used) of one signal, ts -> (seq, value); None where not valid."""
    if g in samples:
        return samples[g][1], 0
    before = max((t for t in samples if t < g), default=None)
    after = min((t for t in samples if t > g), default=None)
    if before is None or (linear and after is None):
        return None
    if not linear:
        return (samples[before][1], g - before) if g - before <= gap else None
    assert after is not None
    x0, x1 = samples[before][1], samples[after][1]
    if after - before > gap:
        return None
    return x0 + (x1 - x0) * (g - before) / (after - before), max(g - before, after - g)


def row_at(signals: list[dict[int, tuple[int, float]]], g: int, spec: AlignSpec, device: int) -> Row | None:
    found = [value_at(*x) for x in zip(signals, [g] * len(signals), spec.linear, spec.max_gap_ns, strict=True)]
    if not any(found):
        return None
    skew = max(x[1] for x in found if x)
    degraded = any(need and not x for need, x in zip(spec.required, found, strict=True))
    degraded |= spec.max_skew_ns is not None and skew > spec.max_skew_ns
    return device, g, tuple(x[0] if x else nan for x in found), skew, degraded


def put(samples: dict[int, tuple[int, float]], ts: int, seq: int, value: float) -> None:
    if ts not in samples or seq >= samples[ts][0]:
        samples[ts] = seq, value


def whole(batch: Batch, spec: AlignSpec) -> list[Row]:
    """All rows of a recording in which nothing is late, by device and time."""
    n = len(spec.linear)
    devices: dict[int, list[dict[int, tuple[int, float]]]] = {}
    for series, ts, seq, value in zip(batch.series, batch.ts, batch.seq, batch.value, strict=True):
        if series != TICK:
            put(devices.setdefault(int(series) // n, [{} for _ in range(n)])[series % n], int(ts), seq, float(value))
    rows: list[Row] = []
    for device, signals in sorted(devices.items()):
        times = [t for samples in signals for t in samples]
        first = -(-min(times) // spec.every_ns) * spec.every_ns
        instants = range(first, max(times) + 1, spec.every_ns) if spec.leader < 0 else sorted(signals[spec.leader])
        rows += filter(None, (row_at(signals, g, spec, device) for g in instants))
    return rows


@dataclass
class Twin:
    signals: list[dict[int, tuple[int, float]]]
    times: list[int] = field(default_factory=list)
    arrival: int = 0
    watermark: int = 0
    released: int | None = None


def row_by_row(batch: Batch, spec: AlignSpec, wait: int, idle: int) -> tuple[list[tuple[int, Row]], list[bool]]:
    """((releasing row, aligned row) without those of the end of input, taken per row)."""
    n, every = len(spec.linear), spec.every_ns
    twins: dict[int, Twin] = {}
    out: list[tuple[int, Row]] = []
    taken: list[bool] = []

    def may_release(twin: Twin, g: int) -> bool:
        if g > max(twin.times) or twin.watermark <= g:
            return False
        for samples, linear, gap in zip(twin.signals, spec.linear, spec.max_gap_ns, strict=True):
            after = min((t for t in samples if t >= g), default=None)
            if linear and not (after is not None and twin.watermark > after) and twin.watermark < g + gap:
                return False
        return True

    def release(device: int, row: int) -> None:
        twin = twins[device]
        while True:
            g = -(-min(twin.times) // every) * every if twin.released is None else twin.released + every
            if spec.leader >= 0:
                g = min((t for t in twin.signals[spec.leader] if t >= g), default=2**62)
            if not may_release(twin, g):
                return
            twin.released = g
            if found := row_at(twin.signals, g, spec, device):
                out.append((row, found))

    columns = (batch.series, batch.ts, batch.arrival, batch.seq, batch.value)
    for row, (series, ts, arrival, seq, value) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        if series == TICK:
            taken.append(False)
            for device, twin in sorted(twins.items()):
                if arrival - twin.arrival >= idle:
                    twin.watermark = max(twin.watermark, arrival - wait)
                release(device, row)
            continue
        twin = twins.setdefault(series // n, Twin([{} for _ in range(n)], watermark=ts - wait))
        twin.arrival, twin.watermark = max(twin.arrival, arrival), max(twin.watermark, ts - wait)
        taken.append(twin.released is None or ts >= twin.released)
        if taken[-1]:
            twin.times.append(ts)
            put(twin.signals[series % n], ts, seq, value)
            release(series // n, row)
    return out, taken


def groups(batch: Batch, spec: AlignSpec, wait: int, idle: int) -> tuple[list[tuple[int, Row]], list[int]]:
    """((releasing row, row), devices of the groups that lacked a member), without those of the end of input."""
    n = len(spec.required)
    held: dict[int, list[dict[int, tuple[int, float]]]] = {}
    mark, heard, done = dict[int, int](), dict[int, int](), dict[int, int]()
    out: list[tuple[int, Row]] = []
    dropped: list[int] = []

    def release(d: int, row: int) -> None:
        while times := [t for samples in held[d] for t in samples]:
            end = min(times) + spec.group_ns
            if mark[d] < end:
                return
            found = [max((t for t in samples if t < end), default=None) for samples in held[d]]
            there = [t for t in found if t is not None]
            skew = max(there) - min(there)
            value = tuple(nan if t is None else s[t][1] for t, s in zip(found, held[d], strict=True))
            if all(t is not None or not need for t, need in zip(found, spec.required, strict=True)):
                out.append(
                    (row, (d, max(there), value, skew, spec.max_skew_ns is not None and skew > spec.max_skew_ns))
                )
            else:
                dropped.append(d)
            held[d] = [{t: x for t, x in samples.items() if t >= end} for samples in held[d]]
            done[d] = end

    columns = (batch.series, batch.ts, batch.arrival, batch.seq, batch.value)
    for row, (series, ts, arrival, seq, value) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        if series == TICK:
            for d in sorted(held):
                if arrival - heard[d] >= idle:
                    mark[d] = max(mark[d], arrival - wait)
                release(d, row)
            continue
        d = series // n
        held.setdefault(d, [{} for _ in range(n)])
        heard[d], mark[d] = max(heard.get(d, 0), arrival), max(mark.get(d, ts - wait), ts - wait)
        if spec.required[series % n] and ts >= done.get(d, ts):
            put(held[d][series % n], ts, seq, value)
        release(d, row)
    return out, dropped
