"""Writes command requests: all that people may do to a device is to ask; the gate decides."""

from __future__ import annotations

import logging
import threading
import uuid
from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from connectors.kafka_commit import PRODUCER
from operators.errors import TwinflowError

ANSWER_SECS = 5.0


class RequestNotSent(TwinflowError):
    """Kafka did not confirm the request in time; it may or may not be there."""


class CommandRequests:
    """One producer for all requests of a process, made when the first one is sent.

    Args:
        bootstrap: host:port of a broker.
    """

    def __init__(self, bootstrap: str, *, topic: str = "command-requests") -> None:
        self._bootstrap, self._topic = bootstrap, topic
        self._producer: Producer | None = None
        self._lock = threading.Lock()

    def send(
        self, *, device: str, verb: str, arguments: dict[str, Any], reason: str, issuer: str, ts_ns: int
    ) -> str:  # fmt: skip
        """Write a request and wait until Kafka has it; returns its id.

        Raises:
            RequestNotSent: there was no confirmation.
        """
        made = uuid.uuid4().hex
        request = {
            "id": made, "device": device, "verb": verb, "arguments": arguments, "reason": reason, "issuer": issuer,
            "ts_ns": ts_ns,
        }  # fmt: skip
        failed: list[KafkaError | None] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            failed.append(error)

        with self._lock:
            if self._producer is None:
                settings = {
                    **PRODUCER,
                    "bootstrap.servers": self._bootstrap,
                    "linger.ms": 0,
                    "message.timeout.ms": 5000,
                }
                self._producer = Producer(settings, logger=_quiet)
            self._producer.produce(self._topic, msgspec.json.encode(request), device.encode(), on_delivery=delivered)
            self._producer.flush(ANSWER_SECS)
            if failed != [None]:
                self._producer = (
                    None  # one that lost its broker may never find it again; the next request makes another
                )
        if failed != [None]:
            raise RequestNotSent(f"request {made}: {failed[0] if failed else 'Kafka gave no answer'}")
        return made


_quiet = logging.getLogger("twinflow.requests.kafka")
_quiet.setLevel(logging.CRITICAL)
