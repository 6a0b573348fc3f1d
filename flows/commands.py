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
from collections.abc import Collection, Iterator

import msgspec
from msgspec.structs import replace

from connectors.kafka_commit import Record, Transactions
from connectors.kafka_records import Got, RecordReader, read_back, starts_of
from connectors.kafka_wait import wait_for_topic
from connectors.stop_signal import set_on_signals
from flows.definition_archive import DefinitionArchive
from flows.documents import document, raw_text
from flows.health import serve
from flows.settings import FlowSettings, SettingError
from operators.command_reading import read_answer, read_request
from operators.command_records import Event
from operators.dead_letter import LONGEST_RAW
from operators.definition import Fleet
from operators.definition_yaml import load_fleet
from operators.errors import ContractError, TwinflowError
from operators.gate import Gate, Told

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
        self._settings = settings
        self._look_back_ns = LOOK_BACK_NS + _longest_wait_ns(fleet)

    def why_not_ready(self) -> str:
        """ "" while requests are judged, else why not."""
        if not self.turned:
            return "not reading yet"
        still = time.monotonic() - self.turned
        return f"no turn for {still:.0f} s" if still > STALL_SECS else ""

    def metrics(self) -> dict[str, float]:
        """Figures by Prometheus name."""
        found: dict[str, float] = {f"twinflow_commands_{name}_total": n for name, n in self.counts.items()}
        return found | {"twinflow_commands_waiting": self.gate.waiting, "twinflow_commands_remembered": len(self.gate)}

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
        self._remember()
        reader = RecordReader(bootstrap, starts_of(bootstrap, transactions.offsets), name="twinflow-commands")
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
        now_ns = time.time_ns()
        records = [record for got in found for record in self._take(got, now_ns)]
        if not any(topic == ANSWERS for topic, _ in reader.behind):  # else an answer in time may still be unread
            records += self._publish(self.gate.tick(now_ns))
        if found or records:
            transactions.send(records)
            transactions.commit_at({(got.topic, got.partition): got.offset + 1 for got in found})
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
            serve(settings.health_port, flow.why_not_ready, flow.metrics)
        flow.run()
    except TwinflowError as error:
        log.error("stopped: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
