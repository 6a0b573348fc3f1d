"""What one fetch of a shard leaves in the topics: live records at once, settled ones with the commit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from connectors.kafka_commit import Record
from flows.documents import document, raw_text
from flows.encode import blocks
from flows.lane import LaneOutput
from flows.shard import ShardOutput
from flows.tables import anomalies_table, rows_table, samples_table, windows_table
from operators.types import Batch

LIVE_ROWS = 4_000
"""More samples than this in one fetch are a backlog: then only the newest of each series goes out live."""
STATE_EVERY_NS = 1_000_000_000
"""A twin's full state is told at most once per this much arrival time."""


def live_records(out: ShardOutput, *, shard: str, partition: int) -> list[Record]:
    """Live values, alerts and command requests; their ids depend on the input only, so a repeat is recognised."""
    records: list[Record] = []
    for lane in out.lanes:
        if len(lane.readings):
            table = samples_table(_newest(lane.readings), lane.twin, lane.names)
            records += blocks("twin-live", table, shard=shard, partition=partition, twin_type=lane.twin.name)
        for alert in lane.alerts:
            value = {**asdict(alert), "twin_type": lane.twin.name, "shard": shard}
            value["cause"] = value.pop("message")
            records.append(document("alerts", alert.device, value, partition=partition))
            if alert.command:
                records.append(_request(value, partition))
    return records


def _newest(batch: Batch) -> Batch:
    if len(batch) <= LIVE_ROWS:
        return batch
    order = np.lexsort((np.arange(len(batch)), batch.ts, batch.series))
    last = np.append(batch.series[order][1:] != batch.series[order][:-1], True)
    return batch.take(np.sort(order[last]))


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
    }
    return document("command-requests", alert["device"], request, partition=partition)


def settled_records(out: ShardOutput, *, shard: str, partition: int) -> list[Record]:
    """Everything but states that is committed together with the offset of its input."""
    records: list[Record] = []
    for lane in out.lanes:
        records += _tables(lane, shard, partition)
        records += _gaps(lane, partition)
    records += _dead_letters(out, partition)
    if out.end_offset > out.from_offset:
        records.append(_ledger(out, shard, partition))
    return records


def _tables(lane: LaneOutput, shard: str, partition: int) -> list[Record]:
    """Only what has rows is built: most fetches bring no late sample, no anomaly, no closed window."""
    twin, names = lane.twin, lane.names
    tables = []
    if len(lane.readings):
        tables.append(("readings", samples_table(lane.readings, twin, names)))
    if lane.windows.series.size:
        tables.append(("windows", windows_table(lane.windows, twin, names)))
    if len(lane.late):
        tables.append(("late", samples_table(lane.late, twin, names)))
    if lane.rows is not None and lane.rows.ts_ns.size:
        tables.append(("rows", rows_table(lane.rows, twin, names)))
    tables += [
        ("anomalies", anomalies_table(f.anomalies, f.detect, twin, names)) for f in lane.found if len(f.anomalies)
    ]
    return [r for t, x in tables for r in blocks(t, x, shard=shard, partition=partition, twin_type=twin.name)]


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


def _dead_letters(out: ShardOutput, partition: int) -> list[Record]:
    dead = out.dead
    records = []
    for i in range(len(dead)):
        key = (dead.key[i] or b"").decode("utf-8", "replace")
        value = {
            "reason": dead.reason[i],
            "detail": dead.detail[i],
            "topic": "samples",
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


def _ledger(out: ShardOutput, shard: str, partition: int) -> Record:
    value = {
        "shard": shard,
        "partition": partition,
        "from_offset": out.from_offset,
        "end_offset": out.end_offset,
        "skipped": out.skipped,
        "ledger": out.ledger.to_dict(),
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
        if newest_arrival_ns < self._next_ns:
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
