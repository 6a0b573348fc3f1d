"""Simulated devices as a producer: paces a source of readings by the clock and sends them as the wire contract wants.

The source is any object with `step`, `skip`, `next_ns` and `events` (flows/simulate.py puts the fleet of models/physics
here, flows/recordings.py recordings that begin again when they end), so this module knows Kafka and time, and nothing
of vehicles. See docs/simulator.md.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka_commit import PRODUCER
from operators.errors import TwinflowError

BUFFER_MESSAGES = 100_000
BUFFER_KIB = 48 * 1024
BEHIND_NS = 2_000_000_000
"""Farther behind the clock (a suspended machine), steps are skipped, not caught up with."""
REPORT_SECS, LOSS_SECS = 60.0, 10.0
FLUSH_SECS = 5.0

log = logging.getLogger("twinflow.simulator")
_encode = msgspec.json.Encoder().encode


class SimulatorError(TwinflowError):
    """The broker refuses messages for good; the service ends and starts anew with a new boot."""

    def __init__(self, *, topic: str, cause: str) -> None:
        super().__init__(f"simulator: {topic}: {cause}; see `twinflow logs kafka`, then start it again")


class Reading(Protocol):
    """One message of one device."""

    @property
    def device(self) -> str: ...
    @property
    def ts_ns(self) -> int: ...
    @property
    def signals(self) -> Mapping[str, float] | msgspec.Raw: ...
    @property
    def seq(self) -> int: ...
    @property
    def trusted(self) -> bool: ...


class Source(Protocol):
    """What is paced. `next_ns`: when the next step is due; `events`: what the last one has to say."""

    @property
    def next_ns(self) -> int: ...
    @property
    def events(self) -> Sequence[str]: ...
    def step(self) -> Sequence[Reading]: ...
    def skip(self, until_ns: int) -> int: ...


def encode(reading: Reading, boot: str) -> bytes:
    """The value of a message, JSON shape 1 of docs/wire.md.

    >>> from types import SimpleNamespace
    >>> encode(SimpleNamespace(device="p", ts_ns=10**18, signals={"flow": 1.5}, seq=7, trusted=True), "b1").decode()
    '{"device":"p","ts":1000000000000000000,"signals":{"flow":1.5},"seq":7,"boot":"b1"}'
    """
    value = {"device": reading.device, "ts": reading.ts_ns, "signals": reading.signals, "seq": reading.seq}
    return _encode({**value, "boot": boot})


def headers(reading: Reading) -> list[tuple[str, str | bytes | None]]:
    """Its headers: whether the clock of the device is to be corrected."""
    return [("clock", b"trusted" if reading.trusted else b"device")]


@dataclass(slots=True)
class Counts:
    """What became of the messages. `dropped`: the buffer was full; their numbers are missing, so telemetry tells."""

    sent: int = 0
    delivered: int = 0
    dropped: int = 0
    skipped_steps: int = 0


class Outlet:
    """An idempotent producer with a bounded buffer: while the broker is away messages wait, too many are dropped.

    Args:
        bootstrap: host:port of a broker.
        topic: where to.
        boot: name of this run, told with every message.
        buffer_messages: how many may wait, one after the other in order.
    """

    def __init__(self, bootstrap: str, topic: str, boot: str, *, buffer_messages: int = BUFFER_MESSAGES) -> None:
        self.topic, self.boot, self.counts = topic, boot, Counts()
        own: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "client.id": "twinflow-simulator",
            "linger.ms": 15,
            "message.timeout.ms": 0,
            "queue.buffering.max.messages": buffer_messages,
            "queue.buffering.max.kbytes": BUFFER_KIB,
            "log_level": 0,
        }
        self._producer = Producer({**PRODUCER, **own})
        self._refused: KafkaError | None = None
        self._closing = False

    def send(self, readings: Sequence[Reading]) -> None:
        """Hand messages over without waiting.

        Raises:
            SimulatorError: an earlier one was refused for good.
        """
        for reading in readings:
            try:
                self._producer.produce(
                    self.topic,
                    encode(reading, self.boot),
                    reading.device.encode(),
                    headers=headers(reading),
                    on_delivery=self._delivered,
                )
                self.counts.sent += 1
            except BufferError:
                self.counts.dropped += 1
            except KafkaException as error:
                raise SimulatorError(topic=self.topic, cause=str(error.args[0])) from error
        self.poll()

    def poll(self) -> None:
        """Take delivery reports.

        Raises:
            SimulatorError: a message was refused for good.
        """
        self._producer.poll(0)
        if self._refused is not None:
            raise SimulatorError(topic=self.topic, cause=str(self._refused))

    @property
    def waiting(self) -> int:
        """Messages not yet acknowledged."""
        return len(self._producer)

    def close(self) -> int:
        """Deliver what waits, for at most 5 s; how many messages were given up."""
        self._closing = True
        left = int(self._producer.flush(FLUSH_SECS))
        if left:
            self._producer.purge()
            self._producer.flush(1)
        return left

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.counts.delivered += 1
        elif not self._closing and self._refused is None:
            self._refused = error


def run(source: Source, outlet: Outlet, stop: threading.Event, *, between: Callable[[], None] = lambda: None) -> None:
    """Step the source in step with the clock until `stop` is set.

    Args:
        between: called before every step, in the same thread: the place to have devices act on commands.

    Raises:
        SimulatorError: see `Outlet`.
    """
    report = _Report(outlet)
    while not stop.is_set():
        wait_ns = source.next_ns - time.time_ns()
        if wait_ns > 0:
            stop.wait(min(wait_ns / 1e9, 0.2))
            continue
        if wait_ns < -BEHIND_NS:
            missed = source.skip(time.time_ns())
            outlet.counts.skipped_steps += missed
            log.warning("%.1f s behind the clock: %d steps skipped", -wait_ns / 1e9, missed)
            continue
        between()
        outlet.send(source.step())
        for event in source.events:
            log.info("%s", event)
        report.tell(time.monotonic())


class _Report:
    """A line about the counts each minute; at once, then at most each 10 s, while messages are dropped."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._next, self._next_loss, self._told = time.monotonic() + REPORT_SECS, 0.0, 0

    def tell(self, now: float) -> None:
        counts = self._outlet.counts
        if counts.dropped > self._told and now >= self._next_loss:
            log.error("broker away and buffer full: %d messages dropped so far", counts.dropped)
            self._told, self._next_loss = counts.dropped, now + LOSS_SECS
        if now >= self._next:
            self._next = now + REPORT_SECS
            log.info("%d sent, %d waiting, %d dropped", counts.sent, self._outlet.waiting, counts.dropped)
