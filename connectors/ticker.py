"""Ticks: a record with the time of now into every partition of a topic, so that devices that went silent are noticed.

`python -m connectors.ticker --kafka host:port` runs it as a service; SIGTERM ends it with exit code 0. Windows and
rows of a silent device are closed by ticks alone: no operator reads a clock.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import KafkaError, Message, Producer
from prometheus_client.core import Metric

from connectors.health import counters, serve
from connectors.kafka_commit import PRODUCER, CommitError
from connectors.kafka_wait import wait_for_topic
from connectors.stop_signal import set_on_signals

log = logging.getLogger("twinflow.ticker")


class Ticker:
    """Ticks into all partitions by one idempotent producer.

    A partition whose last tick is not acknowledged gets no further one, so no backlog forms while the broker is away.
    When it is back, ticks wait for `grace_s`, so that devices can first deliver what they kept: a tick ahead of that
    would call them silent, and what they kept would be late.

    Args:
        bootstrap: host:port of a broker.
        topic: the topic.
        partitions: how many it has.
        every_s: time between ticks, s; an acknowledgement that takes three times as long counts as an outage.
        grace_s: pause after an outage, s.
    """

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, every_s: float = 1.0, *, grace_s: float = 5.0
    ) -> None:
        self._topic, self._partitions = topic, partitions
        self._every_s, self._grace_s = every_s, grace_s
        own = {"bootstrap.servers": bootstrap, "linger.ms": 0, "message.timeout.ms": 0, "log_level": 0}
        self._producer = Producer({**PRODUCER, **own})
        self._sent_at: dict[int, float] = {}
        self._quiet_until = 0.0
        self._refused: KafkaError | None = None
        self._acknowledged = self._outages = 0

    def stalled(self) -> str:
        """ "" always: it waits for a broker that is away."""
        return ""

    def why_not_ready(self) -> str:
        """ "" once the broker has taken a tick."""
        return "" if self._acknowledged else "no tick is acknowledged yet"

    def oldest_age_secs(self) -> float:
        """Age of the oldest tick under way, s."""
        return max((time.monotonic() - at for at in list(self._sent_at.values())), default=0.0)

    def collect(self) -> Iterable[Metric]:
        """Figures of the process."""
        yield counters("twinflow_ticks", "Ticks that the broker has.", (), {(): self._acknowledged})
        yield counters("twinflow_tick_outages", "Times a tick took three periods.", (), {(): self._outages})

    def tick(self, now_ms: int) -> int:
        """Send a tick into every partition that has none under way; how many these were.

        Args:
            now_ms: wall clock, ms since the epoch UTC.

        Raises:
            CommitError: the broker refuses ticks for good.
        """
        self._producer.poll(0)
        if self._refused is not None:
            raise CommitError(shard="ticker", doing="delivering a tick", cause=str(self._refused))
        now = time.monotonic()
        if now < self._quiet_until:
            return 0
        free = [partition for partition in range(self._partitions) if partition not in self._sent_at]
        for partition in free:
            self._sent_at[partition] = now
            self._producer.produce(
                self._topic,
                b'{"tick": %d}' % now_ms,
                partition=partition,
                headers=[("kind", b"tick")],
                on_delivery=self._delivered,
            )
        self._producer.poll(0)
        return len(free)

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set; ticks missed while the process slept are not made up for.

        Raises:
            CommitError: see `tick`.
        """
        due = time.monotonic()
        while not stop.is_set():
            self.tick(time.time_ns() // 1_000_000)
            due = max(due + self._every_s, time.monotonic())
            while (left := due - time.monotonic()) > 0 and not stop.is_set():
                self._producer.poll(0)
                stop.wait(min(left, 0.1))

    def close(self) -> None:
        """Drop ticks that are still under way."""
        self._producer.purge()
        self._producer.flush(1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        now = time.monotonic()
        took = now - self._sent_at.pop(message.partition() or 0, now)
        if error is not None:
            self._refused = error
            return
        self._acknowledged += 1
        if took > 3 * self._every_s and now >= self._quiet_until:
            self._quiet_until = now + self._grace_s
            self._outages += 1
            log.warning("%s: no tick for %.1f s; the next one follows in %g s", self._topic, took, self._grace_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 then, 1 when the broker refuses ticks for good."""
    parser = argparse.ArgumentParser(prog="python -m connectors.ticker", description=main.__doc__)
    parser.add_argument("--kafka", required=True, help="host:port of a broker")
    parser.add_argument("--topic", default="samples")
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between ticks")
    parser.add_argument("--grace", type=float, default=5.0, help="seconds to wait after the broker was away")
    told = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = set_on_signals(threading.Event())
    if not wait_for_topic(told.kafka, told.topic, told.partitions, stop=stop):
        return 0
    ticker = Ticker(told.kafka, told.topic, told.partitions, told.every, grace_s=told.grace)
    port = int(os.environ.get("TWINFLOW_HEALTH_PORT") or 0)
    if port:
        serve(port, ticker)
    log.info("ticks into %d partitions of %s each %g s", told.partitions, told.topic, told.every)
    try:
        ticker.run(stop)
    except CommitError as error:
        log.error("%s", error)
        return 1
    finally:
        ticker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
