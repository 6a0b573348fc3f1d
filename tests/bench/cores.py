"""Single cores on the messages of the reference job, in the cuts a fetch has: rows per CPU-second of one thread."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from operators.align import Align
from operators.decode import Decoder
from operators.definition import TwinType
from operators.frames import Frames
from operators.roster import Roster
from operators.twin_state import TwinState
from operators.types import Batch
from operators.window import Window
from tests.bench.baselines import common

T = TypeVar("T")
CUT = 20_000
"""Messages of one fetch of one partition on a backlog."""
PASSES = 5
START_NS = 1_700_000_000 * 10**9


def measure(twin: TwinType, n: int) -> dict[str, object]:
    """Decode (devices known from the first pass on), window with state, and align, which start anew in every pass."""
    assert twin.align is not None
    spec = twin.align
    values = [value for _, _, value in common.generate(n, START_NS)]
    frames = [Frames.of(values[at : at + CUT], first_offset=at) for at in range(0, n, CUT)]
    decoder = Decoder(Roster(lambda _device: twin))
    batches = [decoder.push(one).batches[0] for one in frames]
    signals, wait, idle = len(twin.signals), twin.window.wait_ns, twin.idle_timeout_ns

    def decode() -> Callable[[Frames], object]:
        return decoder.push

    def window_and_state() -> Callable[[Batch], object]:
        window, state = Window(signals, twin.window, idle), TwinState(twin)
        return lambda batch: (window.push(batch), state.push(batch))

    def align() -> Callable[[Batch], object]:
        return Align(spec, wait, idle).push

    rows = sum(map(len, batches))
    return {
        "decode_messages_per_cpu_s": _rate(decode, frames, n),
        "window_state_rows_per_cpu_s": _rate(window_and_state, batches, rows),
        "align_rows_per_cpu_s": _rate(align, batches, rows),
        "messages": n,
        "rows": rows,
    }


def _rate(start: Callable[[], Callable[[T], object]], parts: Sequence[T], count: int) -> int:
    rates = []
    for _ in range(PASSES):
        push = start()
        gc.collect()
        began = time.process_time()
        for part in parts:
            push(part)
        rates.append(count / (time.process_time() - began))
    return round(statistics.median(rates[1:]))
