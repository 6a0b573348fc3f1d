"""One JSON message, judged exactly: whatever the compiled scanner did not take comes here, and this verdict counts.

The standard library's parser reads it, because it alone gives both the text of every number (times are exact) and
every key of an object (a key that comes twice is refused, not overwritten).
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import numpy as np

from operators.compiled import kernel
from operators.envelope import Envelope, Head, Judged, resolve
from operators.errors import ContractError
from operators.names import name_fault
from operators.roster import Roster
from operators.signal_plan import Name, Plan, norm_fault
from operators.times import nanos_of_number, nanos_of_text
from operators.types import U8, Quality

DEEPEST = 32
"""Levels of arrays and objects that are read."""
_KNOWN_SCHEMA = "1"


class Number(str):
    """The text of a JSON number."""

    __slots__ = ()


class _Duplicate(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Duplicate(next(key for key in keys if keys.count(key) > 1))
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=Number)


@kernel
def _depth(text: U8) -> int:
    deepest, depth, quoted, skip = 0, 0, False, False
    for c in text:
        if skip:
            skip = False
        elif quoted:
            skip = c == 92
            quoted = c != 34
        elif c == 34:
            quoted = True
        elif c == 91 or c == 123:
            depth += 1
            deepest = max(deepest, depth)
        elif c == 93 or c == 125:
            depth -= 1
    return deepest


def parse(raw: bytes, where: str) -> dict[str, Any]:
    """The object a message holds, numbers as `Number`.

    Raises:
        ContractError: too_deep, bad_utf8, bad_json, duplicate_key, bad_shape.

    >>> parse(b'{"ts": 1.50}', "3@7")
    {'ts': '1.50'}
    """
    depth = int(_depth(np.frombuffer(raw, np.uint8)))
    if depth > DEEPEST:
        raise ContractError(reason="too_deep", where=where, detail=f"{depth} levels, at most {DEEPEST} are read")
    try:
        tree = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise ContractError(reason="bad_utf8", where=where, detail=f"byte {error.start}: {error.reason}") from None
    except _Duplicate as error:
        raise ContractError(reason="duplicate_key", where=where, detail=f"{str(error)[:80]!r} comes twice") from None
    except ValueError as error:
        raise ContractError(reason="bad_json", where=where, detail=str(error)[:200]) from None
    if not isinstance(tree, dict):
        raise ContractError(reason="bad_shape", where=where, detail="is no JSON object")
    return tree


def count_samples(tree: dict[str, Any]) -> int:
    """Values a parsed message would have brought; at least 1."""
    signals = tree.get("signals")
    held = list(signals.values()) if isinstance(signals, dict) else [tree.get("v")]
    return max(1, sum(len(v) if isinstance(v, list) else 1 for v in held))


def tick(tree: dict[str, Any], head: Head, key: bytes | None, where: str) -> int | None:
    """Arrival time a tick tells, None where the message is no tick.

    Only a message without a key, or one of header kind `tick`, can be one: a device cannot speed up its neighbours.

    Raises:
        ContractError: bad_shape, wrong_key, bad_time.
    """
    if "tick" not in tree and head.kind != "tick":
        return None
    if set(tree) != {"tick"}:
        raise ContractError(reason="bad_shape", where=where, detail='a tick is {"tick": arrival} and no more')
    if key is not None and head.kind != "tick":
        raise ContractError(reason="wrong_key", where=where, detail="a tick has no key, or header kind = tick")
    return _time(tree["tick"], "tick", where)


def judge(
    tree: dict[str, Any], head: Head, roster: Roster, *, key: bytes | None, arrival: int, where: str
) -> Judged:  # fmt: skip
    """A parsed message as samples or a report, nothing applied yet.

    Raises:
        ContractError: any of dead_letter.REASONS from bad_shape on.
    """
    shape = _shape(tree, head, where)
    schema = tree.get("schema", _KNOWN_SCHEMA)
    if schema != _KNOWN_SCHEMA:
        raise ContractError(reason="unknown_schema", where=where, detail=f"schema {str(schema)[:80]!r}, read is 1")
    envelope = resolve(
        roster,
        head,
        device=_text(tree, "device", "bad_device", where),
        key=key,
        boot=_text(tree, "boot", "bad_boot", where),
        seq=_number(tree, "seq", "bad_seq", where),
        own_arrival=_time(tree["arrival"], "arrival", where) if "arrival" in tree else 0,
        arrival=arrival,
        where=where,
    )
    if "ts" in tree:
        ts, quality = _time(tree["ts"], "ts", where), 0
    elif envelope.arrival > 0:
        ts, quality = envelope.arrival, int(Quality.ARRIVAL_AS_TIME)
    else:
        raise ContractError(reason="no_time", where=where, detail="neither ts nor arrival is known")
    if shape == "report":
        return Judged(envelope, ts, quality, report=_report(tree["report"], where))
    named = tree["signals"] if shape == "signals" else {_sensor(tree, where): tree["v"]}
    reader = _Reader(envelope, ts, where)
    reader.read(named)
    flags = [quality | flag for flag in reader.flags]
    return Judged(envelope, ts, quality, reader.signals, reader.values, flags, reader.aside)


def _shape(tree: dict[str, Any], head: Head, where: str) -> str:
    shapes = [s for s in ("signals", "report") if s in tree] + (["v"] if "sensor" in tree or "v" in tree else [])
    if shapes == ["v"] and not ("sensor" in tree and "v" in tree):
        shapes = []
    wanted = {"report": "report", "samples": "samples"}.get(head.kind, "")
    if len(shapes) != 1 or (wanted and (wanted == "report") != (shapes[0] == "report")):
        detail = f"needs either signals, or sensor and v, or report (header kind = {head.kind!r})"
        raise ContractError(reason="bad_shape", where=where, detail=detail)
    if shapes[0] == "signals" and not isinstance(tree["signals"], dict):
        raise ContractError(reason="bad_shape", where=where, detail="signals is no object")
    if shapes[0] == "signals" and not tree["signals"]:
        raise ContractError(reason="empty", where=where, detail="signals names none")
    return shapes[0]


def _text(tree: dict[str, Any], key: str, reason: str, where: str) -> str:
    value = tree.get(key, "")
    if key == "boot" and type(value) is Number and value.isdigit() and len(value) <= 18:
        return str(value)
    if type(value) is not str or (key in tree and not value):
        raise ContractError(reason=reason, where=where, detail=f"{key} {_show(value)} is no text")
    return value


def _number(tree: dict[str, Any], key: str, reason: str, where: str) -> str:
    value = tree.get(key, Number(""))
    if type(value) is not Number:
        raise ContractError(reason=reason, where=where, detail=f"{key} {_show(value)} is no number")
    return str(value)


def _sensor(tree: dict[str, Any], where: str) -> str:
    if type(tree["sensor"]) is not str:
        raise ContractError(reason="bad_name", where=where, detail=f"sensor {_show(tree['sensor'])} is no text")
    return str(tree["sensor"])


def _time(value: Any, key: str, where: str) -> int:
    nanos: int | None = None
    if type(value) is Number:
        nanos = nanos_of_number(value)
    elif type(value) is str:
        nanos = nanos_of_text(value)
    if nanos is None:
        raise ContractError(reason="bad_time", where=where, detail=f"{key} {_show(value)} is no time up to 2261")
    return nanos


def _show(value: Any) -> str:
    return repr(str(value) if isinstance(value, str) else value)[:80]


class _Reader:
    """Reads the values of one message."""

    def __init__(self, envelope: Envelope, ts: int, where: str) -> None:
        self.ts, self.where = ts, where
        self.plan: Plan = envelope.plan
        self.seen: dict[int, float] = {}
        self.signals: list[int] = []
        self.values: list[float] = []
        self.flags: list[int] = []
        self.aside: list[tuple[str, int, float]] = []

    def read(self, named: dict[str, Any]) -> None:
        for name, value in named.items():
            fault = name_fault(name)
            if fault:
                self.refuse("bad_name", f"signal {name[:80]!r} {fault}")
            known = self.plan.names.get(name)
            if isinstance(value, list):
                self.vector(name, known, [self.finite(name, x) for x in value])
            else:
                self.scalar(name, known, self.finite(name, value))
        for elements in self.plan.norms:
            values = [self.seen[e] for e in elements if e in self.seen]
            whole = len(values) == len(elements)
            if whole and not any(self.sentinel(e, self.seen[e]) for e in elements) and norm_fault(values):
                self.refuse("bad_quaternion", f"{values} is not of length 1")

    def refuse(self, reason: str, detail: str) -> NoReturn:
        raise ContractError(reason=reason, where=self.where, detail=detail)

    def finite(self, name: str, value: Any) -> float:
        number = float(value) if type(value) is Number else math.nan
        if not math.isfinite(number):
            self.refuse("bad_value", f"{name} = {_show(value)} is no finite number")
        return number

    def scalar(self, name: str, known: Name | None, value: float) -> None:
        if known is None or (known.scalar < 0 and not known.declared):
            self.aside.append((name, self.ts, value))
        elif known.scalar < 0:
            self.refuse("wrong_length", f"{name} is a vector of {len(known.elements)}, not a number")
        else:
            self.add(known.scalar, value)

    def vector(self, name: str, known: Name | None, values: list[float]) -> None:
        elements = known.elements if known is not None else ()
        plain = known is not None and known.scalar >= 0 and not elements
        declared = known is not None and known.declared
        if not values or plain or (declared and len(values) != len(elements)):
            expected = f"{len(elements)} values" if elements else "a number" if plain else "at least one value"
            self.refuse("wrong_length", f"{name} has {len(values)} values, expected {expected}")
        for i, value in enumerate(values):
            if i < len(elements):
                self.add(elements[i], value)
            else:
                self.aside.append((f"{name}.{i}", self.ts, value))

    def sentinel(self, signal: int, value: float) -> bool:
        return value in self.plan.type.signals[signal].sentinels

    def add(self, signal: int, value: float) -> None:
        if signal in self.seen:
            self.refuse("duplicate_key", f"signal {self.plan.type.signals[signal].name} comes twice")
        fault = self.plan.fault(signal, value)
        if fault:
            self.refuse("out_of_range", fault)
        self.seen[signal] = value
        self.signals.append(signal)
        self.values.append(value)
        self.flags.append(int(Quality.SENTINEL) if self.sentinel(signal, value) else 0)


def _report(document: Any, where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ContractError(reason="bad_report", where=where, detail="report is no object")
    try:
        plain = _plain(document)
        json.dumps(plain, ensure_ascii=False).encode()
    except ValueError as error:
        raise ContractError(reason="bad_report", where=where, detail=str(error)[:200]) from None
    return dict(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_plain(x) for x in value]
    if type(value) is not Number:
        return value
    if value.lstrip("-").isdigit() and len(value) <= 1000:
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{_show(value)} is no finite number")
    return number
