"""The fault lab: what can go wrong with sensors, clocks and plants, as text, and what it does to readings.

    KIND[:AMOUNT][,signal=NAME][,for=SECONDS]@DEVICE@TIME        drift:0.5,signal=power@machine-2@60

TIME is seconds after the start, or an RFC 3339 instant; DEVICE may be a pattern (`vehicle-*`). See docs/simulator.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase

import numpy as np

from operators.errors import TwinflowError
from operators.types import F64

SENSOR = ("stuck", "drift", "noise", "dropout", "spike")
CLOCK = ("clock-step", "clock-drift")
PLANT = ("wear", "leak", "clog")
KINDS = (*SENSOR, *CLOCK, *PLANT)
DEFAULTS = {"dropout": 1.0, "clock-step": 5.0, "clock-drift": 200.0}
"""Share of messages lost; s; ppm. Those of drift, noise and spike come from the spread of the signal."""
SPREADS = {"stuck": 0.0, "drift": 0.2, "noise": 5.0, "spike": 15.0}
SPIKES_PER_SEC = 0.5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FaultError(TwinflowError):
    """A fault that cannot be read or has nothing to act on.

    >>> str(FaultError(text="stuk@p@1", why="no kind 'stuk'", fix="did you mean 'stuck'?"))
    "fault 'stuk@p@1': no kind 'stuk'; did you mean 'stuck'?"
    """

    def __init__(self, *, text: str, why: str, fix: str) -> None:
        self.text = text
        super().__init__(f"fault {text!r}: {why}; {fix}")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as it was asked for.

    Attributes:
        text: as it was written.
        kind: one of KINDS.
        device: name or pattern.
        at_s: seconds after the start; None where `at_ns` says when, ns UTC.
        amount: None for the default of the kind: drift in units/s, noise (standard deviation) and spike in units,
            dropout as a share of messages, clock-step in s, clock-drift in ppm, wear in percent, leak as a share, clog
            as a multiple of the resistance.
        signal: None for the first of the plant, or the whole device (dropout); `*` for all.
        for_s: how long; inf: it stays.
    """

    text: str
    kind: str
    device: str
    at_s: float | None
    at_ns: int | None = None
    amount: float | None = None
    signal: str | None = None
    for_s: float = math.inf

    def start_s(self, start_ns: int) -> float:
        """Seconds after `start_ns`; negative when it had begun before."""
        return self.at_s if self.at_s is not None else ((self.at_ns or 0) - start_ns) / 1e9

    def fits(self, device: str) -> bool:
        """Whether this device is meant."""
        return fnmatchcase(device, self.device)


def parse(text: str) -> Fault:
    """A fault from its text.

    Raises:
        FaultError: it is not of the form above; the nearest kind or option is named.

    >>> parse("drift:0.5@machine-2@60").amount
    0.5
    >>> parse("noise:2,signal=power,for=30@machine-*@2026-01-01T00:00:10Z").for_s
    30.0
    >>> parse("spyke@machine-2@60")
    Traceback (most recent call last):
    models.faults.FaultError: fault 'spyke@machine-2@60': no kind 'spyke'; did you mean 'spike'?
    """
    parts = text.split("@")
    if len(parts) != 3 or not all(p.strip() for p in parts):
        raise FaultError(text=text, why="not KIND[:AMOUNT]@DEVICE@TIME", fix="write it as drift:0.5@machine-2@60")
    what, device, when = (p.strip() for p in parts)
    kind = what.replace(",", ":").partition(":")[0]
    if kind not in KINDS:
        raise FaultError(text=text, why=f"no kind {kind!r}", fix=nearest(kind, KINDS))
    options = _options(text, what[len(kind) :])
    amount = _number(text, "amount", options["amount"]) if "amount" in options else None
    if amount is not None and kind == "dropout" and not 0.0 < amount <= 1.0:
        raise FaultError(
            text=text, why=f"dropout of {amount:g}", fix="give the share of lost messages, above 0 up to 1"
        )
    lasts = _number(text, "for", options["for"]) if "for" in options else math.inf
    if not lasts > 0.0:
        raise FaultError(text=text, why=f"for={lasts:g} is no duration", fix="give seconds above 0")
    if "signal" in options and kind not in SENSOR:
        raise FaultError(text=text, why=f"{kind} has no signal", fix="leave signal= out")
    at_s, at_ns = _time(text, when)
    return Fault(text, kind, device, at_s, at_ns, amount, options.get("signal"), lasts)


def _options(text: str, written: str) -> dict[str, str]:
    """`written` is all after the kind: `:0.5,for=30` or `,for=30`."""
    found: dict[str, str] = {}
    for n, part in enumerate(p.strip() for p in written.removeprefix(":").split(",")):
        name, equals, value = part.partition("=")
        if n == 0 and not equals:  # the amount, or nothing
            name, value = "amount", part if written.startswith(":") else ""
            if not value:
                continue
        if name not in ("amount", "signal", "for") or not value:
            raise FaultError(text=text, why=f"no option {part!r}", fix=nearest(name, ("amount", "signal", "for")))
        found[name] = value
    return found


def _number(text: str, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FaultError(text=text, why=f"{name} {value!r} is no number", fix="write a decimal such as 0.5")
    return number


def _time(text: str, when: str) -> tuple[float | None, int | None]:
    """Seconds after the start or ns UTC."""
    try:
        seconds = float(when)
        if math.isfinite(seconds) and seconds >= 0.0:
            return seconds, None
    except ValueError:
        try:
            instant = datetime.fromisoformat(when)
            if instant.tzinfo is not None:
                return None, (instant - _EPOCH) // timedelta(microseconds=1) * 1000
        except ValueError:
            pass
    fix = "write seconds after the start (60) or an instant with zone (2026-01-01T00:00:00Z)"
    raise FaultError(text=text, why=f"{when!r} is no time", fix=fix)


def nearest(name: str, known: Sequence[str]) -> str:
    """What to write instead of a name that is not there.

    >>> nearest("machine2", ["machine-1", "machine-2"])
    "did you mean 'machine-2'?"
    """
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(known[:12]) or 'none'}{', ...' if len(known) > 12 else ''}"


class SensorFault:
    """A fault of kind stuck, drift, noise, spike or dropout on some signals of one device.

    Args:
        kind, amount: as in `Fault`; None = the default.
        spread: float64[k], what each of the k signals moves by in ordinary work.
        rng: its own generator; it draws the same numbers in every step.

    >>> stuck = SensorFault("stuck", None, np.ones(1), np.random.default_rng(0))
    >>> [stuck.apply(np.array([x]), 0.0, 0.1).tolist() for x in (3.0, 4.0)]
    [[3.0], [3.0]]
    """

    def __init__(self, kind: str, amount: float | None, spread: F64, rng: np.random.Generator) -> None:
        self.kind, self._rng = kind, rng
        default = DEFAULTS.get(kind, 0.0) + SPREADS.get(kind, 0.0) * spread
        self.amount = np.full(spread.size, amount) if amount is not None else default
        self._held = np.full(spread.size, np.nan)

    def apply(self, value: F64, elapsed_s: float, dt_s: float) -> F64:
        """What the sensors say instead of `value`, float64[k], so long after the fault began; NaN: nothing."""
        normal, chance = self._rng.normal(size=value.size), self._rng.random(value.size)
        if self.kind == "stuck":
            self._held = np.where(np.isnan(self._held), value, self._held)
            return np.where(np.isnan(value), np.nan, self._held)
        if self.kind == "drift":
            return np.asarray(value + self.amount * elapsed_s, np.float64)
        if self.kind == "noise":
            return np.asarray(value + self.amount * normal, np.float64)
        if self.kind == "spike":
            hit = chance < 1.0 - math.exp(-SPIKES_PER_SEC * dt_s)
            return np.asarray(value + np.where(hit, self.amount * np.where(normal < 0.0, -1.0, 1.0), 0.0))
        return np.where(chance < self.amount, np.nan, value)


def clock_error_ns(kind: str, amount: float | None, elapsed_s: float) -> int:
    """How far a device clock is ahead, ns, so long after the fault began: a step in s, or a drift in ppm.

    >>> clock_error_ns("clock-step", 2.0, 7.0), clock_error_ns("clock-drift", 100.0, 10.0)
    (2000000000, 1000000)
    """
    size = DEFAULTS[kind] if amount is None else amount
    return round(size * 1e9) if kind == "clock-step" else round(size * 1e3 * elapsed_s)
