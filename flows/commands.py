"""command-requests, command-acks -> the gate (operators/gate.py) -> commands, command-events, dead-letters.

A plain loop, no dataflow: a transaction per poll, so that a command waits for milliseconds and not for an epoch
(docs/decisions/command-gate.md). The gate's memory is its own topic command-events, read back at the start.

Run: `python -m flows.commands` with TWINFLOW_KAFKA and TWINFLOW_DATA set (`twinflow up` does).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator

import msgspec
from msgspec.structs import replace
from prometheus_client.core import Metric

from connectors.backlog import Backlog
from connectors.health import counters, gauge, gauges, histogram, of_steps, serve
from connectors.kafka_commit import Record, Source, Transactions
from connectors.kafka_records import Got, RecordReader, read_back, starts_of
from connectors.kafka_wait import wait_for_topic
from connectors.stop_signal import set_on_signals
from flows.definition_archive import DefinitionArchive
from flows.documents import document, raw_text
from flows.settings import FlowSettings, SettingError
from operators.command_reading import read_answer, read_request
from operators.command_records import Event
from operators.dead_letter import LONGEST_RAW
from operators.definition import Fleet
from operators.definition_yaml import load_fleet
from operators.errors import ContractError, TwinflowError
from operators.gate import Gate, Told
from operators.meter import Durations, Meter

REQUESTS, ANSWERS, COMMANDS, EVENTS, DEAD = (
    *("command-requests", "command-acks", "commands", "command-events"),
    "dead-letters",
)
PARTITIONS = 12
POLL_SECS = 0.05
STALL_SECS = 40.0
"""A turn may wait this long for a broker that is away: a commit gives up after 30 s."""
LOOK_BACK_NS = 3600 * 1_000_000_000
"""How far the memory reaches back at a start, beyond the longest time a device may take to answer."""

SKEW_NS = 600 * 1_000_000_000
"""The clocks of the gate and the broker agree at least so far."""

log = logging.getLogger("twinflow.commands")


class CommandFlow:
    """The loop around one gate.

    Args:
        settings: where Kafka is, and which device is of which type.
        required: checks of the gate that must be passed though nothing does them yet.

    Raises:
        SettingError: `required` names no such check.
    """

    def __init__(self, settings: FlowSettings, required: Collection[str] = ()) -> None:
        fleet = load_fleet(settings.fleet, settings.types)
        DefinitionArchive(settings.definitions).keep(fleet)
        try:
            self.gate = Gate(fleet.type_of, required=required)
        except ValueError as error:
            raise SettingError(f"TWINFLOW_GATE_REQUIRED: {error}") from None
        self.stop = threading.Event()
        self.counts = dict.fromkeys(("requests", "answers", "dispatched", "events", "dead_letters"), 0)
        self.turned = 0.0
        self._judge, self._commit, self._took = Meter(), Meter(), Durations()
        self._backlogs = {(topic, p): Backlog() for topic in (REQUESTS, ANSWERS) for p in range(PARTITIONS)}
        self._reader: RecordReader | None = None
        self._settings = settings
        self._look_back_ns = LOOK_BACK_NS + _longest_wait_ns(fleet)

    def stalled(self) -> str:
        """ "" while requests are judged, or before the first."""
        still = time.monotonic() - self.turned
        return f"no turn for {still:.0f} s" if self.turned and still > STALL_SECS else ""

    def why_not_ready(self) -> str:
        """ "" while requests are judged, else why not."""
        return self.stalled() if self.turned else "not reading yet"

    def oldest_age_secs(self) -> float:
        """Age of the oldest request or answer that waits."""
        now = time.time_ns()
        return max(backlog.age_secs(self._end_of(source), now) for source, backlog in self._backlogs.items())

    def _end_of(self, source: Source) -> int | None:
        reader = self._reader
        return None if reader is None else reader.end_of(source)

    def collect(self) -> Iterable[Metric]:
        """Figures of the process."""
        yield from of_steps("commands", {"judge": self._judge, "commit": self._commit})
        for name, n in self.counts.items():
            yield counters(f"twinflow_commands_{name}", f"Commands: {name.replace('_', ' ')}.", (), {(): n})
        yield gauge("twinflow_commands_waiting", "Commands that wait for an answer.", self.gate.waiting)
        yield gauge("twinflow_commands_remembered", "Commands the gate remembers.", len(self.gate))
        lags = dict.fromkeys((REQUESTS, ANSWERS), 0)
        for source, backlog in self._backlogs.items():
            lags[source[0]] += backlog.lag(self._end_of(source))
        said = "Records that wait for the flow."
        yield gauges("twinflow_input_lag_records", said, ("topic",), {(topic,): n for topic, n in lags.items()})
        yield gauge("twinflow_behind_seconds", "Age of the oldest record that waits.", self.oldest_age_secs())
        yield histogram("twinflow_transaction_seconds", "Committing what a turn of the gate says.", self._took)

    def run(self) -> None:
        """Work until `stop` is set; what was polled is then committed.

        Raises:
            CommitError: a transaction is not certain, or another copy of this flow has taken over.
        """
        bootstrap = self._settings.kafka
        for topic in (REQUESTS, ANSWERS, COMMANDS, EVENTS, DEAD):
            if not wait_for_topic(bootstrap, topic, PARTITIONS, stop=self.stop):
                return
        sources = [(topic, p) for topic in (REQUESTS, ANSWERS) for p in range(PARTITIONS)]
        transactions = Transactions(
            bootstrap, group="commands", shard="gate", sources=sources, settings={"linger.ms": 0}
        )  # fences: from here on nobody else can add to what is read back
        self._took = transactions.took
        self._remember()
        starts = starts_of(bootstrap, transactions.offsets)
        for source, offset in starts.items():
            self._backlogs[source].note(offset, 0)
        self._reader = reader = RecordReader(bootstrap, starts, name="twinflow-commands")
        try:
            while not self.stop.is_set():
                self._turn(reader, transactions)
        finally:
            reader.close()
        log.info("drained: %d commands wait for an answer", self.gate.waiting)

    def _remember(self) -> None:
        started = time.perf_counter()
        found, since_ns = read_back(self._settings.kafka, EVENTS, PARTITIONS, look_back_ns=self._look_back_ns)
        self.gate.restore(_events(found), since_ns=since_ns + SKEW_NS if since_ns else 0)
        secs = time.perf_counter() - started
        log.info("%d commands remembered, %d of them open, in %.2f s", len(self.gate), self.gate.waiting, secs)

    def _turn(self, reader: RecordReader, transactions: Transactions) -> None:
        found = reader.poll(POLL_SECS)
        now_ns, since = time.time_ns(), time.perf_counter_ns()
        records = [record for got in found for record in self._take(got, now_ns)]
        if not any(topic == ANSWERS for topic, _ in reader.behind):  # else an answer in time may still be unread
            records += self._publish(self.gate.tick(now_ns))
        if found or records:
            since = self._judge.lap(since, len(found), len(records))
            transactions.send(records)
            transactions.commit_at({(got.topic, got.partition): got.offset + 1 for got in found})
            self._commit.blocked_ns += time.perf_counter_ns() - since
            self._commit.lap(time.perf_counter_ns(), len(records), len(records))
        for got in found:
            self._backlogs[got.topic, got.partition].note(got.offset + 1, got.arrival_ns)
        self.turned = time.monotonic()

    def _take(self, got: Got, now_ns: int) -> list[Record]:
        where = f"{got.topic}/{got.partition}@{got.offset}"
        try:
            if got.topic == REQUESTS:
                self.counts["requests"] += 1
                asked = read_request(got.key, got.value, where=where)
                told = self.gate.request(replace(asked, place=(got.topic, got.partition, got.offset)), now_ns)
            else:
                self.counts["answers"] += 1
                told = self.gate.answer(read_answer(got.key, got.value, where=where), got.arrival_ns)
        except ContractError as error:
            return [self._dead(got, error.reason, str(error))]
        dead = [] if told.dead is None else [self._dead(got, *told.dead)]
        return self._publish(told) + dead

    def _publish(self, told: Told) -> list[Record]:
        self.counts["events"] += len(told.events)
        self.counts["dispatched"] += len(told.dispatches)
        return [document(EVENTS, e.device, e, partition=-1) for e in told.events] + [
            document(COMMANDS, d.device, d, partition=-1) for d in told.dispatches
        ]

    def _dead(self, got: Got, reason: str, detail: str) -> Record:
        self.counts["dead_letters"] += 1
        raw = got.value or b""
        value = {
            "reason": reason,
            "detail": detail,
            "topic": got.topic,
            "partition": got.partition,
            "offset": got.offset,
            "arrival_ns": got.arrival_ns,
            "key": (got.key or b"").decode("utf-8", "replace"),
            "samples": 0,
            "whole": len(raw) <= LONGEST_RAW,
            **raw_text(raw[:LONGEST_RAW]),
        }
        return document(DEAD, str(value["key"]), value, partition=got.partition)


def _events(found: list[Got]) -> Iterator[Event]:
    """Events as they were told; what is none was not written by a gate, and is passed over, loudly."""
    decoder = msgspec.json.Decoder(Event)
    for got in found:
        try:
            yield decoder.decode(got.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("%s/%d@%d is no event of a gate: %s", got.topic, got.partition, got.offset, error)


def _longest_wait_ns(fleet: Fleet) -> int:
    return max((c.timeout_ns for twin in fleet.types.values() for c in twin.commands), default=0)


def main() -> int:
    """Entry of the process; the last line on stderr says why it ended, when it was not asked to."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    required = [name.strip() for name in os.environ.get("TWINFLOW_GATE_REQUIRED", "").split(",") if name.strip()]
    try:
        settings = FlowSettings.from_environment("commands")
        flow = CommandFlow(settings, required)
        set_on_signals(flow.stop)
        if settings.health_port:
            serve(settings.health_port, flow)
        flow.run()
    except TwinflowError as error:
        log.error("stopped: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
