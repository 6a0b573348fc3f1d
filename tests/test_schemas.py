"""docs/schemas say what is read: each message they take is taken, each they refuse is refused, golden or made up."""

from __future__ import annotations

import json
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from connectors.device.commands import NoCommand, read_command
from connectors.device.journal import Journal
from connectors.device.records import MemoryQueue
from operators.command_reading import read_answer, read_request
from operators.command_records import Answer, Asked
from operators.decode import Decoder
from operators.definition import SECOND, CommandSpec, Signal, TwinType
from operators.errors import ContractError
from operators.frames import Frames
from operators.gate import Gate
from operators.names import _UNSAFE
from operators.roster import Roster

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "schemas"
GOLDEN = ROOT / "tests" / "golden" / "wire"
OPEN = TwinType("open", 1, (Signal("declared"),))
SAMPLES, COMMANDS = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("samples", "commands"))


def validator(schema: dict[str, Any], part: str = "") -> Draft202012Validator:
    """Of a whole file, or of one of its definitions."""
    return Draft202012Validator({"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]} if part else schema)


def no_json(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def valid(schema: Draft202012Validator, raw: bytes) -> bool:
    """Whether a text is JSON that fits."""
    try:
        return schema.is_valid(json.loads(raw, parse_constant=no_json))
    except ValueError:
        return False


def decoded(raw: bytes, kind: bytes = b"") -> list[str]:
    """Reasons why telemetry refuses a message of a device whose type knows none of its signals."""
    headers = {0: {"kind": kind}} if kind else {}
    frames = Frames.of([raw], arrival=[1_700_000_000 * SECOND], headers=headers)
    return Decoder(Roster(lambda _name: OPEN)).push(frames).dead.reason


@pytest.mark.parametrize("schema", [SAMPLES, COMMANDS], ids=["samples", "commands"])
def test_they_are_json_schemas(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


GOLDEN_CASES = {p.stem: json.loads(p.read_text()) for p in sorted(GOLDEN.glob("*.json"))}
PACKED = {case for case, told in GOLDEN_CASES.items() if any("content-type" in h for h in told["headers"])}


@pytest.mark.parametrize("case", sorted(set(GOLDEN_CASES) - PACKED))
def test_a_golden_json_message_that_is_accepted_validates_and_one_that_is_refused_does_not(case: str) -> None:
    told = GOLDEN_CASES[case]
    raws = [(GOLDEN / f"{case}.{i}.bin").read_bytes() for i in range(len(told["headers"]))]
    assert [valid(validator(SAMPLES), raw) for raw in raws] == [not told["dead"]] * len(raws)
    assert {"message", "stream", "stream_long"} == PACKED


def test_names_are_refused_for_the_characters_that_telemetry_refuses() -> None:
    name = validator(SAMPLES, "name")
    unsafe = {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in _UNSAFE}
    assert [c for c in unsafe if name.is_valid(f"a{c}b")] == []
    plain = [chr(c) for c in range(0x3100) if chr(c) not in unsafe and unicodedata.category(chr(c)) != "Cn"]
    assert [c for c in plain if not name.is_valid(c)] == []
    assert COMMANDS["$defs"]["name"] == SAMPLES["$defs"]["name"]


TEXT = st.text(max_size=6)
WORD = TEXT | st.sampled_from(["p-7", "a/b", "a\\b", ".", "..", "a\u200bb", "\u2028", "x" * 70, "x" * 129, "x" * 257])
REAL = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != int(x))  # 7.0 is an integer to a schema
WHOLE = st.integers(-3, 2**64) | st.integers(-(10**320), 10**320)
SCALAR = st.one_of(st.none(), st.booleans(), WHOLE, REAL, TEXT)
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
NUMBER = WHOLE | st.floats(allow_nan=False, allow_infinity=False)
VALUE = NUMBER | st.lists(NUMBER, min_size=1, max_size=3)
INSTANT = st.datetimes(datetime(1970, 1, 3), datetime(2261, 12, 30)).map(lambda t: t.replace(tzinfo=UTC).isoformat())
TIME = st.one_of(
    st.sampled_from([1, 1_700_000_000.5, 1_700_000_000_123, 9_214_646_399, 9_214_646_400, 10**11, 0, -1]),
    st.integers(1, 10**19),
    st.floats(1e-12, 1e19).filter(lambda x: x < 1e15 or x == int(x)),
    INSTANT,
    INSTANT.map(lambda t: t[:-1]),
    INSTANT.map(lambda t: t.replace("T", " ")),
)


def or_anything(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly as it should be."""
    return st.one_of(good, good, good, JSON)


SHAPES = [("signals",), ("sensor", "v"), ("report",), ("tick",), ("signals", "v"), ("sensor",), ("report", "signals")]
FIELDS = {
    "signals": or_anything(st.dictionaries(WORD, or_anything(VALUE), max_size=3)),
    "sensor": or_anything(WORD),
    "v": or_anything(VALUE),
    "report": or_anything(st.dictionaries(TEXT, JSON, max_size=3)),
    "tick": or_anything(TIME),
    "device": or_anything(WORD),
    "ts": or_anything(TIME),
    "arrival": or_anything(TIME),
    "seq": or_anything(st.integers(-1, 2**63 + 1)),
    "boot": or_anything(WORD | st.integers(-1, 10**18 + 1)),
    "schema": or_anything(st.sampled_from([1, 2])),
    "unknown": JSON,
}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A message of one of the shapes, or nearly."""
    shape = draw(st.sampled_from(SHAPES[:4]) | st.sampled_from(SHAPES))
    beside = ["ts", "arrival", "seq", "boot", "schema", "unknown"]
    names = [*shape, *(["device"] if "tick" not in shape or draw(st.booleans()) else [])]
    names += draw(st.lists(st.sampled_from(beside), unique=True, max_size=2))
    if "tick" in shape and draw(st.booleans()):
        names = ["tick"]
    return {name: draw(FIELDS[name]) for name in draw(st.permutations(names))}


@settings(max_examples=300, deadline=None)
@given(message=messages())
@example(message={"device": "p-7", "ts": 9_214_646_400, "signals": {"a": 1}})
@example(message={"device": "p-7", "ts": 1e-9, "signals": {"a": 1.7976931348623157e308}})
@example(message={"device": "p-7", "ts": 1, "signals": {"a": 10**309}})
@example(message={"tick": "2023-11-14T22:13:20.5+01:00"})
def test_what_validates_is_read_and_what_does_not_is_refused(message: dict[str, Any]) -> None:
    raw = json.dumps(message).encode()
    kind = b"tick" if "tick" in message else b""
    assert valid(validator(SAMPLES), raw) == (decoded(raw, kind) == [])


@given(at=INSTANT, minutes=st.integers(-1439, 1439))
def test_texts_are_times_where_they_have_the_form(at: str, minutes: int) -> None:
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    text = at.replace("+00:00", zone)
    assert validator(SAMPLES, "time").is_valid(text)
    instant = datetime.fromisoformat(text)
    raw = json.dumps({"device": "p", "ts": text, "signals": {"declared": 1}}).encode()
    batch = Decoder(Roster(lambda _name: OPEN)).push(Frames.of([raw])).batches[0]
    assert int(batch.ts[0]) == (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


COMMAND = {
    "id": or_anything(WORD),
    "device": or_anything(WORD),
    "verb": or_anything(WORD),
    "arguments": or_anything(st.dictionaries(TEXT, JSON, max_size=2)),
    "issuer": or_anything(WORD),
    "reason": or_anything(TEXT),
    "status": or_anything(st.sampled_from(["accepted", "done", "failed", "refused"])),
    "detail": or_anything(TEXT),
    "ts_ns": or_anything(st.integers(0, 2**62 + 1)),
    "expires_ns": or_anything(st.none() | st.integers(0, 2**62 + 1)),
    "deadline_ns": or_anything(st.integers(0, 2**62 + 1)),
    "unknown": JSON,
}
KINDS = {
    "request": ("id", "device", "verb", "arguments", "issuer", "reason", "ts_ns", "expires_ns", "unknown"),
    "command": ("id", "device", "verb", "arguments", "issuer", "ts_ns", "deadline_ns", "unknown"),
    "answer": ("id", "device", "status", "detail", "ts_ns", "unknown"),
}


@st.composite
def records(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A record of the command protocol, sometimes with a field left out."""
    out = draw(st.sets(st.sampled_from(KINDS[kind]), max_size=1))
    return {name: draw(COMMAND[name]) for name in KINDS[kind] if name not in out}


def taken(kind: str, record: dict[str, Any]) -> bool:
    """Whether its reader takes it: the gate requests and answers, the SDK commands."""
    raw, device = json.dumps(record).encode(), record.get("device")
    key = device.encode() if isinstance(device, str) else b""
    try:
        if kind == "request":
            return read_request(key, raw, where="0@1").fault == ""
        if kind == "answer":
            return bool(read_answer(key, raw, where="0@1"))
        return bool(read_command(raw, lambda *_: None))
    except (ContractError, NoCommand):
        return False


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_records_of_commands_that_validate_are_taken_and_others_are_not(kind: str, data: st.DataObject) -> None:
    record = data.draw(records(kind))
    assert validator(COMMANDS, kind).is_valid(record) == taken(kind, record)


def test_what_the_gate_and_the_sdk_write_validates() -> None:
    pump = TwinType("pump", 1, (Signal("a"),), commands=(CommandSpec("stop"), CommandSpec("reset", grave=True)))
    gate = Gate({"pump-7": pump}.get)
    told, dispatched, written = [], [], []
    for n, verb in enumerate(("stop", "reset", "fly", "stop")):
        asked = Asked(f"c-{n}", "pump-7", verb, issuer="person:ann", ts_ns=10, expires_ns=20)
        judged = gate.request(asked, now_ns=11)
        told += judged.events
        dispatched += judged.dispatches
    for one in dispatched:
        command = read_command(msgspec.json.encode(one), lambda *_: None)
        journal = Journal(queue := MemoryQueue())
        journal.answer(command, "accepted", "will", 12)
        journal.answer(command, "done", "did", 13)
        written += [record.value for _, record in queue.take(9)]
        for record in written[-2:]:
            told += gate.answer(read_answer(b"pump-7", record, where="0@1"), at_ns=14).events
    told += gate.answer(Answer("c-0", "pump-7", "failed", 15), at_ns=16).events
    assert {e.stage for e in told} == {"requested", "authorised", "dispatched", "acknowledged", "effect", "refused"}
    assert [e for e in told if not valid(validator(COMMANDS, "event"), msgspec.json.encode(e))] == []
    assert [d for d in dispatched if not valid(validator(COMMANDS, "command"), msgspec.json.encode(d))] == []
    assert all(valid(validator(COMMANDS, "answer"), raw) for raw in written)
    assert len(written) == 4
