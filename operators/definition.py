"""A twin type as the rest of twinflow sees it: plain frozen data, already checked.

`operators.definition_yaml.load` reads it from a YAML file and refuses what does not hold together, with the line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import numpy as np

from operators.types import F64

SECOND = 1_000_000_000
NO_SITE = "site"
"""The site of a device whose pattern in the fleet names none."""


@dataclass(frozen=True)
class Signal:
    """One scalar of a device.

    Attributes:
        name: as on the wire; element i of a vector sensor `imu` is `imu.<i>`.
        unit: SI or field unit as text, e.g. "m/s^2"; "1" for a plain number.
        rate_hz: expected samples per second; 0 where it comes when it comes.
        low, high: what can physically be read; outside is a dead letter (-inf, inf where not given).
        normal_low, normal_high: what a well machine shows; outside is Quality.SUSPECT.
        sentinels: values that mean "no reading".
        stuck_after_ns: the same value for longer is Quality.STUCK; 0 = never.
        component: path of the component it belongs to, "" for the twin itself.
    """

    name: str
    unit: str = "1"
    rate_hz: float = 0.0
    low: float = float("-inf")
    high: float = float("inf")
    normal_low: float = float("-inf")
    normal_high: float = float("inf")
    sentinels: tuple[float, ...] = ()
    stuck_after_ns: int = 0
    component: str = ""


@dataclass(frozen=True)
class Vector:
    """A sensor whose `v` is a list: it becomes the signals name.0 ... name.(length-1). `unit_norm`: a quaternion."""

    name: str
    length: int
    unit_norm: bool = False


@dataclass(frozen=True)
class Component:
    """A part of the twin; `path` is `machine/spindle`, so its parent is `machine`. `kind`: free text such as motor."""

    path: str
    title: str = ""
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Calibration:
    """`M (raw - bias)` (n x n) or `(M [raw - bias; 1])[:n]` ((n+1) x (n+1)) over n signals of one instant."""

    signals: tuple[str, ...]
    matrix: F64
    bias: F64

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        return (
            self.signals == other.signals
            and np.array_equal(self.matrix, other.matrix)
            and np.array_equal(self.bias, other.bias)
        )


@dataclass(frozen=True)
class WindowSpec:
    """Tumbling where hop == length, else hopping. Times in ns."""

    length_ns: int = SECOND
    hop_ns: int = SECOND
    wait_ns: int = 2 * SECOND
    allowed_lateness_ns: int = 0


@dataclass(frozen=True)
class NamedWindow:
    """A window beside the one every type has, over some signals, with further statistics where they are asked for.

    Attributes:
        kind: "time": tumbling or hopping; "session": ended by a pause; "count": so many samples.
        times: of the window; `length_ns` is the pause of a session. `wait_ns` is that of the type.
        count: samples of a count window.
        quantiles: each in [0, 1]. crest: greatest size over RMS. bands: [low, high) in Hz, "time" only.
    """

    id: str
    kind: Literal["time", "session", "count"]
    signals: tuple[str, ...]
    times: WindowSpec = WindowSpec()
    count: int = 0
    quantiles: tuple[float, ...] = ()
    crest: bool = False
    bands: tuple[tuple[float, float], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what it tells beside the usual statistics.

        >>> NamedWindow("w", "time", ("a",), quantiles=(0.5, 0.999), bands=((0.5, 10.0),)).columns
        ('p50', 'p99.9', 'quantile_error', 'band_0.5_10')
        """
        names = [f"p{100.0 * q:.10g}" for q in self.quantiles]
        names += ["quantile_error"] * bool(names) + ["crest"] * self.crest
        return (*names, *(f"band_{low:g}_{high:g}" for low, high in self.bands))


def waves(low_hz: float, high_hz: float, length_ns: int) -> range:
    """The frequencies k / length in [low, high), as k >= 1.

    >>> waves(10.0, 12.0, 2 * SECOND)
    range(20, 24)
    """
    secs = length_ns / SECOND
    return range(max(1, math.ceil(low_hz * secs - 1e-9)), math.ceil(high_hz * secs - 1e-9))


@dataclass(frozen=True)
class AlignSpec:
    """Aligned rows: on a grid of `every_ns`, at the samples of `leader` where it is no -1, or by groups. Times in ns.

    Attributes:
        every_ns: step of the grid; 1 with a leader or groups.
        linear: signal i is interpolated, else its previous sample holds.
        leader: index of a signal.
        group_ns: length of a group, 0 for none; `required` are its members.
        turns: first signal of each orientation that is interpolated by slerp; its four are linear as well.
    """

    every_ns: int
    linear: tuple[bool, ...]
    max_gap_ns: tuple[int, ...]
    required: tuple[bool, ...]
    max_skew_ns: int | None = None
    leader: int = -1
    group_ns: int = 0
    turns: tuple[int, ...] = ()


@dataclass(frozen=True)
class DetectorSpec:
    """A detector of the type: `on` samples (per signal) or rows (over `signals` together); `settings` are its own.

    `order`: samples are judged as they arrive, at once, or in event order after the wait. An alarm of it returns when
    `clear_after_ns` of event time have passed without an anomaly.
    """

    id: str
    method: str
    on: Literal["samples", "rows"]
    signals: tuple[str, ...]
    threshold: float = 3.0
    settings: dict[str, Any] = field(default_factory=dict)
    order: Literal["arrival", "event"] = "arrival"
    clear_after_ns: int = 30 * SECOND


@dataclass(frozen=True)
class RuleSpec:
    """Above or below a limit (returns past limit -+ hysteresis, must hold for debounce_ns), or absent for after_ns."""

    id: str
    signal: str
    kind: Literal["above", "below", "absent"]
    limit: float = 0.0
    hysteresis: float = 0.0
    debounce_ns: int = 0
    after_ns: int = 0
    severity: Literal["warn", "alarm"] = "warn"
    message: str = ""
    command: str = ""


@dataclass(frozen=True)
class PatternSpec:
    """A rule over two limits: `second` within `within_ns` after `first`, or just not; only their limits count."""

    id: str
    kind: Literal["followed_by", "not_followed_by"]
    first: RuleSpec
    second: RuleSpec
    within_ns: int
    severity: Literal["warn", "alarm"] = "warn"
    message: str = ""
    command: str = ""


@dataclass(frozen=True)
class CommandSpec:
    """A verb the device understands; `arguments` is a JSON Schema of its arguments object."""

    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)
    timeout_ns: int = 10 * SECOND
    grave: bool = False


@dataclass(frozen=True)
class TwinType:
    """Everything that is fixed for all twins of a kind. Signals are in file order; that order numbers the series.

    `components` are the paths of `tree`. `device_calibrations[device]` is the whole list for that device: its own and
    those of the type that share no signal with them.

    >>> TwinType(name="probe", version=1, signals=(Signal("a"), Signal("b"))).index
    {'a': 0, 'b': 1}
    """

    name: str
    version: int
    signals: tuple[Signal, ...]
    vectors: tuple[Vector, ...] = ()
    components: tuple[str, ...] = ()
    clock: Literal["device", "trusted"] = "trusted"
    idle_timeout_ns: int = 10 * SECOND
    lookback_ns: int = SECOND
    velocity: tuple[str, ...] = ()
    window: WindowSpec = WindowSpec()
    windows: tuple[NamedWindow, ...] = ()
    align: AlignSpec | None = None
    calibrations: tuple[Calibration, ...] = ()
    device_calibrations: dict[str, tuple[Calibration, ...]] = field(default_factory=dict)
    detectors: tuple[DetectorSpec, ...] = ()
    rules: tuple[RuleSpec, ...] = ()
    patterns: tuple[PatternSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)
    source: str = field(default="<memory>", compare=False)
    tree: tuple[Component, ...] = ()

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each signal by name."""
        return {s.name: i for i, s in enumerate(self.signals)}


@dataclass(frozen=True)
class Fleet:
    """Which twin type a device has: the first pattern that fits its id decides, and no pattern means no type.

    Patterns are shell globs (`*`, `?`, `[abc]`), upper and lower case apart. `sites` names the site of a pattern where
    the list says one.

    >>> pump = TwinType(name="pump", version=1, signals=(Signal("pressure"),))
    >>> fleet = Fleet(patterns=(("pump-*", "pump"),), types={"pump": pump})
    >>> fleet.type_of("pump-07").name, fleet.type_of("toaster")
    ('pump', None)
    """

    patterns: tuple[tuple[str, str], ...]
    types: Mapping[str, TwinType]
    sites: Mapping[str, str] = field(default_factory=dict)

    def type_of(self, device: str) -> TwinType | None:
        """The type of a device; None for one that no pattern names (dead letter `unknown_type`)."""
        for pattern, name in self.patterns:
            if fnmatchcase(device, pattern):
                return self.types[name]
        return None

    def site_of(self, device: str) -> str:
        """Where a device stands by the pattern that decides its type; NO_SITE where nothing is said.

        >>> Fleet((("pump-*", "pump"),), {}, {"pump-*": "Plant North"}).site_of("pump-07")
        'Plant North'
        """
        for pattern, _name in self.patterns:
            if fnmatchcase(device, pattern):
                return self.sites.get(pattern, NO_SITE)
        return NO_SITE
