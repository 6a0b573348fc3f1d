"""Values of topic samples as docs/wire.md wants them, checked here so that none becomes a dead letter."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Union

from .errors import DeviceError

LARGEST = 1_048_576
"""Bytes of a value that telemetry reads."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_END_NS = 9_214_646_400 * 10**9  # 2262-01-01

Time = Union[int, float, datetime]
Values = Mapping[str, Any]


class WrongMessage(DeviceError, ValueError):
    """What was to be sent is not what the wire contract takes; nothing was sent."""


def device_name(name: str) -> str:
    """The name, if a device may have it.

    Raises:
        WrongMessage: it may not.

    >>> device_name("pump-7")
    'pump-7'
    """
    if isinstance(name, str) and (name in (".", "..") or "/" in name or "\\" in name):
        raise WrongMessage(f"device {name!r}: no / or \\, not . or ..")
    return _name("device", name)


def nanos(ts: Time) -> int:
    """An instant, ns UTC. The size of a number says its unit, as in docs/wire.md, *Time*.

    Raises:
        WrongMessage: it is no instant, or not one from 1970 to 2262.

    >>> nanos(1700000000.5), nanos(1700000000500), nanos(datetime(2023, 11, 14, 22, 13, 20, 500000, timezone.utc))
    (1700000000500000000, 1700000000500000000, 1700000000500000000)
    """
    if isinstance(ts, datetime):
        if ts.tzinfo is None:
            raise WrongMessage(f"ts {ts.isoformat()} has no zone; give one, such as timezone.utc")
        found = (ts - _EPOCH) // timedelta(microseconds=1) * 1000
    elif isinstance(ts, bool) or not isinstance(ts, (int, float)) or not math.isfinite(ts):
        raise WrongMessage(f"ts is {ts!r}; give a number or a datetime with zone")
    else:
        scale = next((s for bound, s in ((1e11, 10**9), (1e14, 10**6), (1e17, 1000)) if ts < bound), 1)
        found = int(ts) * scale if isinstance(ts, int) else int(Decimal(repr(float(ts))) * scale)
    if not 0 < found < _END_NS:
        raise WrongMessage(f"ts {ts!r} is not between 1970 and 2262")
    return found


def checked(signals: Values) -> dict[str, float | list[float]]:
    """The signals with numbers as JSON has them; vectors (lists, tuples, arrays) as lists.

    Raises:
        WrongMessage: no signal, a wrong name or a value that is no finite number.

    >>> checked({"flow": 1, "position": (1.0, 2.5)})
    {'flow': 1, 'position': [1.0, 2.5]}
    """
    if not signals:
        raise WrongMessage("a message needs at least one signal")
    return {_name("signal", name): _value(name, value) for name, value in signals.items()}


def samples(device: str, ts: int, signals: Mapping[str, float | list[float]], seq: int, boot: str) -> bytes:
    """One message of several signals at one instant.

    Raises:
        WrongMessage: it is too large.

    >>> samples("pump-7", 1_700_000_000_500_000_000, {"flow": 2.5}, 0, "b1").decode()
    '{"device":"pump-7","ts":1700000000500000000,"signals":{"flow":2.5},"seq":0,"boot":"b1"}'
    """
    return _json({"device": device, "ts": ts, "signals": signals, "seq": seq, "boot": boot})


def report(device: str, ts: int, document: Mapping[str, Any], seq: int, boot: str) -> bytes:
    """A document that is merged into the twin.

    Raises:
        WrongMessage: it is no JSON object, or too large.
    """
    if not isinstance(document, Mapping):
        raise WrongMessage(f"a report is an object, not {type(document).__name__}")
    return _json({"device": device, "ts": ts, "report": dict(document), "seq": seq, "boot": boot})


def _json(value: dict[str, object]) -> bytes:
    try:
        made = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise WrongMessage(f"this cannot be written as JSON: {error}") from None
    if len(made) > LARGEST:
        raise WrongMessage(f"the message has {len(made)} bytes; at most {LARGEST} are read")
    return made


def _value(name: str, value: Any) -> float | list[float]:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        if not value:
            raise WrongMessage(f"signal {name!r}: an empty vector")
        return [_number(name, one) for one in value]
    return _number(name, value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise WrongMessage(f"signal {name!r} is {value!r}; it must be a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise WrongMessage(f"signal {name!r} is {value!r}; only finite numbers are sent, leave the signal out")
    return value


def _name(what: str, name: object) -> str:
    if not isinstance(name, str):
        raise WrongMessage(f"{what} {name!r} is no text")
    if name in _known:
        return name
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        length = 0
    if not 1 <= length <= 256:
        raise WrongMessage(f"{what} {name!r}: its name must have 1 to 256 bytes of UTF-8")
    wrong = [c for c in name if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    if wrong:
        raise WrongMessage(f"{what} {name!r}: its name has the control character {wrong[0]!r}")
    if len(_known) < 10_000:
        _known.add(name)
    return name


_known: set[str] = set()
"""Names that were checked."""
