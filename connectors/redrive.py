"""Sends dead letters once more to the topic they came from, byte for byte, after the cause was mended."""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
from collections.abc import Iterator

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from connectors.kafka_commit import PRODUCER
from connectors.live_records import DeadLetterRecord
from operators.errors import TwinflowError

HEADER = "redrive"
"""Header of a redriven message: topic/partition/offset of the original."""
ARROW_START = b"\xff\xff\xff\xff"
ARROW = b"application/vnd.apache.arrow.stream"
LONGEST_KEPT = 1_048_576
"""A dead letter keeps this much of a message; what fills it may have been longer, so it is not sent again."""
ANSWER_SECS = 10.0
PACE_SECS = 0.05

_letter = msgspec.json.Decoder(DeadLetterRecord)


class RedriveError(TwinflowError):
    """Kafka did not take part; what was not confirmed is redriven by the next try."""


class RedriveBusy(TwinflowError):
    """Another redrive runs."""


class Redriven(msgspec.Struct):
    """What a redrive did, or in a dry run would do.

    Attributes:
        found: letters of the reason that were not redriven before.
        sent: messages sent again; in a dry run those that would be.
        left: letters found beyond the limit.
        passed_over: letters that do not hold the whole message, or of which only a part was refused: sent again, the
            rest of it would count twice.
    """

    reason: str
    dry_run: bool
    found: int = 0
    sent: int = 0
    left: int = 0
    passed_over: int = 0


class Redriver:
    """Redrives by reason, oldest first in each partition.

    How far it got is committed in Kafka as group `twinflow-redrive.REASON`, so no letter is redriven twice, whoever
    asks and whenever, unless an earlier try broke before it was confirmed.

    Args:
        bootstrap: host:port of a broker.
        letters: the topic of the dead letters.
    """

    def __init__(self, bootstrap: str, *, letters: str = "dead-letters") -> None:
        self._bootstrap, self._letters = bootstrap, letters
        self._busy = threading.Lock()

    def run(self, reason: str, *, limit: int, dry_run: bool) -> Redriven:
        """Redrive at most `limit` letters of a reason.

        Raises:
            RedriveBusy: another one runs.
            RedriveError: Kafka did not answer or refused a message.
        """
        if not self._busy.acquire(blocking=False):
            raise RedriveBusy("another redrive runs; wait for its end")
        try:
            return self._run(Redriven(reason, dry_run), limit)
        except KafkaException as error:
            raise RedriveError(f"redriving {reason!r}: {error.args[0]}") from error
        finally:
            self._busy.release()

    def _run(self, done: Redriven, limit: int) -> Redriven:
        settings = {
            "bootstrap.servers": self._bootstrap,
            "group.id": f"twinflow-redrive.{done.reason}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
        consumer = Consumer(settings, logger=_quiet)
        sender = _Sender(self._bootstrap)
        reached: dict[int, int] = {}
        try:
            for message, letter in self._unsent(consumer, done.reason):
                done.found += 1
                if done.sent >= limit:
                    done.left += 1
                    continue
                raw = _raw(letter)
                if raw is None or len(raw) >= LONGEST_KEPT or not letter.whole:
                    done.passed_over += 1
                    continue
                done.sent += 1
                if not done.dry_run:
                    sender.send(letter, raw)
                    reached[message.partition() or 0] = (message.offset() or 0) + 1
            if reached:
                sender.confirm()
                offsets = [TopicPartition(self._letters, p, offset) for p, offset in reached.items()]
                consumer.commit(offsets=offsets, asynchronous=False)
        finally:
            consumer.close()
        return done

    def _unsent(self, consumer: Consumer, reason: str) -> Iterator[tuple[Message, DeadLetterRecord]]:
        found = consumer.list_topics(self._letters, timeout=ANSWER_SECS).topics[self._letters].partitions
        partitions = [TopicPartition(self._letters, p) for p in found]
        starts = consumer.committed(partitions, timeout=ANSWER_SECS)
        consumer.assign(starts)
        waiting, heard = {p.partition for p in partitions}, time.monotonic()
        while waiting:
            messages = consumer.consume(500, PACE_SECS)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > ANSWER_SECS:
                raise RedriveError(f"redriving {reason!r}: Kafka gave no dead letters within {ANSWER_SECS:g} s")
            for message in messages:
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(message.partition() or 0)
                elif error is None:
                    letter = _read(message.value())
                    if letter is not None and letter.reason == reason:
                        yield message, letter


class _Sender:
    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({**PRODUCER, "bootstrap.servers": bootstrap}, logger=_quiet)
        self._failed: KafkaError | None = None

    def send(self, letter: DeadLetterRecord, raw: bytes) -> None:
        where = f"{letter.topic}/{letter.partition}/{letter.offset}"
        headers: list[tuple[str, str | bytes | None]] = [(HEADER, where.encode())]
        if raw.startswith(ARROW_START):
            headers.append(("content-type", ARROW))
        key = letter.key.encode() if letter.key else None
        self._producer.produce(
            letter.topic, raw, key, partition=letter.partition, headers=headers, on_delivery=self._delivered
        )
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        self._failed = self._failed or error

    def confirm(self) -> None:
        left = self._producer.flush(3 * ANSWER_SECS)
        if left or self._failed is not None:
            raise RedriveError(f"Kafka did not take {left or 'some'} messages: {self._failed or 'no answer'}")


def _read(value: bytes | None) -> DeadLetterRecord | None:
    try:
        return _letter.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _raw(letter: DeadLetterRecord) -> bytes | None:
    """The bytes of the original message; None where the letter does not hold them."""
    if letter.raw is not None:
        return letter.raw.encode()
    try:
        return None if letter.raw_base64 is None else base64.b64decode(letter.raw_base64, validate=True)
    except binascii.Error:
        return None


_quiet = logging.getLogger("twinflow.redrive.kafka")
_quiet.setLevel(logging.CRITICAL)
