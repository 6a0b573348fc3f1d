"""Asks Kafka once a second where topics end and how far telemetry is: lag by shard, rates, and whether it answers."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from connectors.live_link import Link

ANSWER_SECS = 2.0
PATIENCE_NS = 4_000_000_000
"""How long a broker may be slow before it counts as lost, while nobody has seen its connection break."""
OVER = 10
"""Rates are taken over this many answers."""


class Offsets(msgspec.Struct, frozen=True):
    """One answer: end of each partition by topic, offsets committed by telemetry, when (ns UTC)."""

    at_ns: int
    ends: dict[str, dict[int, int]]
    committed: dict[int, int]


class Probe:
    """A thread that asks every `every_secs`.

    Args:
        bootstrap: host:port of a broker.
        link: is told whether it answers.
        topics: topics whose ends are asked; `source` must be among them.
        source, group: the topic telemetry reads, and the group it commits as.
    """

    def __init__(
        self,
        bootstrap: str,
        link: Link,
        *,
        topics: Sequence[str],
        clock: Callable[[], int],
        source: str = "samples",
        group: str = "telemetry",
        every_secs: float = 1.0,
    ) -> None:
        self._link, self._topics, self._source, self._clock = link, tuple(topics), source, clock
        self._every_secs = every_secs
        self._answers: deque[Offsets] = deque(maxlen=OVER)
        self._stopping = threading.Event()
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "reconnect.backoff.max.ms": 1000,
        }
        self._settings = settings, {**settings, "group.id": group, "enable.auto.commit": False}
        self._thread = threading.Thread(target=self._run, name="live-probe", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        self._link.doubted.set()
        if self._thread.is_alive():
            self._thread.join(2 * ANSWER_SECS)

    @property
    def newest(self) -> Offsets | None:
        """The last answer."""
        return self._answers[-1] if self._answers else None

    def lag(self) -> Mapping[int, int]:
        """Records by partition that telemetry has not committed; all of them where it never committed."""
        last = self.newest
        if last is None:
            return {}
        return {p: max(0, end - last.committed.get(p, 0)) for p, end in last.ends.get(self._source, {}).items()}

    def rates(self) -> Mapping[str, float]:
        """Records per second by topic, over the last OVER answers."""
        if len(self._answers) < 2:
            return {}
        first, last = self._answers[0], self._answers[-1]
        secs = max(last.at_ns - first.at_ns, 1) / 1e9
        sums = {t: (sum(last.ends[t].values()), sum(first.ends.get(t, {}).values())) for t in last.ends}
        return {t: max(0, new - old) / secs for t, (new, old) in sums.items()}

    def _run(self) -> None:
        quiet = logging.getLogger("twinflow.live.kafka")
        quiet.setLevel(logging.CRITICAL)
        admin, consumer = AdminClient(self._settings[0], logger=quiet), Consumer(self._settings[1], logger=quiet)
        partitions: dict[str, list[int]] = {}
        try:
            while not self._stopping.is_set():
                try:
                    if not partitions:
                        partitions = self._partitions(admin)
                    self._answers.append(self._ask(admin, consumer, partitions))
                    self._link.answered()
                    self._link.doubted.clear()
                except KafkaException as error:
                    self._failed(str(error.args[0].str()))
                    partitions = {}
                self._pause()
        finally:
            consumer.close()

    def _failed(self, why: str) -> None:
        answered = self._link.state.answered_ns
        if answered is None or self._link.doubted.is_set() or self._clock() - answered > PATIENCE_NS:
            self._link.lost(why)

    def _pause(self) -> None:
        """Until the next turn, or until somebody doubts a link that is up."""
        if self._link.state.up:
            self._link.doubted.wait(self._every_secs)
        else:
            self._stopping.wait(self._every_secs / 2)

    def _partitions(self, admin: AdminClient) -> dict[str, list[int]]:
        found = admin.list_topics(timeout=ANSWER_SECS).topics
        return {t: sorted(found[t].partitions) for t in self._topics if t in found}

    def _ask(self, admin: AdminClient, consumer: Consumer, partitions: dict[str, list[int]]) -> Offsets:
        latest = OffsetSpec._latest
        assert latest is not None
        asked: dict[TopicPartition, OffsetSpec] = {
            TopicPartition(t, p): latest for t, ps in partitions.items() for p in ps
        }
        ends: dict[str, dict[int, int]] = {t: {} for t in partitions}
        for tp, future in admin.list_offsets(asked, request_timeout=ANSWER_SECS).items():
            ends[tp.topic][tp.partition] = int(future.result().offset)
        mine = [TopicPartition(self._source, p) for p in partitions.get(self._source, ())]
        committed = consumer.committed(mine, timeout=ANSWER_SECS) if mine else []
        return Offsets(self._clock(), ends, {tp.partition: tp.offset for tp in committed if tp.offset >= 0})
