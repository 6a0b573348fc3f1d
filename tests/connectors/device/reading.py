"""What telemetry makes of a topic: decode and dedupe over everything in it, names spelled out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from operators.decode import Decoder
from operators.dedupe import Dedupe
from operators.definition import Signal, TwinType, Vector
from operators.roster import Roster
from operators.types import TICK
from tests.connectors.brokers import by_columns

TYPE = TwinType(
    "any", 1, (Signal("flow"), Signal("n"), *(Signal(f"pos.{i}") for i in range(3))), vectors=(Vector("pos", 3),)
)


@dataclass
class Read:
    """Samples as (device, signal, ts in ns, value), first arrivals only; `numbers`: seq of each message of a device."""

    samples: list[tuple[str, str, int, float]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    gaps: list[tuple[str, int, int]] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    duplicates: int = 0
    trusted: set[bool] = field(default_factory=set)

    def of(self, device: str, signal: str) -> list[float]:
        """Values of a signal in the order they came."""
        return [value for d, s, _, value in self.samples if (d, s) == (device, signal)]


def read(bootstrap: str, topic: str, *, partitions: int = 1) -> Read:
    """Everything in a topic as telemetry reads it."""
    found = Read()
    for partition in range(partitions):
        roster = Roster(lambda _name: TYPE)
        decoder, dedupe = Decoder(roster), Dedupe(len(TYPE.signals))
        for frames in by_columns(bootstrap, topic, partition=partition):
            out = decoder.push(frames)
            found.dead += [f"{r}: {d}" for r, d in zip(out.dead.reason, out.dead.detail, strict=True)]
            if not out.batches:
                continue
            mine, names = out.messages.of_type(0), roster.names(0)
            judged = dedupe.push(out.batches[0], mine)
            fresh = ~judged.duplicate_messages
            found.duplicates += int(np.count_nonzero(~fresh))
            found.trusted |= set(mine.trusted.tolist())
            for device, seq in zip(mine.device[fresh].tolist(), mine.seq[fresh].tolist(), strict=True):
                found.numbers.setdefault(names[device], []).append(seq)
            gaps = judged.gaps
            found.gaps += [(names[d], a, b) for d, a, b in zip(gaps.device, gaps.from_seq, gaps.to_seq, strict=True)]
            fresh_offsets = set(mine.offset[fresh].tolist())
            found.reports += [r.document for r in out.reports if r.offset in fresh_offsets]
            batch = judged.batch
            for series, ts, value in zip(batch.series.tolist(), batch.ts.tolist(), batch.value.tolist(), strict=True):
                if series == TICK:
                    continue
                device, signal = divmod(series, len(TYPE.signals))
                found.samples.append((names[device], TYPE.signals[signal].name, ts, value))
    return found
