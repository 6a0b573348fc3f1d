"""The one thread that sends: takes records from queues, hands them to an idempotent producer, marks them done."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import link
from .records import Queue, Record

WINDOW = 500
"""Records on their way at once: fewer than the 1,024 numbers that telemetry remembers, so a resend is recognised."""
WINDOW_BYTES = 8 << 20
RETRY_SECS, TELL_SECS = 1.0, 60.0
IDLE_SECS = 0.5

log = logging.getLogger("twinflow.device")


@dataclass
class Counts:
    """What became of the records. `refused`: the broker takes them never, such as one over its size limit."""

    delivered: int = 0
    refused: int = 0


class Outbox:
    """Sends what lies in the queues, the first queue first, each in order.

    Args:
        bootstrap: host:port of a broker.
        queues: where records wait.
        client: name of this client in the broker's log.
        kafka: settings of kafka-python besides ours.
        tick: called in this thread at least each half second, before records are taken.
    """

    def __init__(
        self,
        bootstrap: str,
        queues: Sequence[Queue],
        *,
        client: str,
        kafka: Mapping[str, Any],
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.counts, self.connected = Counts(), False
        self._bootstrap, self._queues, self._client, self._kafka, self._tick = bootstrap, queues, client, kafka, tick
        self._lock = threading.Lock()
        self._woken, self._stop = threading.Event(), threading.Event()
        self._flying = self._flying_bytes = 0
        self._broken: BaseException | None = None
        self._blocked_until = [0.0] * len(queues)
        self._told = 0.0
        self._producer: Any = None
        self._thread = threading.Thread(target=self._run, name="twinflow-device-outbox", daemon=True)

    def start(self) -> None:
        """Start the thread, once."""
        if not self._thread.ident:
            self._thread.start()

    def wake(self) -> None:
        """Something was put into a queue."""
        if not self._woken.is_set():
            self._woken.set()

    @property
    def waiting(self) -> int:
        """Records that the broker has not confirmed."""
        return sum(queue.waiting for queue in self._queues)

    def flush(self, timeout_secs: float) -> int:
        """Wait until the broker has all, for at most so long; how many records still wait."""
        end = time.monotonic() + timeout_secs
        while self._thread.is_alive() and self.waiting and time.monotonic() < end:
            self.wake()
            self._stop.wait(0.01)
        return self.waiting

    def close(self, timeout_secs: float) -> int:
        """Send what waits, for at most so long; how many records were left."""
        self.flush(timeout_secs)
        self._stop.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_secs + 2 * link.CONNECT_SECS)
        return self.waiting

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._tick()
                for queue in self._queues:
                    queue.settle()
                if self._producer is None and not self._connect():
                    continue
                self._woken.clear()
                sent = self._pump()
                if self._broken is not None:
                    self._start_over()
                elif not sent:
                    self._woken.wait(IDLE_SECS)
            except Exception as error:
                log.exception("sending failed; it starts anew in %g s", RETRY_SECS)
                self._broken = error
                self._start_over()
        self._drop_producer()

    def _connect(self) -> bool:
        from kafka.errors import KafkaError

        if not self.waiting:
            self._woken.wait(IDLE_SECS)
            self._woken.clear()
            return False
        try:
            self._producer = link.producer(self._bootstrap, self._client, self._kafka)
        except (KafkaError, link.NoBroker) as error:
            self.connected = False
            self._tell("%s; %d records wait", error, self.waiting)
            self._stop.wait(RETRY_SECS)
            return False
        self.connected = True
        return True

    def _pump(self) -> int:
        """Hand over what fits into the window; how many records these were."""
        sent = 0
        for number, queue in enumerate(self._queues):
            if time.monotonic() < self._blocked_until[number]:
                continue
            with self._lock:
                room = WINDOW - self._flying if self._flying_bytes < WINDOW_BYTES else 0
            taken = queue.take(min(room, 100)) if room > 0 else []
            for at, record in taken:
                if not self._hand_over(queue, at, record):
                    self._blocked_until[number] = time.monotonic() + RETRY_SECS
                    queue.rewind(at)
                    break
                sent += 1
        return sent

    def _hand_over(self, queue: Queue, at: int, record: Record) -> bool:
        """False when the topic cannot be reached now."""
        from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError

        with self._lock:
            self._flying += 1
            self._flying_bytes += record.size
        try:
            future = self._producer.send(record.topic, value=record.value, key=record.key, headers=list(record.headers))
        except MessageSizeTooLargeError as error:
            self._landed(record)
            self._refuse(queue, at, record, error)
            return True
        except KafkaTimeoutError as error:
            self._landed(record)
            self._tell("topic %s cannot be reached: %s; %d records wait", record.topic, error, self.waiting)
            return False
        except BaseException:
            self._landed(record)
            raise
        future.add_callback(self._delivered, queue, at, record)
        future.add_errback(self._failed, queue, at, record)
        return True

    def _landed(self, record: Record) -> None:
        with self._lock:
            self._flying -= 1
            self._flying_bytes -= record.size

    def _delivered(self, queue: Queue, at: int, record: Record, _metadata: Any) -> None:
        queue.done(at)
        self.counts.delivered += 1
        self._landed(record)
        self.wake()

    def _failed(self, queue: Queue, at: int, record: Record, error: BaseException) -> None:
        from kafka.errors import InvalidRecordError, MessageSizeTooLargeError

        self._landed(record)
        if isinstance(error, (MessageSizeTooLargeError, InvalidRecordError)):
            self._refuse(queue, at, record, error)
        else:
            self._broken = error
        self.wake()

    def _refuse(self, queue: Queue, at: int, record: Record, error: BaseException) -> None:
        queue.done(at)
        self.counts.refused += 1
        log.error("a record of %d bytes for %s was refused for good: %s", record.size, record.topic, error)

    def _start_over(self) -> None:
        """A new producer: nobody knows what the old one would still send, so it is ended first."""
        if not self._stop.is_set():
            self._tell("sending broke off (%s); it starts anew, %d records wait", self._broken, self.waiting)
        self._drop_producer()
        self._broken = None
        for queue in self._queues:
            queue.rewind()
        self._stop.wait(RETRY_SECS)

    def _drop_producer(self) -> None:
        producer, self._producer, self.connected = self._producer, None, False
        if producer is not None:
            try:
                link.end(producer)
            except Exception as error:
                log.warning("a producer could not be ended: %s", error)

    def _tell(self, text: str, *values: object) -> None:
        """At once, then at most each minute."""
        now = time.monotonic()
        if now >= self._told:
            self._told = now + TELL_SECS
            log.warning(text, *values)
