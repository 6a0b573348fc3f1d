"""A piece of a recording: some messages, with their values already written as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from connectors.recordings.instants import wire_time
from operators.types import I64, Mask


@dataclass(frozen=True, slots=True)
class Piece:
    """n messages in the order of the file.

    Attributes:
        device: name of the device by message.
        ts: int64[n], event time, ns UTC.
        body: members of the `signals` object by message, such as '"flow":1.5,"imu":[0.0,1.0]'.
        samples: int64[n], values by message; an element of a vector is one.
    """

    device: Sequence[str]
    ts: I64
    body: Sequence[str]
    samples: I64 = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.body)

    def take(self, mask: Mask) -> Piece:
        """The messages where the mask is true."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask).tolist()
        return Piece([self.device[i] for i in rows], self.ts[mask], [self.body[i] for i in rows], self.samples[mask])

    def shifted(self, by_ns: int) -> Piece:
        """The same messages at other times."""
        return Piece(self.device, self.ts + by_ns, self.body, self.samples) if by_ns else self

    def messages(self) -> list[bytes]:
        """Messages of the wire contract (shape 1).

        >>> Piece(["p"], np.array([1_700_000_000_000_000_000]), ['"a":1.5']).messages()
        [b'{"device":"p","ts":1700000000000000000,"signals":{"a":1.5}}']
        """
        heads = {name: f'{{"device":{json.dumps(name, ensure_ascii=False)},"ts":' for name in set(self.device)}
        return [
            f'{heads[name]}{wire_time(ts)},"signals":{{{body}}}}}'.encode()
            for name, ts, body in zip(self.device, self.ts.tolist(), self.body, strict=True)
        ]
