"""When is a Kafka cluster ready: it answers metadata, has a controller, and the topics asked for have leaders."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.kafka.errors import BrokerError

PROBE_SECS = 2.0
BETWEEN_SECS = 0.05


def why_not_ready(bootstrap: str, topics: Collection[str] = (), *, timeout_secs: float = PROBE_SECS) -> str:
    """One try: "" when the cluster answers metadata and every partition of `topics` has a leader, else what is missing.

    Args:
        bootstrap: host:port, or several with commas.
        topics: must exist.
        timeout_secs: how long the try may take.
    """
    refused = _refusal(bootstrap, timeout_secs)
    if refused:
        return refused
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        cluster = client.list_topics(timeout=timeout_secs)
    except KafkaException:
        return "listens, but answered no metadata"
    if cluster.controller_id is None or cluster.controller_id < 0:
        return "has no controller"
    for name in sorted(topics):
        if name not in cluster.topics:
            return f"has no topic {name}"
        if any(part.leader < 0 for part in cluster.topics[name].partitions.values()):
            return f"topic {name} has no leader"
    return ""


def wait_ready(
    bootstrap: str,
    *,
    timeout_secs: float,
    topics: Collection[str] = (),
    running: Callable[[], bool] = lambda: True,
) -> None:
    """Returns once `why_not_ready` has nothing to say.

    Args:
        bootstrap, topics: as there.
        timeout_secs: give up after this long.
        running: asked before each try; False ends the wait at once.

    Raises:
        BrokerError: not ready in time, or no longer running.
    """
    what, fix = f"kafka at {bootstrap}", "its log says why"
    deadline = time.monotonic() + timeout_secs
    why = "was not asked"
    while running():
        left = deadline - time.monotonic()
        if left <= 0:
            raise BrokerError(what=what, why=f"not ready in {timeout_secs:g} s ({why})", fix=fix)
        why = why_not_ready(bootstrap, topics, timeout_secs=min(PROBE_SECS, left))
        if not why:
            return
        time.sleep(BETWEEN_SECS)
    raise BrokerError(what=what, why="its process ended while starting", fix=fix)


def _refusal(bootstrap: str, timeout_secs: float) -> str:
    """Asks by a bare socket first: a client costs 10 ms and complains on stderr. "" when one address listens."""
    why = "no address given"
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_secs).close()
        except OSError as error:
            why = error.strerror or str(error)
        else:
            return ""
    return why
