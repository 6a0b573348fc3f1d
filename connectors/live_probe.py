"""Asks Kafka once a second where topics end and how far flows are: lag by shard, rates, and whether it answers."""

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
TRIES = 3
"""Failures in a row after which the clients are made anew."""
OVER = 10
"""Rates are taken over this many answers."""


class Offsets(msgspec.Struct, frozen=True):
    """One answer: end of each partition by topic, offsets committed by each flow in its source, when (ns UTC)."""

    at_ns: int
    ends: dict[str, dict[int, int]]
    committed: dict[str, dict[int, int]]


class Probe:
    """A thread that asks every `every_secs`.

    Args:
        bootstrap: host:port of a broker.
        link: is told whether it answers.
        topics: topics whose ends are asked; those of `sources` must be among them.
        sources: by flow, which is the group it commits as, the topic it reads.
    """

    def __init__(
        self,
        bootstrap: str,
        link: Link,
        *,
        topics: Sequence[str],
        clock: Callable[[], int],
        sources: Mapping[str, str],
        every_secs: float = 1.0,
    ) -> None:
        self._link, self._topics, self._sources, self._clock = link, tuple(topics), dict(sources), clock
        self._every_secs = every_secs
        self._answers: deque[Offsets] = deque(maxlen=OVER)
        self._stopping = threading.Event()
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "reconnect.backoff.max.ms": 1000,
        }
        self._settings = settings
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

    def lag(self, flow: str) -> Mapping[int, int]:
        """Records by partition that a flow has not committed; all of them where it never committed."""
        return self._lag(self.newest, flow)

    def stalled(self, flow: str) -> bool:
        """Whether records waited for a flow over the last OVER answers, and it committed none."""
        if len(self._answers) < OVER:
            return False
        first, last = self._answers[0], self._answers[-1]
        still = first.committed[flow] == last.committed[flow]
        return still and any(self._lag(first, flow).values())

    def _lag(self, answer: Offsets | None, flow: str) -> Mapping[int, int]:
        if answer is None:
            return {}
        committed = answer.committed[flow]
        return {p: max(0, end - committed.get(p, 0)) for p, end in answer.ends.get(self._sources[flow], {}).items()}

    def rates(self) -> Mapping[str, float]:
        """Records per second by topic, over the last OVER answers."""
        if len(self._answers) < 2:
            return {}
        first, last = self._answers[0], self._answers[-1]
        secs = max(last.at_ns - first.at_ns, 1) / 1e9
        sums = {t: (sum(last.ends[t].values()), sum(first.ends.get(t, {}).values())) for t in last.ends}
        return {t: max(0, new - old) / secs for t, (new, old) in sums.items()}

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._ask_until_stuck()

    def _ask_until_stuck(self) -> None:
        """Ask with new clients until they fail TRIES times in a row: an admin client that was connected to a broker
        that froze (a machine that slept) may never find it again, where a new one does at once."""
        quiet = logging.getLogger("twinflow.live.kafka")
        quiet.setLevel(logging.CRITICAL)
        admin = AdminClient(self._settings, logger=quiet)
        consumers = {
            flow: Consumer({**self._settings, "group.id": flow, "enable.auto.commit": False}, logger=quiet)
            for flow in self._sources
        }
        partitions: dict[str, list[int]] = {}
        failures = 0
        try:
            while not self._stopping.is_set() and failures < TRIES:
                try:
                    if not partitions:
                        partitions = self._partitions(admin)
                    self._answers.append(self._ask(admin, consumers, partitions))
                    self._link.answered()
                    self._link.doubted.clear()
                    failures = 0
                except KafkaException as error:
                    self._failed(str(error.args[0].str()))
                    partitions, failures = {}, failures + 1
                self._pause()
        finally:
            for consumer in consumers.values():
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

    def _ask(
        self, admin: AdminClient, consumers: Mapping[str, Consumer], partitions: Mapping[str, list[int]]
    ) -> Offsets:
        latest = OffsetSpec._latest
        assert latest is not None
        asked: dict[TopicPartition, OffsetSpec] = {
            TopicPartition(t, p): latest for t, ps in partitions.items() for p in ps
        }
        ends: dict[str, dict[int, int]] = {t: {} for t in partitions}
        for tp, future in admin.list_offsets(asked, request_timeout=ANSWER_SECS).items():
            ends[tp.topic][tp.partition] = int(future.result().offset)
        committed: dict[str, dict[int, int]] = {}
        for flow, source in self._sources.items():
            mine = [TopicPartition(source, p) for p in partitions.get(source, ())]
            found = consumers[flow].committed(mine, timeout=ANSWER_SECS) if mine else []
            committed[flow] = {tp.partition: tp.offset for tp in found if tp.offset >= 0}
        return Offsets(self._clock(), ends, committed)
