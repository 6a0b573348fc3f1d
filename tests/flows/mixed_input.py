"""A stream in which everything happens: three twin types, repeats, gaps, late and bad messages, ticks, reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count, islice

import numpy as np

from operators.definition import Fleet
from operators.definition_yaml import loads

PUMP = """\
twin_type: pump
version: 1
signals:
  flow: {unit: l/min, rate_hz: 10, range: [-100, 500], normal: [0, 60]}
  acc: {unit: m/s^2, rate_hz: 20, length: 3}
  temp: {unit: degC, rate_hz: 1, sentinels: [-9999], stuck_after: 20s}
clock: device
idle_timeout: 3s
calibration: {acc: {matrix: [[2, 0, 0], [0, 0, 1], [0, 1, 0]], bias: [1, 0, 0]}}
align: {every: 500ms, max_gap: 2s, method: {default: linear, temp: previous}, required: [flow]}
window: {length: 2s, hop: 1s, lateness: 1s, allowed_lateness: 2s}
windows:
  - {id: spread, length: 5s, hop: 1s, allowed_lateness: 1s, signals: [flow, temp], quantiles: [0.5, 0.95], crest: true}
  - {id: vibration, length: 2s, signals: [acc], bands: [[1, 5], [5, 10]]}
  - {id: burst, session: 300ms, allowed_lateness: 1s, signals: [flow], quantiles: [0.5]}
  - {id: ten, count: 10, signals: [temp]}
velocity: [flow]
detectors:
  - {id: spikes, method: ewma_z, signals: [flow], threshold: 6, settings: {warmup: 20}, clear_after: 5s}
  - {id: ordered, method: ewma_z, signals: [flow], threshold: 6, settings: {warmup: 20}, order: event, clear_after: 5s}
  - {id: joint, method: pca_residual, threshold: 4, settings: {warmup: 50}, clear_after: 5s}
rules:
  - {id: high, signal: flow, above: 50, hysteresis: 5, severity: alarm, message: Flow high, command: stop}
  - {id: silent, signal: temp, absent: 10s}
  - {id: after, when: {signal: flow, above: 50, followed_by: {signal: temp, below: 20}, within: 20s}}
  - {id: lacking, when: {signal: flow, above: 50, not_followed_by: {signal: temp, above: 22}, within: 3s}}
commands: {stop: {}}
report: {type: object, properties: {task: {type: string}}, additionalProperties: false}
"""
PROBE = "{twin_type: probe, version: 1, signals: {a: {}}, align: {every: 1s, max_gap: 3s}}"
FLEET = Fleet(patterns=(("pump-*", "pump"), ("probe-*", "probe")), types={"pump": loads(PUMP), "probe": loads(PROBE)})
BAD = (
    b"{",
    b"",
    b'{"device":"toaster","ts":1700000000,"sensor":"a","v":1}',
    b'{"device":"pump-1","ts":0,"signals":{"flow":1}}',
)
START_S = 1_700_000_000


def stream(
    seed: int = 3,
    *,
    start_ns: int = START_S * 10**9,
    step_ns: int = 40_000_000,
    suffix: str = "",
    clock_step_ns: int = 0,
    first: int = 0,
) -> Iterator[tuple[bytes, int]]:
    """Value and arrival (ns) of one message after the other, `step_ns` apart, without end.

    Args:
        suffix: what device names end in.
        clock_step_ns: how far the clock of the second pump jumps ahead, now and then, and back again.
        first: number of the first message; between 400 and 430, and again every 700, flows are too high.
    """
    rng = np.random.default_rng(seed)
    seqs = dict.fromkeys((f"pump-1{suffix}", f"pump-2{suffix}", f"probe-1{suffix}"), 0)
    for i in count(first):
        now_ns = start_ns + (i - first) * step_ns
        device = list(seqs)[int(rng.integers(3))]
        seqs[device] += int(rng.choice([0, 1, 1, 1, 1, 1, 1, 1, 4]))
        ts = now_ns - int(rng.choice([0, 10**6, 5 * 10**8, 4 * 10**9], p=[0.6, 0.3, 0.08, 0.02]))
        if clock_step_ns and device.startswith("pump-2") and i % 300 >= 200:
            ts += clock_step_ns
        yield _one(rng, i, device, seqs[device], ts, now_ns), now_ns + int(rng.integers(10**7))


def keyed(values: Iterator[tuple[bytes, int]], seed: int) -> Iterator[tuple[bytes | None, bytes]]:
    """Key and value of the messages of a stream: the device, now and then somebody else, or none."""
    rng = np.random.default_rng(seed)
    for value, _ in values:
        draw = rng.random()
        if draw < 0.02:
            yield b"somebody-else", value
        else:
            yield (_device(value) if draw < 0.5 else None), value


def _device(value: bytes) -> bytes | None:
    try:
        return str(json.loads(value)["device"]).encode()
    except (ValueError, KeyError):
        return None


def messages(number: int, seed: int = 3) -> tuple[list[bytes], list[int]]:
    """Values and arrivals (ns) of `number` messages in log order."""
    values, arrivals = zip(*islice(stream(seed), number), strict=True)
    return list(values), list(arrivals)


def _one(rng: np.random.Generator, i: int, device: str, seq: int, ts: int, now_ns: int) -> bytes:
    draw = rng.random()
    head = {"device": device, "ts": ts, "boot": "b1", "seq": seq}
    flow = 30 + float(rng.normal()) + (40 if 400 < i % 700 < 430 else 0)
    if draw < 0.04:
        return BAD[int(rng.integers(len(BAD)))]
    if draw < 0.07:
        return json.dumps({"tick": now_ns}).encode()
    if device.startswith("probe"):
        return json.dumps({**head, "sensor": "a", "v": round(float(rng.normal()), 3)}).encode()
    if draw < 0.10:
        return json.dumps({**head, "report": {"task": f"t{i}"} if draw < 0.09 else {"bad": 1}}).encode()
    if draw < 0.13:
        return json.dumps({**head, "signals": {"unknown": 1.0, **({"flow": flow} if i % 2 else {})}}).encode()
    if draw < 0.15:
        return json.dumps({**head, "signals": {"acc.0": 1.5, "acc.1": 2.0}}).encode()
    if draw < 0.17:
        return json.dumps({**head, "ts": now_ns + 3600 * 10**9, "signals": {"flow": 1.0}}).encode()
    temp = -9999 if draw < 0.2 else 20 if i % 1000 > 500 else round(20 + float(rng.normal()), 2)
    acc = [round(float(x), 4) for x in rng.normal(size=3)]
    signals = {"flow": round(flow, 4), "acc": acc, **({"temp": temp} if i % 5 == 0 and not 800 < i < 1300 else {})}
    return json.dumps({**head, "signals": signals}).encode()
