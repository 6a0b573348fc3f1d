"""Waiting until a topic can be read, without noise and without giving up."""

from __future__ import annotations

import threading

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient


def wait_for_topic(bootstrap: str, topic: str, partitions: int, *, stop: threading.Event) -> bool:
    """Wait until the topic has its partitions, each with a leader; False when `stop` was set meanwhile."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}, logger=None)
    while not stop.is_set():
        try:
            found = admin.list_topics(topic, timeout=2).topics[topic].partitions
            if len(found) >= partitions and all(p.leader >= 0 for p in found.values()):
                return True
        except KafkaException:
            pass
        stop.wait(0.1)
    return False
