"""Fills a `LiveView` from Kafka: two consumer threads, a bounded look back at the start, and no end but `stop`.

librdkafka's consumer, because its fetching runs outside the interpreter and its batches can be asked for at a pace:
the thread wakes 30 times a second however many records come. It also finds a broker that was away by itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.live_link import Link
from connectors.live_records import Arrived
from connectors.live_view import LiveView

SECOND = 1_000_000_000
PACE_SECS = 1 / 30
MOST_AT_ONCE = 4096
ANSWER_SECS = 5.0
RETRY_SECS = 0.5

log = logging.getLogger("twinflow.live")


class LookBack(NamedTuple):
    """Where the first read of a topic starts, in each partition: not older than `secs`, not more than `records`.

    Zero seconds: from the beginning, for compacted topics.
    """

    secs: float
    records: int


HOUR = 3600.0
WEEK = 168 * HOUR
FAST: Mapping[str, LookBack] = {"twin-live": LookBack(600, 2500), "alerts": LookBack(WEEK, 5000)}
SLOW: Mapping[str, LookBack] = {
    "twin-states": LookBack(0, 0),
    "command-events": LookBack(WEEK, 5000),  # as long as alerts: an open alarm keeps its acknowledgement
    "dead-letters": LookBack(24 * HOUR, 500),
    "ledger": LookBack(HOUR, 4000),
    "gaps": LookBack(24 * HOUR, 2000),
}


class _Lane:
    """One consumer thread over some topics."""

    def __init__(
        self, feed: LiveFeed, topics: Mapping[str, LookBack], *, fetch_wait_ms: int, name: str
    ) -> None:  # fmt: skip
        self._feed, self._topics = feed, topics
        self.filled = threading.Event()
        self.waiting_for = ""
        self._waiting: set[tuple[str, int]] = set()
        self._capped: dict[int, int] = {}
        self._settings = {
            "bootstrap.servers": feed.bootstrap,
            "group.id": f"twinflow-{name}",
            "client.id": f"twinflow-{name}",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": fetch_wait_ms,
            "fetch.min.bytes": 1 << 20,
            "queued.max.messages.kbytes": 32 << 10,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.refresh.interval.ms": 30_000,
            "error_cb": self._error,
        }
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._feed.link.doubted.set()

    def _run(self) -> None:
        consumer = Consumer(self._settings, logger=_quiet)
        try:
            while not self._feed.stopping.is_set() and not self._assign(consumer):
                self._feed.stopping.wait(RETRY_SECS)
            while not self._feed.stopping.is_set():
                self._take(consumer.consume(MOST_AT_ONCE, PACE_SECS))
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> bool:
        """Find where to start and start there; False while the broker or a topic is not there yet."""
        try:
            starts = _starts(consumer, _partitions(consumer, self._topics), self._topics, self._feed.clock())
        except KafkaException as error:
            self.waiting_for = str(error.args[0].str())
            return False
        self.waiting_for = ""
        self._waiting = {(s.topic, s.partition) for s, _ in starts}
        self._capped = {s.partition: s.offset for s, capped in starts if capped and s.topic == "twin-live"}
        self._feed.view.covered_from_ns = max(self._feed.view.covered_from_ns, self._covered_from())
        consumer.assign([s for s, _ in starts])
        return True

    def _covered_from(self) -> int:
        return self._feed.clock() - int(FAST["twin-live"].secs * SECOND) if "twin-live" in self._topics else 0

    def _take(self, messages: list[Message]) -> None:
        records: list[Arrived] = []
        for message in messages:
            error = message.error()
            if error is None:
                records.append(_arrived(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                self._reached_end(message)
            elif error.code() not in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                log.warning("%s/%s: %s", message.topic(), message.partition(), error.str())
        if self._capped:
            self._note_capped(records)
        if records:
            self._feed.view.take(records)
        if not self._waiting and not self.filled.is_set():
            self.filled.set()
            self._feed.lane_filled()

    def _reached_end(self, message: Message) -> None:
        self._waiting.discard((message.topic() or "", _number(message.partition())))

    def _note_capped(self, records: Sequence[Arrived]) -> None:
        """Where a partition holds more than is read back, the view is whole only from its first record on."""
        for record in records:
            if record.topic == "twin-live" and self._capped.pop(record.partition, None) is not None:
                view = self._feed.view
                view.covered_from_ns = max(view.covered_from_ns, record.arrival_ns)


class LiveFeed:
    """Keeps a view up to date until `stop`.

    Args:
        bootstrap: host:port of a broker; it need not be there yet.
        view: what is filled.
        link: where it is told whether Kafka answers.

    Attributes:
        on_filled: called once, in a thread of the feed, when the view holds what the look-back brings.
    """

    def __init__(self, bootstrap: str, view: LiveView, link: Link) -> None:
        self.bootstrap, self.view, self.link, self.clock = bootstrap, view, link, view.clock
        self.stopping = threading.Event()
        self.filled = threading.Event()
        self.on_filled: Callable[[], None] = lambda: None
        self._settling = threading.Lock()
        self._lanes = [
            _Lane(self, FAST, fetch_wait_ms=10, name="live-fast"),
            _Lane(self, SLOW, fetch_wait_ms=200, name="live-slow"),
        ]

    @property
    def waiting_for(self) -> str:
        """Why reading could not start yet; "" where it did."""
        return next((lane.waiting_for for lane in self._lanes if lane.waiting_for), "")

    def start(self) -> None:
        """Begin to read; returns at once."""
        for lane in self._lanes:
            lane.thread.start()

    def lane_filled(self) -> None:
        """A lane has read up to the ends it found."""
        with self._settling:
            if self.filled.is_set() or not all(lane.filled.is_set() for lane in self._lanes):
                return
            self.view.settle()
            self.filled.set()
        self.on_filled()

    def stop(self) -> None:
        """End the threads and wait for them."""
        self.stopping.set()
        for lane in self._lanes:
            if lane.thread.is_alive():
                lane.thread.join(ANSWER_SECS)


def _partitions(consumer: Consumer, topics: Iterable[str]) -> list[TopicPartition]:
    found = consumer.list_topics(timeout=ANSWER_SECS).topics
    for topic in topics:
        if topic not in found:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"topic {topic} is not there yet"))
    return [TopicPartition(topic, p) for topic in topics for p in sorted(found[topic].partitions)]


def _starts(
    consumer: Consumer, partitions: list[TopicPartition], topics: Mapping[str, LookBack], now_ns: int
) -> list[tuple[TopicPartition, bool]]:
    """Where each partition is read from, and whether that is later than the look-back asks because there is more."""
    asked = [
        TopicPartition(p.topic, p.partition, int(now_ns / 1e6 - topics[p.topic].secs * 1e3))
        for p in partitions
        if topics[p.topic].secs
    ]
    found = {(p.topic, p.partition): p.offset for p in consumer.offsets_for_times(asked, timeout=ANSWER_SECS)}
    starts: list[tuple[TopicPartition, bool]] = []
    for p in partitions:
        back = topics[p.topic]
        if not back.secs:
            starts.append((TopicPartition(p.topic, p.partition, OFFSET_BEGINNING), False))
            continue
        _low, end = consumer.get_watermark_offsets(p, timeout=ANSWER_SECS, cached=False)
        by_time = found[p.topic, p.partition]
        start = end if by_time < 0 else by_time
        capped = start < end - back.records
        starts.append((TopicPartition(p.topic, p.partition, max(start, end - back.records)), capped))
    return starts


def _arrived(message: Message) -> Arrived:
    key, (_, at_ms) = message.key(), message.timestamp()
    return Arrived(
        topic=message.topic() or "",
        partition=_number(message.partition()),
        offset=_number(message.offset()),
        arrival_ns=at_ms * 1_000_000,
        key=key.decode("utf-8", "replace") if isinstance(key, bytes) else key or "",
        value=message.value(),
        headers=_headers(message),
    )


def _headers(message: Message) -> dict[str, str]:
    found = message.headers() or ()
    pairs = found.items() if isinstance(found, dict) else found
    return {k: v if isinstance(v, str) else v.decode("utf-8", "replace") for k, v in pairs if v is not None}


def _number(value: int | None) -> int:
    return -1 if value is None else value


_quiet = logging.getLogger("twinflow.live.kafka")
_quiet.setLevel(logging.CRITICAL)  # a lost broker is told once, by the link, not once per partition and second
