"""What one fetch of a shard leaves in the topics: live records at once, settled ones with the commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np

from connectors.kafka_commit import Record
from flows.documents import document, raw_text
from flows.encode import blocks
from flows.lane import LaneOutput
from flows.live_values import LiveValues
from flows.shard import ShardOutput
from flows.tables import anomalies_table, named_windows_table, rows_table, samples_table, windows_table
from operators.align import AlignOutput
from operators.dead_letter import DeadLetters
from operators.detect import Anomalies
from operators.ledger import Ledger
from operators.rules import Alert
from operators.types import Batch
from operators.window import WindowOutput

INPUT, ALERTS, REQUESTS = "samples", "alerts", "command-requests"
ALERT = tuple(f.name for f in fields(Alert))
STATE_EVERY_NS = 1_000_000_000
"""A twin's full state is told at most once per this much arrival time."""


def live_records(out: ShardOutput, *, shard: str, partition: int) -> list[Record]:
    """All that one fetch has to tell at once, values too; their ids depend on the input only, so a repeat is known."""
    values = LiveValues()
    values.note(out)
    return values.records(shard=shard, partition=partition) + decided_records(out, shard=shard, partition=partition)


def decided_records(out: ShardOutput, *, shard: str, partition: int) -> list[Record]:
    """Alerts and command requests of one fetch."""
    return [record for lane in out.lanes for record in decisions(lane, shard=shard, partition=partition)]


def decisions(lane: LaneOutput, *, shard: str, partition: int) -> list[Record]:
    """Alerts, and the commands that rules ask for."""
    records: list[Record] = []
    for alert in lane.alerts:
        value = alert_document(alert, lane.twin.name, shard=shard, partition=partition)
        records.append(document(ALERTS, alert.device, value, partition=partition))
        if alert.command:
            records.append(_request(value, partition))
    return records


def alert_document(alert: Alert, twin_type: str, *, shard: str, partition: int) -> dict[str, Any]:
    """An alert as topic alerts holds it; its lineage says in which partition its offsets lie."""
    value = {name: getattr(alert, name) for name in ALERT} | {"twin_type": twin_type, "shard": shard}
    value["cause"] = value.pop("message")
    if alert.lineage is not None:
        value["lineage"] = {"topic": INPUT, "partition": partition, **asdict(alert.lineage)}
    return value


def _request(alert: dict[str, Any], partition: int) -> Record:
    """The command a rule asks for; the gate decides, under an id that a repeat of the alert shares."""
    request = {
        "id": f"{alert['id']}-{alert['command']}",
        "device": alert["device"],
        "verb": alert["command"],
        "arguments": {},
        "reason": alert["cause"],
        "issuer": f"rule:{alert['rule']}",
        "ts_ns": alert["ts_ns"],
        "lineage": {"alert": alert["id"], **alert["lineage"]} if alert["lineage"] else None,
    }
    return document(REQUESTS, alert["device"], request, partition=partition)


@dataclass(frozen=True, slots=True)
class Fetch:
    """What one fetch settled, held until its epoch ends; nothing in it changes any more."""

    from_offset: int
    end_offset: int
    skipped: int
    ledger: Ledger
    dead: DeadLetters
    dead_whole: list[bool]
    lanes: list[LaneOutput]
    rows: int

    @staticmethod
    def of(out: ShardOutput) -> Fetch:
        """The settled side of an output."""
        rows = sum(len(x.readings) + len(x.windows) + (0 if x.rows is None else len(x.rows)) for x in out.lanes)
        rows += sum(len(named) for x in out.lanes for _, named in x.named)
        return Fetch(
            out.from_offset, out.end_offset, out.skipped, out.ledger, out.dead, out.dead_whole, out.lanes, rows
        )


def settled_records(shard: str, partition: int, fetches: Sequence[Fetch]) -> list[Record]:
    """Everything but states that is committed together with the offset of its input, fetches of one epoch as one."""
    records: list[Record] = []
    for number in range(max(len(f.lanes) for f in fetches)):
        lanes = [f.lanes[number] for f in fetches if number < len(f.lanes)]
        records += _tables(lanes, shard, partition)
        records += [r for lane in lanes for r in _gaps(lane, partition)]
    records += [r for f in fetches for r in _dead_letters(f, partition)]
    if fetches[-1].end_offset > fetches[0].from_offset:
        records.append(_ledger(fetches, shard, partition))
    return records


def _tables(lanes: list[LaneOutput], shard: str, partition: int) -> list[Record]:
    """Only what has rows is built: most fetches bring no late sample, no anomaly, no closed window."""
    twin, names = lanes[0].twin, lanes[0].names
    tables = []
    readings = Batch.join([x.readings for x in lanes if len(x.readings)])
    if len(readings):
        tables.append(("readings", samples_table(readings, twin, names)))
    windows = [x.windows for x in lanes if len(x.windows)]
    if windows:
        tables.append(("windows", windows_table(_joined(windows), twin, names)))
    for same in zip(*(x.named for x in lanes), strict=True):
        named = [out for _, out in same if len(out)]
        if named:
            tables.append(("named-windows", named_windows_table((same[0][0], _joined(named)), twin, names)))
    late = Batch.join([x.late for x in lanes if len(x.late)])
    if len(late):
        tables.append(("late", samples_table(late, twin, names)))
    rows = [x.rows for x in lanes if x.rows is not None and len(x.rows)]
    if rows:
        tables.append(("rows", rows_table(_joined(rows), twin, names)))
    for same in zip(*(x.found for x in lanes), strict=True):
        found = [f.anomalies for f in same if len(f.anomalies)]
        if found:
            tables.append(("anomalies", anomalies_table(_joined(found), same[0].detect, twin, names)))
    return [r for t, x in tables for r in blocks(t, x, shard=shard, partition=partition, twin_type=twin.name)]


Columns = TypeVar("Columns", WindowOutput, AlignOutput, Anomalies)


def _joined(parts: list[Columns]) -> Columns:
    """Outputs of several fetches as one, column by column."""
    if len(parts) == 1:
        return parts[0]
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(kind)))


def _gaps(lane: LaneOutput, partition: int) -> list[Record]:
    if lane.gaps is None:
        return []
    names = ("boot", "from_seq", "to_seq", "missing", "offset")
    columns = [getattr(lane.gaps, name).tolist() for name in names]
    devices = [lane.names[d] for d in lane.gaps.device.tolist()]
    return [
        document("gaps", device, {"device": device, **dict(zip(names, values, strict=True))}, partition=partition)
        for device, *values in zip(devices, *columns, strict=True)
    ]


def _dead_letters(out: Fetch, partition: int) -> list[Record]:
    dead = out.dead
    records = []
    for i in range(len(dead)):
        key = (dead.key[i] or b"").decode("utf-8", "replace")
        value = {
            "reason": dead.reason[i],
            "detail": dead.detail[i],
            "topic": INPUT,
            "partition": partition,
            "offset": dead.offset[i],
            "arrival_ns": dead.arrival[i],
            "key": key,
            "samples": dead.samples[i],
            "whole": out.dead_whole[i],
            **raw_text(dead.raw[i]),
        }
        records.append(document("dead-letters", key, value, partition=partition))
    return records


def _ledger(fetches: Sequence[Fetch], shard: str, partition: int) -> Record:
    value = {
        "shard": shard,
        "partition": partition,
        "from_offset": fetches[0].from_offset,
        "end_offset": fetches[-1].end_offset,
        "skipped": sum(f.skipped for f in fetches),
        "incomplete_groups": sum(x.rows.incomplete.size for f in fetches for x in f.lanes if x.rows is not None),
        "ledger": sum((f.ledger for f in fetches), Ledger()).to_dict(),
    }
    return document("ledger", shard, value, partition=partition)


class StatePublisher:
    """Tells the full state of twins that changed, at most once per second of arrival; after a restart of all once."""

    def __init__(self) -> None:
        self._changed: dict[str, set[int]] = {}
        self._known: set[str] = set()
        self._next_ns = 0

    def note(self, out: ShardOutput) -> None:
        """Note what changed."""
        for lane in out.lanes:
            changed = self._changed.setdefault(lane.twin.name, set())
            if lane.twin.name not in self._known:
                changed |= set(range(lane.state.devices))
                self._known.add(lane.twin.name)
            changed |= set(lane.changed.tolist())

    def due(self, out: ShardOutput, *, newest_arrival_ns: int, shard: str, partition: int) -> list[Record]:
        """The states to tell now, `out` noted; ask only where they will be delivered, they count as told."""
        if self._next_ns - 2 * STATE_EVERY_NS <= newest_arrival_ns < self._next_ns:  # earlier: the clock went back
            return []
        self._next_ns = newest_arrival_ns + STATE_EVERY_NS
        return [r for lane in out.lanes for r in self._states(lane, out.end_offset, shard, partition)]

    def _states(self, lane: LaneOutput, offset: int, shard: str, partition: int) -> list[Record]:
        records = []
        for device in sorted(self._changed[lane.twin.name]):
            name = lane.names[device]
            state = lane.state.read(device)
            value = {**state, "device": name, "twin_type": lane.twin.name, "offset": offset, "shard": shard}
            records.append(document("twin-states", name, value, partition=partition))
        self._changed[lane.twin.name].clear()
        return records
