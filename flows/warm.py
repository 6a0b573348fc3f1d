"""Compiles, or loads from the cache, every kernel a set of twin types needs, before the first record comes.

With an empty cache the compiler is the longest part of a first start. So two other processes compile one half each and
leave their work in the cache; this one meanwhile waits for the broker, then loads what they made, and stays small.
"""

from __future__ import annotations

import fcntl
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numba
import numpy as np
import pyarrow as pa

from connectors.fetched import warm as warm_fetch
from flows.lane import Lane
from flows.settings import FlowSettings
from flows.shard import Shard
from operators.clock_correct import ClockCorrect
from operators.decode import Decoder
from operators.decoded import Messages
from operators.definition import Signal, TwinType
from operators.definition_yaml import load_fleet
from operators.envelope import MESSAGE
from operators.frames import PACKED, READ, Frames, Told
from operators.roster import Roster
from operators.rules import Rules
from operators.state_log import warm as warm_log
from operators.types import TICK, Batch

START_S = 1_700_000_000
LATER_SECS = 15.0
"""After a first start: the first pages need the processor more than kernels that may never be needed."""
ROOT = Path(__file__).resolve().parent.parent


def warm(twins: Iterable[TwinType]) -> float:
    """Push a few made-up messages of each type through a shard of its own; the seconds it took.

    The kernels of `clock_correct` and of packed blocks are left out: they compile when the first device without a
    trusted clock, or the first block, comes, or in the background after a first start.

    >>> from operators.definition import Signal
    >>> warm([TwinType("probe", 1, (Signal("a"),))]) > 0
    True
    """
    started = time.perf_counter()
    warm_fetch()
    warm_log()
    for twin in twins:
        _one(replace(twin, clock="trusted"))
    return time.perf_counter() - started


class Helpers:
    """Two processes that compile what a fleet needs; none where the cache holds it.

    Args:
        settings: of the flow; they name the fleet.
    """

    def __init__(self, settings: FlowSettings) -> None:
        self._stamp = Path(os.environ.get("NUMBA_CACHE_DIR") or settings.state) / "warm"
        self._sources = _sources()
        self._command = [sys.executable, "-m", "flows.warm", str(settings.fleet), str(settings.types)]
        filled = self._stamp.exists() and self._stamp.read_text() == self._sources
        self._running = [] if filled else [subprocess.Popen([*self._command, half]) for half in ("bytes", "lane")]

    def join(self, twins: Iterable[TwinType]) -> float:
        """Wait for them, then load every kernel; what they could not do is compiled here. The seconds it took."""
        started = time.perf_counter()
        for helper in self._running:
            helper.wait()
        warm(twins)
        if self._running:
            later = threading.Timer(LATER_SECS, subprocess.run, ([*self._command, "later"],))
            later.daemon = True
            later.start()
            self._stamp.parent.mkdir(parents=True, exist_ok=True)
            self._stamp.write_text(self._sources)
        return time.perf_counter() - started


def _sources() -> str:
    """Changes with the compiler and with any file that may hold a kernel."""
    files = sorted(p for room in ("operators", "models", "connectors") for p in (ROOT / room).glob("*.py"))
    return f"{numba.__version__} {len(files)} {max(p.stat().st_mtime_ns for p in files)}"


def _one(twin: TwinType) -> None:
    shard = Shard(lambda device: twin)
    shard.push(made_up(twin))
    shard.snapshot()


def _bytes(twin: TwinType) -> None:
    """From bytes to rows; and rules, which come late in the other half, so that both take as long."""
    warm_log()
    Rules(twin).push(_rows(twin))
    Decoder(Roster(lambda device: twin)).push(made_up(twin))


def _later(twin: TwinType) -> None:
    """What no simulated device needs: packed blocks, clocks that are not trusted."""
    Decoder(Roster(lambda _device: TwinType("probe", 1, (Signal("a"),)))).push(packed())
    rows = Batch.of(series=[0, 0, TICK], ts=[START_S * 10**9, START_S * 10**9 + 1, 0], value=0.0)
    ClockCorrect(len(twin.signals), mode="device").push(rows)


def _rows(twin: TwinType) -> Batch:
    """Two samples of each signal, then a tick that closes their windows."""
    n = len(twin.signals)
    series = [*range(n), *range(n), TICK]
    ts = [START_S * 10**9] * n + [(START_S + 1) * 10**9] * n + [(START_S + 600) * 10**9]
    value = [min(max(0.5, s.low), s.high) for s in twin.signals] * 2 + [0.0]
    return Batch.of(series=series, ts=ts, value=value, offset=[0] * n + [1] * n + [2])


def packed() -> Frames:
    """A schema and two blocks of it, as the source notes them: the first is judged, the second goes the short way.

    >>> from operators.definition import Signal
    >>> decoder = Decoder(Roster(lambda device: TwinType("probe", 1, (Signal("a"),))))
    >>> decoder.push(packed()).batches[0].value.tolist()
    [0.5, 0.5]
    """
    schema = pa.schema([("ts", pa.timestamp("ns", "UTC")), ("a", pa.float64())])
    block = pa.record_batch([pa.array([START_S * 10**9], schema.field("ts").type), pa.array([0.5])], schema=schema)
    name = b"s"
    headers = {"content-type": MESSAGE.encode(), "schema-id": name}
    values = [schema.serialize().to_pybytes(), *2 * [block.serialize().to_pybytes()]]
    made = Frames.of(
        [*values, name], keys=4 * [b"warm"], headers={0: {**headers, "kind": b"schema"}, 1: headers, 2: headers}
    )
    start, end, none = (np.full(4, int(x), np.int64) for x in (made.start[3], made.end[3], 0))
    frames, _ = replace(
        made, notes=np.array([READ, PACKED, PACKED, READ], np.uint8), told=Told(none - 1, start, end, none, none)
    ).split(3)
    return frames


def _lane(twin: TwinType) -> None:
    """From rows to results, and what is kept of them; and the walk over a fetch."""
    warm_fetch()
    n = len(twin.signals)
    two = Batch.of(series=[0, 0], ts=[0, 1], value=[0.0, 0.0])
    messages = Messages(
        offset=two.offset, kind=two.quality + 1, type=two.boot, device=two.boot, seq=two.seq, boot=two.boot,
        rows=(two.boot + n), aside=two.boot, trusted=two.quality == 0,
    )  # fmt: skip
    lane = Lane(replace(twin, clock="trusted"), ["warm"])
    lane.push(_rows(twin), messages, [])
    lane.restore(lane.snapshot())


PARTS: dict[str, Callable[[TwinType], None]] = {"bytes": _bytes, "lane": _lane, "later": _later}
"""What one process compiles; the first two before the flow starts."""


def made_up(twin: TwinType) -> Frames:
    """A few messages of a device of this type, inside its ranges, ended by a tick that closes its windows."""
    vectors = {v.name: [0.5] * v.length for v in twin.vectors}
    inside = {f"{name}.{i}" for name, v in vectors.items() for i in range(len(v))}
    scalars = {s.name: min(max(0.5, s.low), s.high) for s in twin.signals if s.name not in inside}
    samples = [
        {"device": "warm", "ts": START_S + i, "seq": i, "boot": "b", "signals": scalars | vectors} for i in range(8)
    ]
    first = next(iter(scalars), None)
    single = [{"device": "warm", "sensor": first, "ts": START_S + 9, "v": scalars[first]}] if first else []
    lines = [msgspec.json.encode(m) for m in (*samples, *single, {"tick": START_S + 600})]
    return Frames.of(lines, arrival=START_S * 1_000_000_000)


def main(arguments: Sequence[str]) -> int:
    """Compile one part for the types of a fleet: `python -m flows.warm FLEET.yaml TYPES_FOLDER bytes|lane|later`.

    Of several that are told to compile the same at once, all but the first wait and then find it done.
    """
    fleet, types, part = arguments
    gc.disable()  # it walks the compiler's many objects again and again, and finds nothing
    if part == "later":
        os.nice(10)
    with alone(part):
        for twin in load_fleet(fleet, types).types.values():
            PARTS[part](twin)
    return 0


@contextmanager
def alone(part: str) -> Iterator[None]:
    """Hold the lock of one part in the cache folder, where there is one."""
    folder = os.environ.get("NUMBA_CACHE_DIR")
    if not folder:
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with (Path(folder) / f"{part}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
