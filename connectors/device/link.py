"""How the broker is reached: settings of kafka-python, and where a device's records lie."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Any

from .errors import DeviceError

CONNECT_SECS = 3.0
"""One try to reach the broker; tries are repeated for ever."""
FOR_EVER_MS = 10**12
_SHARED = {
    "bootstrap_timeout_ms": int(CONNECT_SECS * 1000),
    "reconnect_backoff_ms": 100,
    "reconnect_backoff_max_ms": 2000,
    "metrics_enabled": False,
}


class NoBroker(DeviceError):
    """Nobody answers at any of the addresses."""


def reach(bootstrap: str, kafka: Mapping[str, Any]) -> None:
    """See whether somebody answers at all, before a client is made: one that cannot connect leaves its sockets open.

    Raises:
        NoBroker: nobody does.
    """
    if kafka.get("proxy_url"):
        return
    said: list[str] = []
    for address in bootstrap.split(","):
        host, colon, port = address.strip().rpartition(":")
        try:
            where = (host.strip("[]"), int(port)) if colon else (port, 9092)
            socket.create_connection(where, timeout=CONNECT_SECS).close()
            return
        except (OSError, ValueError) as error:
            said.append(f"{address}: {error}")
    raise NoBroker(f"no broker answers: {'; '.join(said)}")


def producer(bootstrap: str, client: str, kafka: Mapping[str, Any]) -> Any:
    """An idempotent producer that never gives a record up while the process lives: each arrives once, in order.

    Raises:
        KafkaError, NoBroker: no broker answers now.
    """
    reach(bootstrap, kafka)
    from kafka import KafkaProducer

    quiet()
    own = {
        "bootstrap_servers": bootstrap,
        "client_id": client,
        "enable_idempotence": True,
        "acks": "all",
        "delivery_timeout_ms": FOR_EVER_MS,
        "max_block_ms": int(CONNECT_SECS * 1000),
        "max_request_size": 4 << 20,
        "batch_size": 128 << 10,
        "linger_ms": 5,
        "allow_auto_create_topics": False,
    }
    made: Any = KafkaProducer(**{**_SHARED, **own, **kafka})
    made._unregister_cleanup()  # at the exit of the program it would be closed before us, with records still waiting
    return made


def end(producer: Any) -> None:
    """End a producer now; what it had not delivered fails. Its own `close` gives up while anything is on its way."""
    producer._sender.force_close()
    producer._sender.join(CONNECT_SECS)
    producer.close(timeout=0)


def consumer(bootstrap: str, client: str, kafka: Mapping[str, Any]) -> Any:
    """A consumer without a group; whoever asks for offsets that are gone gets the oldest there are.

    Raises:
        KafkaError, NoBroker: no broker answers now.
    """
    reach(bootstrap, kafka)
    from kafka import KafkaConsumer

    quiet()
    own = {
        "bootstrap_servers": bootstrap,
        "client_id": client,
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "allow_auto_create_topics": False,
    }
    return KafkaConsumer(**{**_SHARED, **own, **kafka})


def partition_of(key: bytes, partitions: int) -> int:
    """Where the Java client, and so every producer of twinflow, puts this key.

    >>> partition_of(b"foobar", 12)
    6
    """
    from kafka.partitioner.default import murmur2

    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def quiet() -> None:
    """kafka-python tells of every lost connection; we tell once. A level set by the user for "kafka" stays."""
    theirs = logging.getLogger("kafka")
    if theirs.level == logging.NOTSET:
        theirs.setLevel(logging.CRITICAL)
