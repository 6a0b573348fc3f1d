"""Shared workload definition: J1 ('twin core') messages, constants, reference maths."""
from __future__ import annotations
import json, os, tempfile, time
from pathlib import Path

TMP = Path(os.environ.get("BENCH_TMP", tempfile.gettempdir()))
BROKER = os.environ.get("BENCH_BROKER", "127.0.0.1:19092")
PARTS = 12
DEVICES = 1000
# sensor -> (rate Hz, number of floats; 0 = scalar)
SENSORS = {"imu": (25.0, 6), "odom": (10.0, 4), "lidar": (6.0, 3), "temp": (1.0, 0)}
SENSOR_IDS = {s: i for i, s in enumerate(SENSORS)}
WIN_NS = 1_000_000_000
GRACE_NS = 2_000_000_000
GRID_NS = 100_000_000
SKEW_NS = {"imu": 200_000_000, "odom": 200_000_000, "lidar": 200_000_000, "temp": 2_000_000_000}
ALPHA, ZMAX, WARM = 0.05, 6.0, 20


def dumps(o) -> bytes:
    try:
        import orjson
        return orjson.dumps(o)
    except ImportError:
        return json.dumps(o, separators=(",", ":")).encode()


def loads(b):
    try:
        import orjson
        return orjson.loads(b)
    except ImportError:
        return json.loads(b)


def ewma(st, x):
    """st = [mean, var, n] or None -> (state, z or None). Same maths in every peer."""
    if st is None:
        return [x, 0.0, 1], None
    m, v, n = st
    d = x - m
    z = None
    if n >= WARM:
        sd = v ** 0.5
        if sd > 1e-9:
            zz = abs(d) / sd
            if zz > ZMAX:
                z = zz
    inc = ALPHA * d
    return [m + inc, (1.0 - ALPHA) * (v + d * inc), n + 1], z


def scalar(v):
    return v[0] if type(v) is list else v


class Report:
    """Every job prints one JSON line on exit; the driver reads it."""

    def __init__(self, peer):
        self.d = {"peer": peer, "t_start": time.time(), "n": 0, "bad": 0, "windows": 0, "anoms": 0, "aligned": 0}

    def done(self, **kw):
        self.d.update(kw)
        self.d["t_end"] = self.d.get("t_end") or time.time()
        os.write(1, ("REPORT " + json.dumps(self.d) + "\n").encode())


# ---------------------------------------------------------------- generator
def generate(n: int, t0_ns: int, seed: int = 7, anom: float = 0.002):
    """Yield (key bytes, ts_ms, value bytes) in arrival order; about n messages."""
    import numpy as np
    rng = np.random.default_rng(seed)
    rate = sum(r for r, _ in SENSORS.values()) * DEVICES
    dur = n / rate
    dev, sen, ts = [], [], []
    for si, (s, (r, _)) in enumerate(SENSORS.items()):
        k = int(dur * r) + 2
        phase = rng.random((DEVICES, 1)) / r
        t = phase + np.arange(k)[None, :] / r + rng.normal(0, 0.05 / r, (DEVICES, k))
        t = np.sort(np.clip(t, 0, None), axis=1)
        d = np.broadcast_to(np.arange(DEVICES)[:, None], t.shape)
        dev.append(d.ravel()); ts.append(t.ravel()); sen.append(np.full(t.size, si))
    dev, ts, sen = map(np.concatenate, (dev, ts, sen))
    arrive = ts + 0.002 + rng.exponential(0.002, ts.size)
    late = rng.random(ts.size) < 0.01
    arrive[late] += rng.uniform(0.05, 0.9, late.sum())
    o = np.argsort(arrive, kind="stable")[:n]
    dev, ts, sen = dev[o], ts[o], sen[o]
    m = len(o)
    bad = rng.random(m) < 0.001
    x = np.sin(ts * (0.5 + (dev % 17) * 0.1)) * 2 + rng.normal(0, 0.3, m)
    spike = rng.random(m) < anom
    x[spike] += rng.choice([-1, 1], spike.sum()) * rng.uniform(12, 25, spike.sum())
    ex = np.round(rng.normal(0, 1, (m, 5)), 4).tolist()
    x = np.round(np.where(sen == 3, x + 40, x), 4).tolist()
    tsn = (t0_ns + (ts * 1e9).astype(np.int64)).tolist()
    names = list(SENSORS)
    nf = [SENSORS[s][1] for s in names]
    devs = [f"robot-{i:04d}" for i in range(DEVICES)]
    keys = [d.encode() for d in devs]
    dev, sen, bad = dev.tolist(), sen.tolist(), bad.tolist()
    for i in range(m):
        s = sen[i]
        f = nf[s]
        v = x[i] if f == 0 else [x[i], *ex[i][: f - 1]]
        b = dumps({"device": devs[dev[i]], "sensor": names[s], "ts": tsn[i], "v": v})
        if bad[i]:
            b = b[: len(b) // 2]
        yield keys[dev[i]], tsn[i] // 1_000_000, b
