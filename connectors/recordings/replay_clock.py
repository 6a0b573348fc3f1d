"""When a recorded message is sent and which time it then carries: pure arithmetic, the caller has the clock."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from connectors.recordings.faults import RecordingError
from connectors.recordings.instants import MAX_TIME_NS, duration_ns, iso_ns
from connectors.recordings.piece import Piece
from operators.types import F64, I64, NO_TIME

At: TypeAlias = Literal["now", "recorded"]
LEAST_GAP_NS = 1_000_000


def parse_speed(text: str) -> float:
    """How many recorded seconds pass in one; inf for max.

    Raises:
        ValueError: it is no number over 0.

    >>> parse_speed("10"), parse_speed("max")
    (10.0, inf)
    """
    speed = math.inf if text == "max" else float(text)
    if not speed > 0 or (math.isinf(speed) and text != "max"):
        raise ValueError(f"{text!r} is no speed")
    return speed


@dataclass(frozen=True, slots=True)
class Span:
    """What a recording covers: earliest and latest time, ns UTC, and its messages and samples."""

    first: int
    last: int
    messages: int
    samples: int

    @staticmethod
    def of(pieces: Iterable[Piece]) -> Span | None:
        """Of all messages; None where there is none."""
        first, last, messages, samples = MAX_TIME_NS, NO_TIME, 0, 0
        for piece in pieces:
            if len(piece):
                first, last = min(first, int(piece.ts.min())), max(last, int(piece.ts.max()))
                messages, samples = messages + len(piece), samples + int(piece.samples.sum())
        return Span(first, last, messages, samples) if messages else None

    @property
    def gap_ns(self) -> int:
        """Mean distance of two messages; what a loop leaves between two rounds."""
        return max(LEAST_GAP_NS, (self.last - self.first) // max(1, self.messages - 1))

    def shift_ns(self, now_ns: int, *, at: At, speed: float) -> int:
        """What is added to every time.

        At `recorded` nothing. At `now` and speed 1 the first message is sent as of now, and the others follow as they
        did. At any other speed recorded time does not pass as the clock does: then the last one is as of now, so that
        nothing lies in the future.

        >>> span = Span(100, 400, 4, 4)
        >>> [span.shift_ns(1000, at="now", speed=s) for s in (1.0, 10.0)]
        [900, 600]
        """
        if at == "recorded":
            return 0
        return now_ns - (self.first if speed == 1 else self.last)


def cut_between(piece: Piece, start_ns: int | None, end_ns: int | None) -> Piece:
    """The messages from start (inclusive) to end (exclusive); None is open."""
    keep = np.ones(len(piece), np.bool_)
    if start_ns is not None:
        keep &= piece.ts >= start_ns
    if end_ns is not None:
        keep &= piece.ts < end_ns
    return piece.take(keep)


def parse_limit(text: str, first_ns: int, name: str) -> int:
    """An instant of the recording: ISO 8601, or a duration since its first message.

    Raises:
        RecordingError: it is neither.

    >>> parse_limit("30s", 1_000, "--from"), parse_limit("2020-03-09T10:34:33Z", 0, "--to")
    (30000001000, 1583750073000000000)
    """
    since = duration_ns(text)
    if since is not None:
        return first_ns + since
    instant = iso_ns(text, "UTC")
    if instant == NO_TIME:
        fix = "give a time such as 2020-03-09T10:34:33, or a duration such as 30s"
        raise RecordingError(what=f"{name} {text}", why="is neither a time nor a duration", fix=fix)
    return instant


class ReplayClock:
    """Says when each message is due; a message that is older than one before it is due at once.

    >>> clock = ReplayClock(speed=10.0, start_secs=5.0, first_ns=0)
    >>> clock.due(np.array([0, 20_000_000_000, 10_000_000_000])).tolist()
    [5.0, 7.0, 7.0]
    """

    def __init__(self, *, speed: float, start_secs: float, first_ns: int) -> None:
        self.speed, self.start_secs, self._first = speed, start_secs, first_ns
        self._latest = first_ns

    def due(self, ts: I64) -> F64:
        """Seconds of the caller's clock at which each of these is to be sent.

        Args:
            ts: int64[n], event times; those of all calls together are one sequence.
        """
        if not ts.size:
            return np.zeros(0, np.float64)
        latest = np.maximum.accumulate(np.maximum(ts, self._latest))
        self._latest = int(latest[-1])
        return np.asarray(self.start_secs + (latest - self._first) / 1e9 / self.speed, np.float64)
