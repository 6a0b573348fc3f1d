"""How far the clock of the device is from that of the broker, found by exchanges as NTP has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import link
from .errors import DeviceError
from .wire import Time, nanos

EXCHANGES = 16
ANSWER_SECS = 5.0
RESOLUTION_NS = 1_000_000
"""The broker tells its time in whole milliseconds, cut off."""


class ClockError(DeviceError):
    """The clocks could not be compared."""


@dataclass(frozen=True)
class Offset:
    """What to add to the device's clock to get the broker's: `offset_ns`, true within +- `uncertainty_ns`.

    Attributes:
        round_trip_ns: of the quickest exchange.
        exchanges: how many bound it.
        at_ns: when it was found, by the device's clock.
    """

    offset_ns: int
    uncertainty_ns: int
    round_trip_ns: int
    exchanges: int
    at_ns: int


def bounded(exchanges: Iterable[tuple[int, int, int]]) -> Offset:
    """The offset that all exchanges allow.

    Each is (sent, stamped, back): device time before and after, and in between the broker's time in ns, cut off to the
    millisecond. So stamped - back <= offset < stamped + 1 ms - sent, however the delay is shared between both ways. The
    quickest exchange bounds it best; others whose milliseconds fall otherwise narrow it. Where one contradicts it (a
    clock was set meanwhile), it does not count.

    >>> bounded([(0, 5_000_000, 400_000), (10_000_000, 14_000_000, 10_900_000)])
    Offset(offset_ns=4800000, uncertainty_ns=200000, round_trip_ns=400000, exchanges=2, at_ns=10900000)
    """
    found = sorted(exchanges, key=lambda one: one[2] - one[0])
    if not found:
        raise ClockError("no exchange with the broker came back")
    low, high, used = -(1 << 62), 1 << 62, 0
    for sent, stamped, back in found:
        narrower = max(low, stamped - back), min(high, stamped + RESOLUTION_NS - sent)
        if narrower[0] <= narrower[1]:
            (low, high), used = narrower, used + 1
    sent, _, back = found[0]
    return Offset((low + high) // 2, -((low - high) // 2), back - sent, used, max(one[2] for one in found))


class Clock:
    """The clock of a device, and what is known of its error.

    Args:
        bootstrap, kafka, topic: where to exchange; the topic stamps LogAppendTime.
        key: name of the device or gateway.
        time_ns: the clock itself.

    Attributes:
        offset: None before the first `sync`.
        trusted: whether times are corrected and sent with the header `clock: trusted`; else telemetry estimates.
    """

    def __init__(
        self,
        bootstrap: str,
        kafka: Mapping[str, Any],
        *,
        topic: str,
        key: str,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.offset: Offset | None = None
        self.trusted = False
        self._bootstrap, self._kafka, self._topic, self._key, self._time_ns = bootstrap, kafka, topic, key, time_ns

    def now_ns(self) -> int:
        """Now, ns UTC, by the broker's clock as far as it is known."""
        return self._time_ns() + (self.offset.offset_ns if self.offset else 0)

    def stamp(self, ts: Time | None) -> tuple[int, bool]:
        """Time of a sample, ns UTC, from a time of the device (None: now), and whether it is to be trusted.

        Raises:
            WrongMessage: it is no time.
        """
        given = self._time_ns() if ts is None else nanos(ts)
        if self.trusted and self.offset is not None:
            return given + self.offset.offset_ns, True
        return given, False

    def sync(self, *, exchanges: int = EXCHANGES, trust: bool = False) -> Offset:
        """Compare with the broker's clock now; takes some milliseconds per exchange.

        Args:
            trust: from now on correct times by it and say `clock: trusted`. A clock that drifts by 50 ppm is off by
                30 ms after ten minutes: call it again in time.

        Raises:
            ClockError: no answer in time, or the topic does not stamp LogAppendTime.
        """
        from kafka.errors import KafkaError

        try:
            producer = link.producer(self._bootstrap, "twinflow-device-clock", {**self._kafka, "linger_ms": 0})
        except (KafkaError, link.NoBroker) as error:
            raise ClockError(f"the clock cannot be compared: {error}") from error
        try:
            self._exchange(producer)  # opens connections, asks for metadata
            self.offset = bounded([self._exchange(producer) for _ in range(max(exchanges, 1))])
        except KafkaError as error:
            raise ClockError(f"topic {self._topic} at {self._bootstrap}: {error}") from error
        finally:
            link.end(producer)
        self.trusted = self.trusted or trust
        return self.offset

    def _exchange(self, producer: Any) -> tuple[int, int, int]:
        claimed = 1  # a topic that keeps the time of the producer gives it back
        sent = self._time_ns()
        future = producer.send(self._topic, key=self._key.encode(), value=b"{}", timestamp_ms=claimed)
        stamped = future.get(timeout=ANSWER_SECS).timestamp
        back = self._time_ns()
        if stamped == claimed:
            raise ClockError(
                f"topic {self._topic} does not stamp the arrival; set message.timestamp.type=LogAppendTime"
            )
        return sent, stamped * 1_000_000, back
