"""Judges a recorded command again: the same gate, what it had told before as its memory, and the clock of then."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import msgspec

from connectors.recorded import Recorded
from flows.commands import ANSWERS, COMMANDS, EVENTS, REQUESTS, SKEW_NS
from operators.command_reading import read_answer, read_request
from operators.command_records import Answer, Asked, Dispatch, Event
from operators.definition import Fleet
from operators.errors import ContractError
from operators.gate import Gate, Told

_event = msgspec.json.Decoder(Event)


class Row(NamedTuple):
    """One record of a topic."""

    offset: int
    arrival_ns: int
    key: bytes | None
    value: bytes


class Life(NamedTuple):
    """All that the topics hold of one command.

    Attributes:
        asked: its request; None where it has expired.
        answers: of the device, with the time each reached the broker.
        told, dispatched: what the gate said, byte for byte, repeats left out.
        before: what the gate had said of devices of this partition until then.
        since_ns: arrival before which it may have said more that is gone; 0 where all is there.
    """

    asked: Asked | None
    answers: list[tuple[Answer, int]]
    told: list[bytes]
    dispatched: list[bytes]
    before: list[Event]
    since_ns: int


def life(bootstrap: str, command: str, partition: int) -> Life:
    """Read the four topics of commands in the partition of its device.

    Raises:
        TopicError: one of them is not there.
    """
    needle = msgspec.json.encode(command)
    before, told = list[Event](), list[bytes]()
    with Recorded(bootstrap, EVENTS) as recorded:
        first = True
        since_ns = 0
        for row in _rows(recorded, partition):
            since_ns = row.arrival_ns + SKEW_NS if first and recorded.first[partition] > 0 else since_ns
            first = False
            event = _read(row.value)
            if event is None:
                continue
            if event.id == command:
                told += [] if event.again or row.value in told else [row.value]
            elif not told:
                before.append(event)
    with Recorded(bootstrap, COMMANDS) as recorded:
        mine = (row.value for row in _rows(recorded, partition) if needle in row.value)
        dispatched = [value for value in mine if msgspec.json.decode(value).get("id") == command]
    with Recorded(bootstrap, ANSWERS) as recorded:
        answers = [a for row in _rows(recorded, partition) if needle in row.value for a in _answer(row, command)]
    return Life(_asked(bootstrap, told), answers, told, dispatched, before, since_ns)


def judged_again(life: Life, fleet: Fleet, required: Collection[str]) -> tuple[list[bytes], list[bytes]]:
    """What the gate of today tells and dispatches; both as bytes.

    Args:
        fleet: the definitions of then. required: checks that are demanded.
    """
    assert life.asked is not None
    gate = Gate(fleet.type_of, required=required)
    gate.restore(life.before, since_ns=life.since_ns)
    recorded = [event for value in life.told if (event := _read(value)) is not None]
    all_told: list[Told] = [gate.request(life.asked, recorded[0].ts_ns)]
    all_told += [gate.answer(answer, arrival_ns) for answer, arrival_ns in life.answers]
    all_told.append(gate.tick(recorded[-1].ts_ns + 1))
    events = [e for told in all_told for e in told.events if e.id == life.asked.id and not e.again]
    dispatches: list[Dispatch] = [d for told in all_told for d in told.dispatches]
    return [msgspec.json.encode(e) for e in events], [msgspec.json.encode(d) for d in dispatches]


def _asked(bootstrap: str, told: list[bytes]) -> Asked | None:
    lineage: dict[str, Any] = (msgspec.json.decode(told[0]).get("lineage") if told else None) or {}
    if lineage.get("topic") != REQUESTS:
        return None
    place = (REQUESTS, int(lineage["partition"]), int(lineage["offset"]))
    with Recorded(bootstrap, REQUESTS) as recorded:
        frames = recorded.record(*place[1:])
    if frames is None:
        return None
    asked = read_request(frames.key(0), frames.value(0), where=f"{REQUESTS}/{place[1]}@{place[2]}")
    return msgspec.structs.replace(asked, place=place)


def _answer(row: Row, command: str) -> list[tuple[Answer, int]]:
    try:
        answer = read_answer(row.key, row.value, where="")
    except ContractError:
        return []
    return [(answer, row.arrival_ns)] if answer.id == command else []


def _read(value: bytes) -> Event | None:
    try:
        return _event.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _rows(recorded: Recorded, partition: int) -> Iterator[Row]:
    for frames in recorded.read(partition, recorded.first[partition], recorded.end[partition]):
        for i in range(len(frames)):
            yield Row(int(frames.offset[i]), int(frames.arrival[i]), frames.key(i), frames.value(i) or b"")
