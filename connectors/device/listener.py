"""Reads the topic of commands: the partitions of its devices, the keys of its devices, and nothing else."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import link

POLL_MS = 500
RETRY_SECS = 1.0

log = logging.getLogger("twinflow.device")


class Arrived(NamedTuple):
    """A record for one of our devices, and where it stood."""

    device: str
    value: bytes
    partition: int
    offset: int


class Listener:
    """One thread that waits for commands and puts them into a queue, in the order of each partition.

    Args:
        bootstrap: host:port of a broker.
        topic: topic of commands.
        positions: where to go on, by partition; a partition without one is read from now on.
        client, kafka: see `Outbox`.
        begins: called with partition and offset where one is read for the first time.

    Attributes:
        found: what came; `arrived` is set when something was put there, `ready` when all from then on will be.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        positions: Mapping[int, int],
        *,
        client: str,
        kafka: Mapping[str, Any],
        begins: Callable[[int, int], None] = lambda _partition, _offset: None,
    ) -> None:
        self.found: queue.SimpleQueue[Arrived] = queue.SimpleQueue()
        self.ready, self.arrived = threading.Event(), threading.Event()
        self._bootstrap, self._topic, self._client, self._kafka = bootstrap, topic, client, kafka
        self._positions, self._begins = dict(positions), begins
        self._devices: dict[bytes, str] = {}
        self._told = False
        self._changed, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="twinflow-device-listener", daemon=True)

    def add(self, device: str) -> None:
        """Listen for one more device."""
        if device.encode() not in self._devices:
            self._devices = {**self._devices, device.encode(): device}
            self.ready.clear()
            self._changed.set()

    def start(self) -> bool:
        """Start the thread; False when it was started before."""
        if self._thread.ident:
            return False
        self._thread.start()
        return True

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self.arrived.set()
        if self._thread.is_alive():
            self._thread.join(2 * link.CONNECT_SECS)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._connected()
            self._stop.wait(RETRY_SECS)

    def _connected(self) -> None:
        """Listen until the end, or until the broker is lost for good."""
        try:
            consumer = link.consumer(self._bootstrap, self._client, self._kafka)
            try:
                self._listen(consumer)
            finally:
                consumer.close()
        except Exception as error:
            log.log(logging.DEBUG if self._told else logging.WARNING, "commands cannot be read: %r; trying on", error)
            self._told = True

    def _listen(self, consumer: Any) -> None:
        self._changed.set()
        while not self._stop.is_set():
            if self._changed.is_set():
                self._changed.clear()
                self._assign(consumer)
                self._told = False
                self.ready.set()
            polled = consumer.poll(timeout_ms=POLL_MS)
            any_of_ours = False
            for records in polled.values():
                for record in records:
                    device = self._devices.get(record.key or b"")
                    if device is not None:
                        self.found.put(Arrived(device, record.value or b"", record.partition, record.offset))
                        any_of_ours = True
                    self._positions[record.partition] = record.offset + 1
            if any_of_ours:
                self.arrived.set()

    def _assign(self, consumer: Any) -> None:
        from kafka import TopicPartition

        numbers = consumer.partitions_for_topic(self._topic)
        if not numbers:
            raise LookupError(f"topic {self._topic} is not there")
        wanted = sorted({link.partition_of(key, len(numbers)) for key in self._devices})
        assigned = [TopicPartition(self._topic, partition) for partition in wanted]
        fresh = [at for at in assigned if at.partition not in self._positions]
        if fresh:
            for at, end in consumer.end_offsets(fresh).items():
                self._begins(at.partition, end)
                self._positions[at.partition] = end
        consumer.assign(assigned)
        for at in assigned:
            consumer.seek(at, self._positions[at.partition])
