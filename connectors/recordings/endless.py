"""Recordings laid end to end over all time, as a source that connectors/simulator paces.

Message i of round r has the time r * period + offset[i], counted from 1970: a function of the clock alone. Whoever
starts, stops or is killed goes on where the clock is; no time comes twice, none goes back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace

import msgspec
import numpy as np

from connectors.recordings.faults import RecordingError
from connectors.recordings.piece import Piece
from connectors.recordings.recording import Recording
from connectors.recordings.replay_clock import Span, cut_between
from operators.types import I64


@dataclass(frozen=True, slots=True)
class Lapsed:
    """One message: `signals` is its JSON object; `seq` counts from 0 for each device."""

    device: str
    ts_ns: int
    signals: msgspec.Raw
    seq: int
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class Loop:
    """A recording that begins again when it ends.

    Attributes:
        device: name by message.
        signals: JSON object by message.
        offset_ns: int64[n], time since the first message, ascending, from 0.
        period_ns: time from the beginning of a round to that of the next.
    """

    device: Sequence[str]
    signals: Sequence[msgspec.Raw]
    offset_ns: I64
    period_ns: int

    @staticmethod
    def of(recording: Recording, *, lapse: float = 1.0, skip_ns: int = 0, pause_ns: int) -> Loop:
        """A recording in order of time; what cannot be read of it is left out.

        Args:
            lapse: recorded seconds in a second; the times shrink with it, as in a film of a day in a minute.
            skip_ns: recorded time to leave out at the beginning.
            pause_ns: between the last message of a round and the first of the next.

        Raises:
            RecordingError: there is no message in it; see also Recording.pieces.

        >>> from connectors.recordings.recording import open_recording
        >>> loop = Loop.of(open_recording("nab"), lapse=3600, pause_ns=10**9)
        >>> len(loop.device), bytes(loop.signals[0]), loop.offset_ns[:3].tolist(), loop.period_ns // 10**9
        (7267, b'{"value":69.88083514}', [0, 1000000000, 2000000000], 7888)
        """
        pieces = list(recording.pieces())
        span = Span.of(pieces)
        kept = [cut_between(piece, span.first + skip_ns, None) for piece in pieces] if span else []
        return _joined([piece for piece in kept if len(piece)], lapse, pause_ns, str(recording.path))

    def next_place(self, at_ns: int) -> int:
        """Place of the first message at or after an instant: round * n + row."""
        number, within = divmod(at_ns, self.period_ns)
        row = bisect_left(self.offset_ns, within)
        return int(number) * len(self.device) + row

    def time_of(self, place: int) -> int:
        """Its time, ns UTC."""
        number, row = divmod(place, len(self.device))
        return number * self.period_ns + int(self.offset_ns[row])


class Endless:
    """Several loops as one source: see `connectors.simulator.Source`.

    Args:
        loops: at least one.
        start_ns: the first message is the first one at or after this time, ns UTC.

    >>> row = msgspec.Raw(b'{"a":1}')
    >>> source = Endless([Loop(["p", "p"], [row, row], np.array([0, 4]), 10)], start_ns=21)
    >>> [(m.ts_ns, m.seq) for _ in range(3) for m in source.step()]
    [(24, 0), (30, 1), (34, 2)]
    """

    events: Sequence[str] = ()

    def __init__(self, loops: Sequence[Loop], start_ns: int) -> None:
        self._loops = loops
        self._seq: dict[str, int] = {}
        self._due: list[tuple[int, int, int]] = []  # time, loop, place of its next message
        self.skip(start_ns)

    @property
    def next_ns(self) -> int:
        """When the next message is due."""
        return self._due[0][0]

    def step(self) -> Sequence[Lapsed]:
        """The messages of that instant."""
        now, made = self.next_ns, list[Lapsed]()
        while self._due[0][0] == now:
            _, number, place = self._due[0]
            loop, row = self._loops[number], place % len(self._loops[number].device)
            device = loop.device[row]
            self._seq[device] = seq = self._seq.get(device, -1) + 1
            made.append(Lapsed(device, now, loop.signals[row], seq))
            heapreplace(self._due, (loop.time_of(place + 1), number, place + 1))
        return made

    def skip(self, until_ns: int) -> int:
        """Leave out all before an instant; how many messages that were."""
        places = [loop.next_place(until_ns) for loop in self._loops]
        missed = sum(places[number] - place for _, number, place in self._due)
        self._due = [(loop.time_of(places[n]), n, places[n]) for n, loop in enumerate(self._loops)]
        heapify(self._due)
        return missed


def _joined(pieces: Sequence[Piece], lapse: float, pause_ns: int, what: str) -> Loop:
    if not pieces:
        raise RecordingError(what=what, why="holds no message", fix="check file and mapping")
    ts = np.concatenate([piece.ts for piece in pieces])
    order = np.argsort(ts, kind="stable")
    device = [name for piece in pieces for name in piece.device]
    signals = [msgspec.Raw(f"{{{body}}}".encode()) for piece in pieces for body in piece.body]
    offset = np.rint((ts[order] - ts[order[0]]) / lapse).astype(np.int64)
    rows = order.tolist()
    return Loop([device[i] for i in rows], [signals[i] for i in rows], offset, int(offset[-1]) + pause_ns)
