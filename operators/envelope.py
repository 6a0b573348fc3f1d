"""What every message carries around its values: headers, device, key, boot, sequence number, arrival."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from operators.boots import LONGEST_BOOT
from operators.errors import ContractError
from operators.frames import DEVICE_CLOCK, HEADERS, PLAIN, READ, TRUSTED, Headers
from operators.names import LONGEST_NAME, device_fault, name_fault
from operators.roster import Roster
from operators.signal_plan import Plan
from operators.times import nanos_of_number
from operators.types import F64, I64, NO_SEQ, U8

JSON, STREAM, MESSAGE = (
    "application/json",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.arrow.message",
)
KINDS = ("samples", "report", "tick", "schema", "definition")
_CLOCKS = {b"": PLAIN, b"trusted": TRUSTED, b"device": DEVICE_CLOCK}
_DIGITS = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Head:
    """Headers of one message as text, "" where absent; `clock` is "", "device" or "trusted"."""

    kind: str = ""
    content_type: str = JSON
    schema_id: str = ""
    device: str = ""
    boot: str = ""
    seq: str = ""
    clock: str = ""
    arrival: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent a message, and when; `arrival` is 0 where neither broker nor message tells it."""

    device: str
    plan: Plan
    boot: bytes
    seq: int
    arrival: int
    trusted: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """A good message: who, when, and its values in the order they came.

    Attributes:
        ts: event time of all its values, or int64[values].
        quality: bits of Quality for the message as a whole.
        signals, values, flags: signal, value and Quality bits of each reading.
        aside: name, event time and value of each reading of a signal the type does not know.
        report: the document, where it is one.
    """

    envelope: Envelope
    ts: int | I64
    quality: int = 0
    signals: Sequence[int] | I64 = ()
    values: Sequence[float] | F64 = ()
    flags: Sequence[int] | U8 = ()
    aside: Sequence[tuple[str, int, float]] = ()
    report: dict[str, Any] | None = None


def read_headers(headers: Headers, where: str) -> Head:
    """The headers this contract names; others are none of its business.

    Raises:
        ContractError: `bad_header`.

    >>> read_headers({"kind": b"tick", "x": b"y"}, "3@7").kind
    'tick'
    """
    text: dict[str, str] = {}
    for name in HEADERS:
        raw = headers.get(name)
        if raw:
            if len(raw) > 4 * LONGEST_NAME:
                raise ContractError(reason="bad_header", where=where, detail=f"header {name} has {len(raw)} bytes")
            try:
                text[name.replace("-", "_")] = raw.decode()
            except UnicodeDecodeError as error:
                raise ContractError(reason="bad_header", where=where, detail=f"header {name}: {error}") from None
    content = text.get("content_type", JSON).partition(";")[0].strip().lower()
    head = Head(**{**text, "content_type": content})
    if head.content_type not in (JSON, STREAM, MESSAGE) and head.kind != "definition":
        raise ContractError(reason="bad_header", where=where, detail=f"content-type {head.content_type!r} is not read")
    if head.kind not in ("", *KINDS) or head.clock not in ("", "device", "trusted"):
        detail = f"kind {head.kind!r}, clock {head.clock!r}"
        raise ContractError(reason="bad_header", where=where, detail=detail)
    return head


def note(headers: Headers) -> int:
    """PLAIN where headers leave a message the JSON samples it would be without them; also see operators.frames.

    >>> note({"x": b"y"}) == PLAIN, note({"clock": b"trusted"}) == TRUSTED, note({"seq": b"7"}) == READ
    (True, True, True)
    """
    told = {name: headers[name] for name in HEADERS if name in headers}
    if told.get("content-type") == b"application/json":
        del told["content-type"]
    if not told:
        return PLAIN
    return _CLOCKS.get(told["clock"], READ) if list(told) == ["clock"] else READ


def resolve(
    roster: Roster, head: Head, *, device: str, key: bytes | None, boot: str, seq: str, own_arrival: int, arrival: int,
    where: str,
) -> Envelope:  # fmt: skip
    """Check who sent it.

    Args:
        device, boot, seq: as the message itself gives them, "" where it leaves them to the headers.
        own_arrival, arrival: what the message and the broker say, 0 where unknown.

    Raises:
        ContractError: bad_header, bad_device, wrong_key, bad_seq, bad_boot, unknown_type, too_many_devices.
    """

    def one(name: str, inside: str, outside: str) -> str:
        if inside and outside and inside != outside:
            detail = f"{name} {inside[:80]!r}, but the header says {outside[:80]!r}"
            raise ContractError(reason="bad_header", where=where, detail=detail)
        return inside or outside

    device = one("device", device, head.device)
    boot, seq = one("boot", boot, head.boot), one("seq", seq, head.seq)
    fault = device_fault(device)
    if fault:
        raise ContractError(reason="bad_device", where=where, detail=f"device {device[:80]!r} {fault}")
    if key is not None and key != device.encode():
        raise ContractError(reason="wrong_key", where=where, detail=f"key {key[:80]!r}, device {device[:80]!r}")
    if seq and (not _DIGITS.fullmatch(seq) or int(seq) >= 2**63):
        raise ContractError(reason="bad_seq", where=where, detail=f"{seq[:80]!r} is no integer from 0 to 2^63-1")
    fault = name_fault(boot) if boot else ""
    if fault or len(boot.encode()) > LONGEST_BOOT:
        raise ContractError(reason="bad_boot", where=where, detail=f"{boot[:80]!r} {fault or 'is too long'}")
    plan = _plan(roster, device, where)
    trusted = (head.clock or plan.type.clock) == "trusted"
    told = nanos_of_number(head.arrival) if head.arrival else None
    if head.arrival and told is None:
        raise ContractError(reason="bad_header", where=where, detail=f"arrival {head.arrival[:80]!r} is no time")
    own = own_arrival or told or 0
    return Envelope(
        device=device,
        plan=plan,
        boot=boot.encode(),
        seq=int(seq) if seq else NO_SEQ,
        arrival=own if own and (trusted or arrival <= 0) else max(arrival, 0),
        trusted=trusted,
    )


def _plan(roster: Roster, device: str, where: str) -> Plan:
    number = roster.number(device)
    if number >= 0:
        return roster.plans.plans[int(roster.type_numbers[number])]
    twin_type = roster.check(device, where)
    return next((p for p in roster.plans.plans if p.type.name == twin_type.name), None) or Plan(twin_type)
