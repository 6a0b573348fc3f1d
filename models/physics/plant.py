"""What every simulated plant has in common: channels, a time step, readings, commands and disturbances."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np

from models.faults import nearest
from operators.types import F64

Arguments: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Channel:
    """One signal of a plant.

    Attributes:
        name, rate_hz, low, high: as in the twin type; rate 0: read when it changes.
        decimals: digits after the point that the sensor resolves.
        spread: what the signal moves by in ordinary work, in its unit; the scale of sensor faults.
    """

    name: str
    rate_hz: float
    low: float
    high: float
    decimals: int
    spread: float


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a plant says to a command: taken or not, and why in words.

    Attributes:
        progress: None where it is done at once; else asked after later steps: False while it goes on, True when it is
            done, a text when it did not come about and why.
    """

    accepted: bool
    detail: str
    progress: Callable[[], bool | str] | None = None


Command: TypeAlias = Callable[[int, Arguments], CommandResult]


class Plant(ABC):
    """n devices of one kind that step together; every state is an array over the devices.

    Pure: no clock, no I/O; all randomness comes from the generator given, the same amount in every step, so equal
    seeds, steps and commands give equal readings.

    Attributes:
        kind: twin type of the devices.
        channels: the signals, columns of `read`; the first is the one that sensor faults hit unless told otherwise.
        disturbances: kinds of fault in the plant itself, and how large they are unless told otherwise.
    """

    kind: ClassVar[str]
    channels: ClassVar[tuple[Channel, ...]]
    disturbances: ClassVar[Mapping[str, float]] = {}

    def __init__(self, devices: Sequence[str]) -> None:
        self.devices = tuple(devices)
        self._number = {name: i for i, name in enumerate(self.devices)}

    @abstractmethod
    def step(self, dt: float) -> None:
        """Let `dt` seconds pass; any dt from 1 ms to 1 s is stable."""

    @abstractmethod
    def read(self) -> F64:
        """Readings now, float64[devices, channels]; NaN where a channel of rate 0 has nothing new."""

    @abstractmethod
    def verbs(self) -> Mapping[str, Command]:
        """What the devices can be told to do."""

    @abstractmethod
    def _disturb(self, i: int, kind: str, amount: float) -> None: ...

    def command(self, device: str, verb: str, arguments: Arguments | None = None) -> CommandResult:
        """Act on a command; the effect shows in later readings.

        Raises:
            KeyError: no such device here.
        """
        verbs, i = self.verbs(), self._number[device]
        if verb not in verbs:
            return CommandResult(False, f"{self.kind} knows no {verb!r}; {nearest(verb, sorted(verbs))}")
        return verbs[verb](i, arguments or {})

    def disturb(self, device: str, kind: str, amount: float) -> None:
        """Break something inside: `kind` is one of `disturbances`.

        Raises:
            KeyError: no such device or kind here.
        """
        if kind not in self.disturbances:
            raise KeyError(kind)
        self._disturb(self._number[device], kind, amount)


def toward(x: F64, target: F64 | float, dt: float, tau: F64 | float) -> F64:
    """First-order lag dx/dt = (target - x) / tau, solved exactly over dt (target held).

    >>> toward(np.array([0.0]), 1.0, 2.0, 2.0).round(3)
    array([0.632])
    """
    return np.asarray(x + (target - x) * -np.expm1(-dt / np.asarray(tau)), np.float64)


def wander(x: F64, dt: float, tau: float, sd: float, noise: F64) -> F64:
    """Ornstein-Uhlenbeck process around 0, exact over dt: correlation time tau, standard deviation sd; noise ~ N(0, 1).

    >>> wander(np.array([1.0]), 1e9, 1.0, 2.0, np.array([0.5]))
    array([1.])
    """
    keep = math.exp(-dt / tau)
    return np.asarray(x * keep + sd * math.sqrt(1.0 - keep * keep) * noise, np.float64)


def share_of(arguments: Arguments, name: str, low: float, high: float, default: float) -> float | str:
    """A number among the arguments, or what is wrong with it.

    >>> share_of({"share": 0.5}, "share", 0.1, 1.0, 0.6), share_of({}, "share", 0.1, 1.0, 0.6)
    (0.5, 0.6)
    >>> share_of({"share": 7}, "share", 0.1, 1.0, 0.6)
    'share is 7; it must be a number from 0.1 to 1'
    """
    value = arguments.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    return f"{name} is {value!r}; it must be a number from {low:g} to {high:g}"
