"""every result topic -> history: one lane per topic, rows once and for good; `python -m flows.history`.

    readings      -> samples, samples_recent, rollups, twin_snapshots
    windows, named-windows, rows, anomalies, late, alerts, twin-states, dead-letters, gaps, ledger,
    command-requests, commands, command-events, definitions -> the table of the same name
    what cannot be read -> quarantine;  where each topic stands -> ingested
    the arrival up to which all of this is there -> frontier (flows/history_frontier.py)

A plain loop per topic, no Bytewax dataflow: the tables are the only memory of where it stands
(docs/decisions/history-writer.md).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence

from prometheus_client.core import Metric

from connectors.health import counters, gauge, gauges, histogram, of_steps, serve
from connectors.kafka_offsets import Offsets
from connectors.shards import shard_name
from connectors.stop_signal import set_on_signals
from flows.history_frontier import Frontier
from flows.history_lane import TABLES, Lane, Progress
from flows.history_store import Stopped, Store
from flows.settings import SettingError
from operators.meter import Durations, Meter

NOTE_SECS = 5.0

log = logging.getLogger("twinflow.history")


class Writer:
    """All lanes, each in a thread of its own, and the note of where they stand.

    Args:
        bootstrap: host:port of Kafka.
        url: of ClickHouse, with user and password; migrated (`infra.migrate`).
        topics: those to follow; all unless given.
    """

    def __init__(self, bootstrap: str, url: str, topics: Sequence[str] = tuple(TABLES)) -> None:
        self.stop = threading.Event()
        self.lanes = [Lane(topic, bootstrap, url, self.stop) for topic in topics]
        self._store = Store(url, self.stop)
        self._frontier = Frontier(bootstrap, self.stored, Store(url, self.stop), self.stop)
        self._noted: dict[tuple[str, int], Progress] = {}

    def run(self) -> None:
        """Work until `stop` is set; then store what has been read, note where it stands, and return."""
        threads = [threading.Thread(target=lane.run, name=lane.topic) for lane in self.lanes]
        threads.append(threading.Thread(target=self._frontier.run, name="frontier"))
        for thread in threads:
            thread.start()
        log.info("following %d topics", len(self.lanes))
        while not self.stop.wait(NOTE_SECS):
            self._note()
        for thread in threads:
            thread.join()
        self._note()
        self._store.close()
        log.info("drained: %d rows stored, %d records set aside", *self.counts())

    def counts(self) -> tuple[int, int]:
        """Rows stored and records set aside since the start."""
        return sum(lane.stored for lane in self.lanes), sum(lane.refused for lane in self.lanes)

    def stalled(self) -> str:
        """ "" always: a lane waits out whatever it meets."""
        return ""

    def why_not_ready(self) -> str:
        """ "" once every lane has looked where it stands."""
        started = sum(bool(lane.reached) for lane in self.lanes)
        return "" if started else "no topic has been found yet"

    def oldest_age_secs(self) -> float:
        """Age of the oldest record that is not stored."""
        return max((age for lane in self.lanes for age in lane.ages_secs().values()), default=0.0)

    def collect(self) -> Iterable[Metric]:
        """Figures of the process."""
        decode = Meter.total(lane.decode for lane in self.lanes)
        yield from of_steps("history", {"decode": decode} | {lane.topic: lane.store for lane in self.lanes})
        lags = {(lane.topic,): lane.lag() for lane in self.lanes}
        yield gauges("twinflow_input_lag_records", "Records that wait for the flow.", ("topic",), lags)
        ages = {(lane.topic, shard_name(p)): age for lane in self.lanes for p, age in lane.ages_secs().items()}
        said = "Age of the oldest record that waits."
        yield gauges("twinflow_input_oldest_age_seconds", said, ("topic", "shard"), ages)
        yield gauge("twinflow_behind_seconds", "Age of the oldest record that waits.", self.oldest_age_secs())
        refused = {(lane.topic,): lane.refused for lane in self.lanes}
        yield counters("twinflow_history_quarantined", "Records that could not be read.", ("topic",), refused)
        took = Durations.total(lane.stores for lane in self.lanes)
        yield histogram("twinflow_store_seconds", "Storing rows of a topic in all its tables.", took)

    def stored(self) -> Offsets:
        """By topic and partition, the offset below which all is stored."""
        return {(lane.topic, kp): ko for lane in self.lanes for kp, ko in dict(lane.reached).items()}

    def _note(self) -> None:
        """Write what changed since the last note: all below it is stored, so it may come late but never early."""
        found = {(lane.topic, kp): p for lane in self.lanes for kp, p in dict(lane.progress).items()}
        new = {key: p for key, p in found.items() if self._noted.get(key) != p}
        if not new:
            return
        columns: dict[str, list[str | int]] = {
            "topic": [topic for topic, _ in new],
            "kp": [kp for _, kp in new],
            "ko": [p.ko for p in new.values()],
            "known_ns": [p.known_ns for p in new.values()],
            "at_ns": [time.time_ns()] * len(new),
        }
        try:
            self._store.surely("note of positions", lambda client: client.insert("ingested", columns))
        except Stopped as error:
            log.warning("%s", error)
            return
        self._noted.update(new)


def main() -> int:
    """Read TWINFLOW_KAFKA and TWINFLOW_CLICKHOUSE, run until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for name in ("kafka", "clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    found = {name: os.environ.get(name, "") for name in ("TWINFLOW_KAFKA", "TWINFLOW_CLICKHOUSE")}
    for name, value in found.items():
        if not value:
            raise SettingError(f"{name} is not set: the history writer cannot start; `twinflow up` sets it")
    writer = Writer(*found.values())
    set_on_signals(writer.stop)
    port = int(os.environ.get("TWINFLOW_HEALTH_PORT") or 0)
    if port:
        serve(port, writer)
    writer.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
