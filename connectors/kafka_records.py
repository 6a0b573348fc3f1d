"""Whole records of some partitions, as they come, for flows where one record counts more than a thousand a second.

librdkafka's consumer: what arrives is handed over at once, and a broker that was away is found again by itself. The
columnar consumer (connectors.kafka_columns) is for the topics that carry samples.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka_commit import Source
from operators.errors import TwinflowError

MOST_AT_ONCE = 500
ANSWER_SECS = 10.0
FIRST_BACK = 256
_AWAY = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)

log = logging.getLogger("twinflow.records")


class Got(NamedTuple):
    """One record. `arrival_ns`: when it reached the broker, ns UTC."""

    topic: str
    partition: int
    offset: int
    arrival_ns: int
    key: bytes | None
    value: bytes | None


class ReadBackError(TwinflowError):
    """The broker does not tell what a topic holds."""


class RecordReader:
    """Reads partitions from given offsets, read_committed. Offsets that are gone start at what is kept.

    Args:
        bootstrap: host:port of a broker.
        starts: where to read each partition from.
        name: of this client, for the broker's logs.

    Attributes:
        behind: partitions whose end, as it was at the start or later, has not been reached yet.
    """

    def __init__(self, bootstrap: str, starts: Mapping[Source, int], *, name: str) -> None:
        self.behind = set(starts)
        self._consumer = _consumer(bootstrap, name)
        self._consumer.assign([TopicPartition(*source, offset) for source, offset in starts.items()])

    def poll(self, wait_secs: float) -> list[Got]:
        """What has come, at most MOST_AT_ONCE records, in the order of each partition; [] after the wait."""
        found = self._consumer.consume(1, wait_secs)
        if found:
            found += self._consumer.consume(MOST_AT_ONCE - 1, 0)
        return [got for message in found if (got := self._read(message)) is not None]

    def end_of(self, source: Source) -> int | None:
        """Offset after the newest record, as the last fetch told; None before, asks nobody."""
        try:
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*source), cached=True)
        except (KafkaException, RuntimeError):  # not assigned yet, or closed
            return None
        return end if end >= 0 else None

    def _read(self, message: Message) -> Got | None:
        error = message.error()
        if error is None:
            return _got(message)
        if error.code() == KafkaError._PARTITION_EOF:
            self.behind.discard((message.topic() or "", message.partition() or 0))
        elif error.code() not in _AWAY:
            log.warning("%s/%s: %s", message.topic(), message.partition(), error.str())
        return None

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def starts_of(bootstrap: str, committed: Mapping[Source, int | None]) -> dict[Source, int]:
    """Where to go on: at the committed offset, else at the oldest record that is kept.

    An offset that is gone is told as an error, and what is kept is read: for a reader that recognises repeats and
    stale records, reading again is harmless.

    Raises:
        ReadBackError: the broker does not answer.
    """
    starts: dict[Source, int] = {}
    for source, (first, end) in _bounds(bootstrap, committed).items():
        at = committed[source]
        starts[source] = first if at is None or not first <= at <= end else at
        if at is not None and at < first:
            log.error("%s/%d: %d records were deleted before they were read", *source, first - at)
        elif at is not None and at > end:
            log.error(
                "%s/%d: read up to offset %d, but it ends at %d: made anew; read from its start", *source, at, end
            )
    return starts


def ends_of(bootstrap: str, topic: str, partitions: int) -> dict[Source, int]:
    """Where what comes from now on will begin.

    Raises:
        ReadBackError: the broker does not answer.
    """
    return {source: end for source, (_, end) in _bounds(bootstrap, [(topic, p) for p in range(partitions)]).items()}


def read_back(bootstrap: str, topic: str, partitions: int, *, look_back_ns: int) -> tuple[list[Got], int]:
    """The newest records of each partition: at least all that arrived up to `look_back_ns` before the newest one.

    Returns:
        The records, in the order of each partition; and the arrival up to which the topic may hold more, 0 where all it
        holds is read. What retention deleted does not count.

    Raises:
        ReadBackError: the broker does not answer.
    """
    bounds = _bounds(bootstrap, [(topic, p) for p in range(partitions)])
    step = FIRST_BACK
    left = {s: max(first, end - step) for s, (first, end) in bounds.items() if first < end}
    starts: dict[Source, int] = {}
    found: dict[Source, list[Got]] = {}
    while left:
        starts |= left
        found |= _read_to_end(bootstrap, left)
        step *= 4
        short = [s for s, at in left.items() if at > bounds[s][0] and not _covers(found[s], look_back_ns)]
        left = {s: max(bounds[s][0], bounds[s][1] - step) for s in short}
    cut = [rows[0].arrival_ns for s, rows in found.items() if starts[s] > bounds[s][0]]
    return [got for rows in found.values() for got in rows], max(cut, default=0)


def _covers(rows: list[Got], look_back_ns: int) -> bool:
    return bool(rows) and rows[-1].arrival_ns - rows[0].arrival_ns > look_back_ns


def _read_to_end(bootstrap: str, starts: Mapping[Source, int]) -> dict[Source, list[Got]]:
    reader = RecordReader(bootstrap, starts, name="twinflow-read-back")
    found: dict[Source, list[Got]] = {source: [] for source in starts}
    try:
        patience = time.monotonic() + ANSWER_SECS
        while reader.behind:
            left = len(reader.behind)
            for got in reader.poll(0.2):
                found[got.topic, got.partition].append(got)
                patience = time.monotonic() + ANSWER_SECS
            if len(reader.behind) < left:
                patience = time.monotonic() + ANSWER_SECS
            if time.monotonic() > patience:
                raise ReadBackError(
                    f"no answer within {ANSWER_SECS:g} s from {bootstrap} about {sorted(reader.behind)}"
                )
    finally:
        reader.close()
    return found


def _bounds(bootstrap: str, sources: Iterable[Source]) -> dict[Source, tuple[int, int]]:
    """Oldest offset kept, and the one after the newest, of each partition."""
    consumer = _consumer(bootstrap, "twinflow-bounds")
    try:
        return {s: consumer.get_watermark_offsets(TopicPartition(*s), timeout=ANSWER_SECS) for s in sources}
    except KafkaException as error:
        raise ReadBackError(f"{bootstrap} does not tell what its topics hold: {error.args[0]}") from error
    finally:
        consumer.close()


def _consumer(bootstrap: str, name: str) -> Consumer:
    settings: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "group.id": name,
        "client.id": name,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 500,
        "queued.max.messages.kbytes": 16 << 10,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
    }
    return Consumer(settings, logger=_quiet)


def _got(message: Message) -> Got:
    _, ms = message.timestamp()
    return Got(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        ms * 1_000_000,
        message.key(),
        message.value(),
    )


_quiet = logging.getLogger("twinflow.records.kafka")
_quiet.setLevel(logging.CRITICAL)
