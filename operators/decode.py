"""Messages of the topic `samples` to columns: JSON and packed blocks, each message taken whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jsonschema.validators import validator_for
from numpy.typing import NDArray

from operators.block_plans import Blocks
from operators.boots import REMEMBERED, Boots
from operators.dead_letter import DeadLetters
from operators.decode_json import count_samples, judge, parse, tick
from operators.decode_json_grammar import ASK, DONE, GROW, HEAD, ITEMS, Items
from operators.decode_json_kernels import Facts, Known, Rows, Wire, scan
from operators.decode_packed import Schemas, judge_block
from operators.decode_packed_kernels import scan_blocks
from operators.decoded import Aside, Control, Decoded, Kind, Messages, Report
from operators.envelope import JSON, MESSAGE, Head, Judged, note, read_headers
from operators.errors import ContractError
from operators.frames import FAULT, READ, Frames, Headers, Told
from operators.roster import Roster
from operators.types import I64, NO_SEQ, TICK, U8, Batch, State, Stateful

LARGEST = 1_048_576
"""Bytes of a value that are read."""
_NO_HEAD = Head()
_UNTOLD = Told(*np.zeros((5, 0), np.int64))


class _Validator(Protocol):
    def iter_errors(self, instance: Any) -> Any: ...


class Decoder:
    """Decodes one partition; owns the roster, the boots and the schemas that came in-band.

    Rows come in log order within each type, whatever the cut into pushes. Common JSON goes through compiled loops
    (several million messages a second); the rest is judged one by one, with the same result.

    Args:
        roster: devices of the shard; its state is part of this decoder's.

    >>> from operators.definition import Signal, TwinType
    >>> pump = TwinType("pump", 1, (Signal("flow"), Signal("pressure", low=0.0)))
    >>> decoder = Decoder(Roster(lambda name: pump))
    >>> good = b'{"device": "p-7", "ts": 1700000000.5, "signals": {"flow": 1.5, "pressure": 2}}'
    >>> out = decoder.push(Frames.of([good, good.replace(b"2}}", b"-2}}"), b"{"]))
    >>> out.batches[0].value.tolist(), out.batches[0].ts[0].item(), out.dead.reason
    ([1.5, 2.0], 1700000000500000000, ['out_of_range', 'bad_json'])
    """

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self._boots = Boots()
        self._schemas = Schemas()
        self.blocks = Blocks()
        self._validators: dict[str, _Validator] = {}

    def push(self, frames: Frames) -> Decoded:
        """Decode messages; `frames` of one partition, one after the other."""
        return _Push(self, frames).run()

    def snapshot(self) -> State:
        """Roster, boots and schemas."""
        parts = self._parts()
        return {f"{name}.{k}": v for name, part in parts.items() for k, v in part.snapshot().items()}

    def restore(self, state: State) -> None:
        """Take over a snapshot.

        Raises:
            StateError: see Roster.restore.
        """
        for name, part in self._parts().items():
            part.restore({k.partition(".")[2]: v for k, v in state.items() if k.startswith(name + ".")})
        self._validators = {}
        self.blocks = Blocks()

    def _parts(self) -> dict[str, Stateful]:
        return {"roster": self.roster, "boots": self._boots, "schemas": self._schemas}

    def aside(self, frames: Frames, row: int) -> Sequence[tuple[str, int, float]]:
        """Name, event time and value of each reading of an unknown signal in a message that was taken."""
        where = f"{frames.partition}@{frames.offset[row]}"
        head = read_headers(frames.headers[row], where) if row in frames.headers else _NO_HEAD
        raw, key, arrival = frames.value(row) or b"", frames.key(row), int(frames.arrival[row])
        if head.content_type != JSON:
            return judge_block(raw, head, self._schemas, self.roster, key=key, arrival=arrival, where=where).aside
        return judge(parse(raw, where), head, self.roster, key=key, arrival=arrival, where=where).aside

    def check_report(self, judged: Judged, where: str) -> None:
        """Refuse a document that breaks the report schema of its type.

        Raises:
            ContractError: `bad_report`.
        """
        twin_type = judged.envelope.plan.type
        validator = self._validators.get(twin_type.name)
        if validator is None:
            validator = validator_for(twin_type.report, default=_DEFAULT)(twin_type.report)
            self._validators[twin_type.name] = validator
        errors = [(".".join(map(str, e.absolute_path)), e.message) for e in validator.iter_errors(judged.report)]
        if errors:
            at, message = min(errors)
            raise ContractError(reason="bad_report", where=where, detail=f"{at or 'report'}: {message[:200]}")


_DEFAULT = validator_for({})


class _Push:
    """One push: columns being filled, and the row at which the compiled loop last stopped."""

    def __init__(self, decoder: Decoder, frames: Frames) -> None:
        self.decoder, self.frames, self.roster = decoder, frames, decoder.roster
        n = len(frames)
        self.wire = Wire(
            frames.buffer, frames.start, frames.end, frames.key_start, frames.key_end, frames.offset, frames.arrival,
            _notes(frames),
        )  # fmt: skip
        self.told = frames.told or _UNTOLD
        self.rows = _rows(2 * n + 64)
        self.fill = 0
        self.facts = Facts(
            kind=np.zeros(n, np.uint8),
            type=np.full(n, -1, np.int32),
            device=np.full(n, -1, np.int32),
            rows=np.zeros(n, np.int32),
            aside=np.zeros(n, np.int32),
            seq=np.full(n, NO_SEQ, np.int64),
            boot=np.zeros(n, np.int32),
            trusted=np.ones(n, np.uint8),
        )
        self.head = np.zeros(HEAD, np.int64)
        self.starts = [0] * len(self.roster.types)  # fill at which each type was met: ticks before are not its own
        self.ticks = 0
        self.dead = DeadLetters()
        self.reports: list[Report] = []
        self.control: list[Control] = []

    def run(self) -> Decoded:
        items = Items(*(np.zeros(ITEMS, np.int64) for _ in range(5)))
        stamp = np.zeros(0, np.int64)
        row, n = 0, len(self.frames)
        while row < n:
            columns = self.roster.plans.columns
            if stamp.size != columns.low.size:
                stamp = np.full(columns.low.size, -1, np.int64)
            first = row
            row, self.fill, code = scan(
                self.wire, self._known(), columns, self.head, items, stamp, row, self.rows, self.fill, self.facts,
            )  # fmt: skip
            for passed in np.flatnonzero(self.facts.kind[first:row] == Kind.REJECTED).tolist():
                self._one(first + passed)
            if code == ASK and self.wire.notes[row] > READ:
                row, self.fill, code = scan_blocks(
                    self.wire, self.told, self._known(), columns, self.decoder.blocks.plans, row, self.rows, self.fill,
                    self.facts,
                )  # fmt: skip
                if code == DONE:
                    continue
            if code == GROW:
                self._reserve(2 * self.rows.ts.size)
            elif code != DONE:
                self._one(row)
                row += 1
        return self._result()

    def _known(self) -> Known:
        boots = self.decoder._boots
        boots.reserve(len(self.roster))
        return Known(
            self.roster.index.table, self.roster.type_numbers, self.roster.ids, boots.index.table, boots.ids,
            boots.newest, REMEMBERED,
        )  # fmt: skip

    def _reserve(self, size: int) -> None:
        if size > self.rows.ts.size:
            old, self.rows = self.rows, _rows(max(size, 2 * self.rows.ts.size))
            for before, after in zip(_columns(old), _columns(self.rows), strict=True):
                after[: self.fill] = before[: self.fill]

    def _refuse_unreadable(self, headers: Headers, where: str) -> None:
        """Records that the source could not read, or on which our code fails, carry its word for why."""
        fault = headers.get(FAULT, b"")
        if fault:
            reason, _, detail = fault.decode().partition(": ")
            detail = detail or "the record batch could not be unpacked"
            raise ContractError(reason=reason, where=where, detail=detail)

    def _one(self, row: int) -> None:
        """Judge one message; nothing is touched before the verdict."""
        frames = self.frames
        offset, arrival, key = int(frames.offset[row]), int(frames.arrival[row]), frames.key(row)
        where = f"{frames.partition}@{offset}"
        samples = 1
        try:
            self._refuse_unreadable(frames.headers.get(row, {}), where)
            head = read_headers(frames.headers[row], where) if row in frames.headers else _NO_HEAD
            size = int(frames.end[row] - frames.start[row])
            if frames.start[row] < 0 or size == 0:
                raise ContractError(reason="empty", where=where, detail="no value" if size else "0 bytes")
            if size > LARGEST:
                raise ContractError(reason="too_large", where=where, detail=f"{size} bytes, at most {LARGEST} are read")
            raw = frames.value(row) or b""
            if head.kind == "definition":
                self.control.append(Control(offset, head.kind, raw))
                self.facts.kind[row] = Kind.CONTROL
            elif head.kind == "schema":
                self.decoder._schemas.add(raw, head, where)
                self.facts.kind[row] = Kind.CONTROL
            elif head.content_type != JSON:
                schemas = self.decoder._schemas
                block = judge_block(raw, head, schemas, self.roster, key=key, arrival=arrival, where=where)
                self._apply(row, block, where)
                if head.content_type == MESSAGE:
                    number = self.roster.number(block.envelope.device)
                    schema = schemas.get(head.schema_id, where)
                    place = int(self.roster.type_numbers[number])
                    self.decoder.blocks.prepare(head.schema_id, schema, place, block.envelope.plan)
            else:
                tree = parse(raw, where)
                samples = count_samples(tree)
                at = tick(tree, head, key, where)
                if at is not None:
                    self._tick(row, at)
                    return
                judged = judge(tree, head, self.roster, key=key, arrival=arrival, where=where)
                if judged.report is not None:
                    self.decoder.check_report(judged, where)
                self._apply(row, judged, where)
        except ContractError as error:
            raw = frames.buffer[max(frames.start[row], 0) : max(frames.end[row], 0)].tobytes()
            self.dead.add(
                offset=offset, arrival=arrival, reason=error.reason, detail=error.detail, key=key, samples=samples,
                raw=raw if frames.start[row] >= 0 else b"",
            )  # fmt: skip

    def _tick(self, row: int, at: int) -> None:
        self.facts.kind[row] = Kind.CONTROL
        self.ticks += 1
        self._reserve(self.fill + 1)
        self._write(self.fill + 1, TICK, TICK, at, at, 0.0, 0, NO_SEQ, 0, int(self.frames.offset[row]))

    def _write(self, end: int, *columns: Any) -> None:
        for column, value in zip(_columns(self.rows), columns, strict=True):
            column[self.fill : end] = value
        self.fill = end

    def _apply(self, row: int, judged: Judged, where: str) -> None:
        """Take in a good message: device and boot where they are new, then its rows."""
        envelope, roster, boots = judged.envelope, self.roster, self.decoder._boots
        number = roster.number(envelope.device)
        if number < 0:
            number = roster.add(envelope.device, where)
            self.starts += [self.fill] * (len(roster.types) - len(self.starts))
        boot = 0
        if envelope.boot:
            boots.reserve(number + 1)
            boot = boots.number(number, envelope.boot)
            if boot < 0:
                boot = boots.add(number, envelope.boot)
        type_number, device = int(roster.type_numbers[number]), int(roster.ids[number])
        offset = int(self.frames.offset[row])
        arrival: int | I64 = envelope.arrival or judged.ts
        facts, count = self.facts, len(judged.values)
        facts.kind[row] = Kind.SAMPLES if judged.report is None else Kind.REPORT
        facts.type[row], facts.device[row], facts.rows[row] = type_number, device, count
        facts.seq[row], facts.boot[row] = envelope.seq, boot
        facts.trusted[row] = envelope.trusted
        facts.aside[row] = len(judged.aside)
        if judged.report is not None and isinstance(judged.ts, int):
            told = int(envelope.arrival or judged.ts)
            document, quality = judged.report, judged.quality
            self.reports.append(Report(offset, type_number, device, judged.ts, told, quality, document))
        if count:
            self._reserve(self.fill + count)
            series = device * envelope.plan.signals + np.asarray(judged.signals, np.int64)
            self._write(
                self.fill + count, type_number, series, judged.ts, arrival, judged.values, judged.flags, envelope.seq,
                boot, offset,
            )  # fmt: skip

    def _result(self) -> Decoded:
        facts, frames = self.facts, self.frames
        messages = Messages(
            offset=frames.offset, kind=facts.kind, type=facts.type, device=facts.device, seq=facts.seq,
            boot=facts.boot, rows=facts.rows, aside=facts.aside, trusted=facts.trusted.view(np.bool_),
        )  # fmt: skip
        return Decoded(
            batches=[self._batch(t) for t in range(len(self.roster.types))],
            messages=messages,
            dead=self.dead,
            aside=Aside(messages, frames, self.roster.name, self.decoder.aside),
            reports=self.reports,
            control=self.control,
            end_offset=self.frames.end_offset,
        )

    def _batch(self, type_number: int) -> Batch:
        kind = self.rows.type[: self.fill]
        whole = Batch(*(column[: self.fill] for column in _columns(self.rows)[1:]))
        start = self.starts[type_number]
        if len(self.starts) == 1 and (start == 0 or not self.ticks):
            return whole
        mine = kind == type_number
        if self.ticks:
            mine[start:] |= kind[start:] == TICK
        return whole.take(np.flatnonzero(mine))


def _rows(size: int) -> Rows:
    return Rows(
        type=np.empty(size, np.int32), series=np.empty(size, np.int32), ts=np.empty(size, np.int64),
        arrival=np.empty(size, np.int64), value=np.empty(size, np.float64), quality=np.empty(size, np.uint8),
        seq=np.empty(size, np.int64), boot=np.empty(size, np.int32), offset=np.empty(size, np.int64),
    )  # fmt: skip


def _notes(frames: Frames) -> U8:
    """Notes on the headers of each message; READ too where there is no value or too long a one."""
    notes = np.zeros(len(frames), np.uint8) if frames.notes is None else frames.notes.copy()
    if frames.notes is None:
        for row, headers in frames.headers.items():
            notes[row] = READ if FAULT in headers else note(headers)
    notes[(frames.end - frames.start > LARGEST) | (frames.start < 0)] = READ
    return notes


def _columns(rows: Rows) -> list[NDArray[Any]]:
    return list(rows)
