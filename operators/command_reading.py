"""Requests and answers from bytes. What names itself is judged by the gate; what does not is a dead letter.

The standard library's parser reads them, because it alone tells of a key that comes twice: two readers of one message
must never see two different commands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from operators.command_records import NOTHING, WINDOW_NS, Answer, Asked
from operators.errors import ContractError
from operators.names import device_fault

LONGEST = 64 << 10
"""Bytes of a request or an answer."""
LONGEST_ID = 128
LONGEST_LINEAGE = 2 << 10
DEEPEST = 32
"""Levels of arrays and objects."""
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
_Time = Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]


class _Request(msgspec.Struct):
    """What a request must hold; other fields are none of this version's business."""

    id: _Word
    device: str
    verb: _Word
    issuer: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    ts_ns: _Time
    arguments: dict[str, Any] = {}
    reason: _Text = ""
    expires_ns: _Time | None = None
    lineage: Any = None


def read_request(key: bytes | None, value: bytes | None, *, where: str) -> Asked:
    """A request; one that is not as it should be carries its `fault`, reason first.

    Raises:
        ContractError: it does not even tell its id and device.

    >>> good = b'{"id":"c-1","device":"pump-7","verb":"stop","issuer":"person:ann","ts_ns":1700000000000000000}'
    >>> read_request(b"pump-7", good, where="0@1").expires_ns
    1700000030000000000
    >>> read_request(b"pump-8", good, where="0@1").fault
    "wrong_key: the record's key is b'pump-8'"
    """
    tree, fault = _tree(value, where)
    made, device = _named(tree, where)
    if not fault:
        try:
            read = msgspec.convert(tree, _Request)
            arguments = msgspec.Raw(msgspec.json.encode(read.arguments))
            msgspec.json.encode((read.verb, read.reason, read.issuer))
            if len(arguments) > LONGEST:  # 1e15 is longer when it is written out
                fault = f"too_large: arguments of {len(arguments)} bytes, at most {LONGEST} are taken"
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            fault = f"bad_shape: {error}"
    if not fault and key != device.encode():
        fault = f"wrong_key: the record's key is {None if key is None else key[:80]!r}"
    if fault:
        verb, issuer = (word if isinstance(word, str) and not _fault(word) else "" for word in _said(tree))
        return Asked(made, device, verb, issuer=issuer, fault=fault)
    expires_ns = read.ts_ns + WINDOW_NS if read.expires_ns is None else read.expires_ns
    lineage = _lineage(read.lineage)
    return Asked(made, device, read.verb, arguments, read.reason, read.issuer, read.ts_ns, expires_ns, lineage=lineage)


def _lineage(given: object) -> msgspec.Raw:
    """What a request says it rests on; nothing where that is no short object, for no verdict depends on it."""
    if not isinstance(given, dict):
        return NOTHING
    try:
        text = msgspec.json.encode(given)
    except UnicodeEncodeError:
        return NOTHING
    return msgspec.Raw(text) if len(text) <= LONGEST_LINEAGE else NOTHING


def read_answer(key: bytes | None, value: bytes | None, *, where: str) -> Answer:
    """What a device answered; its detail is cut to 1,000 characters.

    Raises:
        ContractError: it is not as docs/commands.md says.

    >>> read_answer(b"p", b'{"id":"c-1","device":"p","status":"done","ts_ns":1}', where="0@1").status
    'done'
    """
    tree, fault = _tree(value, where)
    made, device = _named(tree, where)
    try:
        read = msgspec.convert({**tree, "id": made, "device": device}, Answer)
        read.detail.encode()
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        fault = fault or f"bad_shape: {error}"
    if not fault and key != device.encode():
        fault = f"wrong_key: the record's key is {None if key is None else key[:80]!r}, device {device!r}"
    if fault:
        reason, _, detail = fault.partition(": ")
        raise ContractError(reason=reason, where=where, detail=detail)
    return Answer(read.id, read.device, read.status, read.ts_ns, read.detail[:1000])


def _tree(value: bytes | None, where: str) -> tuple[dict[str, Any], str]:
    """The object and what is wrong with it all the same: too long, a key twice, a number that is none.

    Raises:
        ContractError: there is no JSON object.
    """
    if value is None:
        raise ContractError(reason="empty", where=where, detail="the record has no value")
    faults: list[str] = []
    if len(value) > LONGEST:
        faults.append(f"too_large: {len(value)} bytes, at most {LONGEST} are taken")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            faults.append("duplicate_key: an object has a key twice")
        return made

    def number(text: str) -> float:
        read = float(text)
        if not math.isfinite(read):
            faults.append(f"bad_value: {text[:40]} is no finite number")
        return read

    try:
        tree = json.loads(value.decode(), object_pairs_hook=pairs, parse_float=number, parse_constant=number)
    except UnicodeDecodeError as error:
        raise ContractError(reason="bad_utf8", where=where, detail=str(error)) from None
    except RecursionError:
        raise ContractError(reason="too_deep", where=where, detail="nested too deeply") from None
    except ValueError as error:
        raise ContractError(reason="bad_json", where=where, detail=str(error)) from None
    if not isinstance(tree, dict):
        raise ContractError(reason="bad_shape", where=where, detail=f"a {type(tree).__name__}, not an object")
    if not faults and _deep(tree):
        faults.append(f"too_deep: nested over {DEEPEST} levels")
    return tree, faults[0] if faults else ""


def _deep(tree: object) -> bool:
    level = [tree]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
    return any(isinstance(one, dict | list) for one in level)


def _inside(one: object) -> Iterable[object]:
    return one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()


def _named(tree: dict[str, Any], where: str) -> tuple[str, str]:
    """Id and device.

    Raises:
        ContractError: `bad_id`, `bad_device`.
    """
    made, device = tree.get("id"), tree.get("device")
    wrong = "is no text" if not isinstance(made, str) else _fault(made)
    if wrong or not isinstance(made, str):
        raise ContractError(reason="bad_id", where=where, detail=f"id {wrong}")
    wrong = "is no text" if not isinstance(device, str) else device_fault(device)
    if wrong or not isinstance(device, str):
        raise ContractError(reason="bad_device", where=where, detail=f"device {wrong}")
    return made, device


def _said(tree: dict[str, Any]) -> tuple[Any, Any]:
    return tree.get("verb"), tree.get("issuer")


def _fault(word: str) -> str:
    """What is wrong with an id or a verb as text, "" where nothing is."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate"
    return "" if 0 < len(word) <= LONGEST_ID else f"has {len(word)} characters, 1 to {LONGEST_ID} are taken"
