"""Offsets asked of the broker: where topics end, where an instant lies, what a group has committed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec, TimestampSpec

from operators.errors import TwinflowError

ANSWER_SECS = 2.0

Offsets: TypeAlias = Mapping[tuple[str, int], int]
"""By topic and partition."""


class BrokerAway(TwinflowError):
    """The broker does not answer, or does not know the topic (yet)."""


class BrokerOffsets:
    """Asks one broker, as one group; makes no noise of its own while it is away.

    Args:
        bootstrap: host:port of a broker.
        group: whose committed offsets are asked.
    """

    def __init__(self, bootstrap: str, *, group: str) -> None:
        settings: dict[str, str | int | float | bool] = {"bootstrap.servers": bootstrap, "log_level": 0}
        quiet = logging.getLogger("twinflow.kafka.offsets")
        quiet.setLevel(logging.CRITICAL)
        self._admin = AdminClient(settings, logger=quiet)
        self._consumer = Consumer({**settings, "group.id": group, "enable.auto.commit": False}, logger=quiet)

    def ends(self, topics: Sequence[str]) -> Offsets:
        """Offset after the last record of every partition, those of open transactions included.

        Raises:
            BrokerAway: no answer.
        """
        latest = OffsetSpec._latest
        assert latest is not None
        return self._ask(topics, latest)

    def first_since(self, topic: str, at_ms: int) -> Offsets:
        """Offset of the first record that arrived at this time (ms since 1970) or later; -1 where there is none.

        Raises:
            BrokerAway: no answer.
        """
        return self._ask([topic], TimestampSpec(at_ms))

    def committed(self, places: Sequence[tuple[str, int]]) -> Offsets:
        """Next offset of the group; negative where it has none.

        Raises:
            BrokerAway: no answer.
        """
        try:
            found = self._consumer.committed([TopicPartition(*place) for place in places], timeout=ANSWER_SECS)
        except KafkaException as error:
            raise BrokerAway(str(error.args[0])) from error
        return {(tp.topic, tp.partition): tp.offset for tp in found}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _ask(self, topics: Sequence[str], which: OffsetSpec) -> Offsets:
        try:
            known = self._admin.list_topics(timeout=ANSWER_SECS).topics
            asked = {TopicPartition(topic, p): which for topic in topics for p in known[topic].partitions}
            answers = self._admin.list_offsets(asked, request_timeout=ANSWER_SECS)
            return {(tp.topic, tp.partition): int(future.result().offset) for tp, future in answers.items()}
        except KeyError as error:
            raise BrokerAway(f"there is no topic {error}") from error
        except KafkaException as error:
            raise BrokerAway(str(error.args[0])) from error
