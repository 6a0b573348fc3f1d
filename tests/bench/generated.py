"""A generated multi-rate recording: two signals per device, some samples late in the file, some lines malformed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from operators.types import F64, I32, I64, Mask

START_NS = 1_700_000_000_000_000_000
PROBE = """\
twin_type: probe
version: 1
signals: {a: {unit: m/s^2, rate_hz: 100}, b: {unit: degC, rate_hz: 10}}
align: {every: 100ms, max_gap: 400ms, method: {default: linear, b: previous}, required: [a]}
window: {length: 1s, hop: 1s, lateness: 2s}
"""
RATES_HZ = (100.0, 10.0)


@dataclass(frozen=True)
class Recording:
    """Samples in arrival order; `bad` lines are cut in half and carry no sample.

    Attributes:
        device, signal: int32[n], device number and 0 for a, 1 for b.
        ts: int64[n], event time ns.
        value: float64[n].
        bad: bool[n].
    """

    device: I32
    signal: I32
    ts: I64
    value: F64
    bad: Mask

    def __len__(self) -> int:
        return int(self.ts.size)


def generate(
    samples: int, *, devices: int = 50, seed: int = 1, disorder: float = 0.01, bad: float = 0.001
) -> Recording:
    """`samples` samples: jittered times, gaps, `disorder` of them delayed by up to 1.5 s, `bad` malformed."""
    rng = np.random.default_rng(seed)
    seconds = 1.04 * samples / (devices * sum(RATES_HZ))  # gaps take some of it
    parts = []
    for signal, rate in enumerate(RATES_HZ):
        k = int(seconds * rate)
        t = (np.arange(k)[None, :] + rng.uniform(0, 0.8, (devices, k))) / rate
        keep = rng.random((devices, -(-k // 64))).repeat(64, axis=1)[:, :k] > 0.02  # now and then a gap
        device = np.broadcast_to(np.arange(devices)[:, None], t.shape)
        wave = np.sin(t * (0.7 + 0.1 * device)) * 3 + rng.normal(0, 0.2, t.shape) + 20 * signal
        parts.append((device[keep], np.full(int(keep.sum()), signal), t[keep], wave[keep]))
    device, signals, t, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    arrival = t + np.where(rng.random(t.size) < disorder, rng.uniform(0.05, 1.5, t.size), 0.0)
    order = np.argsort(arrival, kind="stable")[:samples]
    ts = START_NS + (t[order] * 1e9).astype(np.int64)
    return Recording(
        device[order].astype(np.int32),
        signals[order].astype(np.int32),
        ts,
        np.round(value[order], 6),
        rng.random(ts.size) < bad,
    )


def lines(recording: Recording) -> list[bytes]:
    """One NDJSON line per sample, without line ends."""
    columns = (recording.device, recording.signal, recording.ts, recording.value, recording.bad)
    out = []
    for device, signal, ts, value, bad in zip(*(c.tolist() for c in columns), strict=True):
        line = b'{"device":"probe-%03d","sensor":"%s","ts":%d,"v":%s}' % (
            *(device, b"ab"[signal : signal + 1], ts, repr(value).encode()),
        )
        out.append(line[: len(line) // 2] if bad else line)
    return out


def write(recording: Recording, folder: Path) -> tuple[Path, Path]:
    """The recording as NDJSON and its twin type, in a folder; their paths."""
    data, definition = folder / "generated.ndjson", folder / "probe.yaml"
    data.write_bytes(b"\n".join(lines(recording)) + b"\n")
    definition.write_text(PROBE)
    return data, definition
