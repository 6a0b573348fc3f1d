"""The causal chain of one alert or command, as plain data: found in the history or the topic, read at its offsets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec

from connectors.clickhouse import ClickHouse
from connectors.recorded import Recorded
from connectors.topic_tail import TopicTail
from flows.documents import raw_text
from flows.publish import ALERTS, INPUT, REQUESTS
from flows.reexecute import NoStart, Rerun, Starts, Target, compared, difference
from flows.reexecute_command import judged_again, life
from operators.errors import StateError

EVENTS, COMMANDS = "command-events", "commands"
TABLES = {ALERTS: "alerts", EVENTS: "command_events", COMMANDS: "commands", REQUESTS: "command_requests"}
LONGEST_SHOWN = 2_000
"""Bytes of a record as it was received that are shown."""
Story = dict[str, Any]


class Told(NamedTuple):
    """A record about a decision, and where it stands; `value` byte for byte."""

    topic: str
    partition: int
    offset: int
    value: bytes

    @property
    def fields(self) -> Story:
        """What it says."""
        found: Story = msgspec.json.decode(self.value)
        return found


def in_history(client: ClickHouse, name: str) -> list[Told]:
    """Everything the history holds of an alert or a command, in the order of the topics and their offsets."""
    found = []
    for topic, table in TABLES.items():
        query = (
            f"SELECT kp, ko, document FROM {table} FINAL WHERE id = {{id:String}} AND document != '' ORDER BY kp, ko"  # noqa: S608
        )
        found += [Told(topic, kp, ko, document.encode()) for kp, ko, document in client.rows(query, {"id": name})]
    return found


def in_topics(bootstrap: str, name: str) -> list[Told]:
    """The same from the topics themselves, all that they keep."""
    needle = msgspec.json.encode(name)
    return [
        told
        for topic in TABLES
        for told in everything(bootstrap, topic)
        if needle in told.value and told.fields.get("id") == name
    ]


def everything(bootstrap: str, topic: str) -> Iterator[Told]:
    """All records of a topic."""
    tail = TopicTail(bootstrap, topic)
    try:
        for frames in tail.read():
            for row in range(len(frames)):
                yield Told(topic, frames.partition, int(frames.offset[row]), frames.value(row) or b"")
    finally:
        tail.close()


def once(found: Sequence[Told]) -> list[Told]:
    """Without repeats: the live path may tell a thing twice, in the same bytes."""
    return list({(told.topic, told.value): told for told in reversed(found)}.values())[::-1]


def alert_story(told: Told, recorded: Recorded, starts: Starts, *, again: bool) -> Story:
    """One event of an alert: what it says and rests on, what its twin was before; `again`: worked out once more."""
    alert = told.fields
    lineage = alert.get("lineage") or {}
    partition, sample = int(lineage.get("partition", told.partition)), int(alert.get("offset", -1))
    offset = int(lineage.get("offset", sample))
    roles = {int(lineage.get("from_offset", offset)): "first", sample: "sample"}
    roles[offset] = "sample, brought it about" if sample == offset else "brought it about"
    story: Story = {
        "kind": "alert", "id": alert["id"], "state": alert["state"], "sentence": alert["cause"],
        "twin": alert["device"], "twin_type": alert["twin_type"], "ts_ns": alert["ts_ns"],
        "decided_by": {k: alert.get(k) for k in ("source", "rule", "signal", "severity", "command")},
        "used": {k: alert.get(k) for k in ("value", "limit", "score", "ranked")},
        "record": {"topic": told.topic, "partition": told.partition, "offset": told.offset},
        "lineage": lineage,
        "inputs": [_input(recorded, partition, at, roles[at]) for at in sorted(roles)],
    }  # fmt: skip
    return story | _before(Target.of(told.topic, told.partition, told.value), recorded, starts, again=again)


def _input(recorded: Recorded, partition: int, offset: int, role: str) -> Story:
    """A record of the input as it was received."""
    place: Story = {"role": role, "topic": INPUT, "partition": partition, "offset": offset}
    frames = recorded.record(partition, offset)
    if frames is None:
        first = recorded.first.get(partition, 0)
        return place | {"gone": f"expired: {INPUT}/{partition} starts at {first}" if offset < first else "not there"}
    raw = frames.value(0) or b""
    key = (frames.key(0) or b"").decode("utf-8", "replace")
    return place | {
        "arrival_ns": int(frames.arrival[0]), "key": key, "bytes": len(raw), **raw_text(raw[:LONGEST_SHOWN])
    }  # fmt: skip


def _before(target: Target, recorded: Recorded, starts: Starts, *, again: bool) -> Story:
    """The twin before the record and, if asked, the decision worked out again."""
    try:
        start = starts.before(target.partition, target.offset, target.definition)
        rerun = Rerun(recorded, target.partition, start)
        rerun.to(target.offset)
        before = rerun.shard.twin(target.device)
        rerun.to(target.offset + 1)
    except (NoStart, StateError) as error:
        verdict = "expired" if isinstance(error, NoStart) and error.expired else "no_state"
        failed: Story = {"before": None, "before_why": str(error)}
        return failed | ({"reexecuted": {"verdict": verdict, "why": str(error)}} if again else {})
    story: Story = {"before": before}
    if again:
        outcome = compared(target, rerun.told.get(target.said))
        story["reexecuted"] = {"verdict": outcome.verdict, "from_offset": start.offset, "records": rerun.records}
        if outcome.verdict == "different":
            story["reexecuted"] |= {"why": outcome.why, "differs": difference(target.value, outcome.made)}
    return story


def command_story(
    found: Sequence[Told], bootstrap: str, starts: Starts, required: Collection[str], *, again: bool
) -> Story:
    """The life of a command: its request, the verdicts of the gate, its stages; and judged again if asked."""
    events = [told for told in found if told.topic == EVENTS and not told.fields.get("again")]
    requests = [told for told in found if told.topic == REQUESTS]
    first = (events or requests)[0].fields
    lineage = (events[0].fields.get("lineage") if events else None) or {}
    cause = lineage.get("cause") or first.get("lineage") or {}
    end = events[-1].fields if events else {}
    sentence = f"{first['verb']} of {first['device']}, asked by {first['issuer']}: " + (
        f"{end['stage']}{': ' + end['reason'] if end.get('reason') else ''}" if end else "the gate has said nothing yet"
    )
    story: Story = {
        "kind": "command", "id": first["id"], "sentence": sentence, "twin": first["device"], "verb": first["verb"],
        "issuer": first["issuer"], "ts_ns": first["ts_ns"], "arguments": first.get("arguments"),
        "lineage": lineage, "alert": cause.get("alert", ""),
        "requests": [{"topic": t.topic, "partition": t.partition, "offset": t.offset, **t.fields} for t in requests],
        "checks": next((t.fields["detail"] for t in events if t.fields.get("detail")), []),
        "stages": [{k: t.fields[k] for k in ("stage", "ts_ns", "reason")} for t in events],
    }  # fmt: skip
    if again and events:
        story["reexecuted"] = _judged(first["id"], events[0], bootstrap, starts, required)
    return story


def _judged(command: str, first: Told, bootstrap: str, starts: Starts, required: Collection[str]) -> Story:
    definition = (first.fields.get("lineage") or {}).get("definition") or {}
    fleet = starts.fleet_with((definition.get("twin_type", ""), definition.get("hash", "")))
    held = life(bootstrap, command, first.partition)
    if held.asked is None or not held.told:
        return {"verdict": "expired", "why": "its request or its events are no longer kept by the broker"}
    if fleet is None:
        return {"verdict": "no_state", "why": "the definition of then is not kept in this data folder"}
    events, dispatches = judged_again(held, fleet, required)
    made, recorded = events + dispatches, held.told + held.dispatched
    if made == recorded:
        return {"verdict": "identical", "records": len(recorded)}
    pairs = [(a, b) for a, b in zip_longest(recorded, made, fillvalue=b"{}") if a != b]
    return {"verdict": "different", "records": len(recorded), "differs": [difference(a, b) for a, b in pairs]}
