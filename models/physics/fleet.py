"""A fleet of simulated devices with its faults: step by step, what each device would send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.faults import CLOCK, PLANT, SENSOR, Fault, FaultError, SensorFault, clock_error_ns, nearest, parse
from models.physics.machine import Machines
from models.physics.plant import Arguments, CommandResult, Plant
from models.physics.pump import Pumps
from models.physics.vehicle import Vehicles
from operators.types import F64, I64, Mask

SCENARIOS: dict[str, tuple[str, ...]] = {"default": ("wear:20@machine-2@15",), "healthy": ()}
"""Faults by scenario. Default: the cutting edge of machine-2 breaks after 15 s."""
STEPS_PER_SEC = 10.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One message of a device: `seq` counts from 0; `trusted`: its clock needs no correction."""

    device: str
    ts_ns: int
    signals: dict[str, float]
    seq: int
    trusted: bool


@dataclass(slots=True)
class _Active:
    """A fault on one device. `columns`: signals of the plant; empty where the device as a whole is hit."""

    fault: Fault
    plant: int
    i: int
    start_s: float
    columns: list[int] = field(default_factory=list)
    sensor: SensorFault | None = None
    done: bool = False

    def elapsed_s(self, t: float) -> float | None:
        """Seconds since it began; None before that and after its end."""
        since = t - self.start_s
        return since if 0.0 <= since < self.fault.for_s else None


class SimulatedFleet:
    """Vehicles, machines and pumps that step together; pure: equal arguments give equal readings.

    Args:
        vehicles, machines, pumps: how many of each, named vehicle-01, machine-1, pump-1 and so on.
        seed: of all randomness.
        start_ns: event time of the first readings, ns UTC.
        faults: see models/faults.py; those on devices that do not exist are refused.
        rate_scale: samples per second of every signal, times this (0.1 to 100).

    Raises:
        FaultError: a fault names no device, signal or plant that is here.
        ValueError: a number is out of its range.

    >>> fleet = SimulatedFleet(vehicles=1, machines=0, pumps=0, start_ns=10**18)
    >>> first, second = fleet.step() + fleet.step()
    >>> first.device, len(first.signals), sorted(second.signals), second.ts_ns - first.ts_ns
    ('vehicle-1', 8, ['rpm', 'speed'], 100000000)
    """

    def __init__(
        self,
        *,
        vehicles: int = 20,
        machines: int = 3,
        pumps: int = 1,
        seed: int = 1,
        start_ns: int,
        faults: Sequence[Fault] = (),
        rate_scale: float = 1.0,
    ) -> None:
        if min(vehicles, machines, pumps, seed) < 0 or not 0.1 <= rate_scale <= 100.0:
            raise ValueError("numbers of devices and the seed are at least 0; rate_scale is from 0.1 to 100")
        self.start_ns, self.seed = start_ns, seed
        self.dt_ns = round(1e9 / STEPS_PER_SEC / rate_scale)
        self._plants: list[Plant] = [
            Vehicles(_names("vehicle", vehicles), np.random.default_rng([seed, 1])),
            Machines(_names("machine", machines), np.random.default_rng([seed, 2])),
            Pumps(_names("pump", pumps), np.random.default_rng([seed, 3])),
        ]
        self._plant_of = {d: p for p, plant in enumerate(self._plants) for d in plant.devices}
        self._every = [_every(plant) for plant in self._plants]
        self._seq = [[0] * len(plant.devices) for plant in self._plants]
        self._step = 0
        self._faults = [active for n, fault in enumerate(faults) for active in self._resolved(n, fault)]
        clocks = {(a.plant, a.i) for a in self._faults if a.fault.kind in CLOCK}
        self._trusted = [
            [(p, i) not in clocks for i in range(len(plant.devices))] for p, plant in enumerate(self._plants)
        ]
        self.events: list[str] = []

    @property
    def devices(self) -> list[str]:
        """Names, vehicles first."""
        return list(self._plant_of)

    @property
    def next_ns(self) -> int:
        """Event time of the readings that the next step gives, by a right clock."""
        return self.start_ns + self._step * self.dt_ns

    def skip(self, until_ns: int) -> int:
        """Let steps pass in which nobody sends, up to the first at or after `until_ns`; how many these were."""
        missed = max(0, -((self.next_ns - until_ns) // self.dt_ns))
        self._step += missed
        return missed

    def step(self) -> list[Reading]:
        """Readings of this instant; then the plants move on by one step. `events` tells which faults began."""
        t, dt = self._step * self.dt_ns / 1e9, self.dt_ns / 1e9
        self.events = self._begin(t)
        made: list[Reading] = []
        for p, plant in enumerate(self._plants):
            if not plant.devices:
                continue
            values = plant.read()
            lost, ahead_ns = self._distort(p, values, t, dt)
            made += self._readings(p, values, lost, ahead_ns)
            plant.step(dt)
        self._step += 1
        return made

    def command(self, device: str, verb: str, arguments: Arguments | None = None) -> CommandResult:
        """Have a device act on a command, between two steps.

        Raises:
            KeyError: no such device.
        """
        return self._plants[self._plant_of[device]].command(device, verb, arguments)

    def _readings(self, p: int, values: F64, lost: Mask, ahead_ns: I64) -> list[Reading]:
        plant, every = self._plants[p], self._every[p]
        scale = 10.0 ** np.array([c.decimals for c in plant.channels])
        low, high = ([getattr(c, side) for c in plant.channels] for side in ("low", "high"))
        shown = np.clip(np.rint(values * scale) / scale + 0.0, low, high)
        number = np.arange(len(plant.devices))[:, None]
        due = (every == 0) | (self._step == 0) | ((self._step + number) % np.maximum(every, 1) == 0)
        due &= ~np.isnan(shown)
        made: list[Reading] = []
        for i, (row, wanted) in enumerate(zip(shown.tolist(), due.tolist(), strict=True)):
            signals = {c.name: v for c, v, w in zip(plant.channels, row, wanted, strict=True) if w}
            if not signals:
                continue
            seq = self._seq[p][i]
            self._seq[p][i] = seq + 1
            if not lost[i]:
                ts_ns = self.next_ns + int(ahead_ns[i])
                made.append(Reading(plant.devices[i], ts_ns, signals, seq, self._trusted[p][i]))
        return made

    def _begin(self, t: float) -> list[str]:
        """Faults that start now; those of a plant act once."""
        events: list[str] = []
        for a in self._faults:
            if a.done or t < a.start_s:
                continue
            a.done = True
            plant = self._plants[a.plant]
            events.append(f"{plant.devices[a.i]}: fault {a.fault.text} begins")
            if a.fault.kind in PLANT:
                default = plant.disturbances[a.fault.kind]
                amount = default if a.fault.amount is None else a.fault.amount
                plant.disturb(plant.devices[a.i], a.fault.kind, amount)
        return events

    def _distort(self, p: int, values: F64, t: float, dt: float) -> tuple[Mask, I64]:
        """Put sensor faults into the values; also whose message is lost, and how far whose clock is ahead."""
        lost, ahead_ns = np.zeros(len(values), np.bool_), np.zeros(len(values), np.int64)
        for a in self._faults:
            since = a.elapsed_s(t) if a.plant == p else None
            if since is None:
                continue
            if a.fault.kind in CLOCK:
                ahead_ns[a.i] += clock_error_ns(a.fault.kind, a.fault.amount, since)
            elif a.sensor is not None and a.columns:
                values[a.i, a.columns] = a.sensor.apply(values[a.i, a.columns], since, dt)
            elif a.sensor is not None:
                lost[a.i] |= bool(np.isnan(a.sensor.apply(np.zeros(1), since, dt)[0]))
        return lost, ahead_ns

    def _resolved(self, n: int, fault: Fault) -> list[_Active]:
        meant = [d for d in self._plant_of if fault.fits(d)]
        if not meant:
            raise FaultError(
                text=fault.text, why=f"no device {fault.device!r}", fix=nearest(fault.device, self.devices)
            )
        return [self._active(fault, d, np.random.default_rng([self.seed, 4, n, k])) for k, d in enumerate(meant)]

    def _active(self, fault: Fault, device: str, rng: np.random.Generator) -> _Active:
        p = self._plant_of[device]
        plant = self._plants[p]
        active = _Active(fault, p, plant.devices.index(device), fault.start_s(self.start_ns))
        if fault.kind in PLANT and fault.kind not in plant.disturbances:
            known = (*SENSOR, *CLOCK, *plant.disturbances)
            raise FaultError(
                text=fault.text, why=f"a {plant.kind} has no {fault.kind!r}", fix=nearest(fault.kind, known)
            )
        if fault.kind in SENSOR:
            active.columns = _columns(fault, plant)
            spread = np.array([plant.channels[j].spread for j in active.columns] or [1.0])
            active.sensor = SensorFault(fault.kind, fault.amount, spread, rng)
        return active


def scenario(name: str, devices: Sequence[str]) -> list[Fault]:
    """The faults of a scenario whose devices are there.

    Raises:
        FaultError: there is no such scenario.

    >>> [f.text for f in scenario("default", ["machine-2"])], scenario("default", [])
    (['wear:20@machine-2@15'], [])
    """
    if name not in SCENARIOS:
        raise FaultError(text=name, why="no such scenario", fix=nearest(name, list(SCENARIOS)))
    return [f for f in map(parse, SCENARIOS[name]) if any(map(f.fits, devices))]


def names(vehicles: int, machines: int, pumps: int) -> list[str]:
    """The devices of a fleet of that size.

    >>> names(1, 2, 0)
    ['vehicle-1', 'machine-1', 'machine-2']
    """
    return _names("vehicle", vehicles) + _names("machine", machines) + _names("pump", pumps)


def _names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{i:0{len(str(count))}d}" for i in range(1, count + 1)]


def _every(plant: Plant) -> I64:
    """Steps between two samples of each channel; 0 where it is sent when it has something new."""
    return np.array([round(STEPS_PER_SEC / c.rate_hz) if c.rate_hz else 0 for c in plant.channels], np.int64)


def _columns(fault: Fault, plant: Plant) -> list[int]:
    """Signals that a sensor fault hits; none for a dropout of the whole device."""
    known = [c.name for c in plant.channels]
    if fault.signal is None:
        return [] if fault.kind == "dropout" else [0]
    if fault.signal == "*":
        return list(range(len(known)))
    if fault.signal not in known:
        raise FaultError(
            text=fault.text, why=f"a {plant.kind} has no signal {fault.signal!r}", fix=nearest(fault.signal, known)
        )
    return [known.index(fault.signal)]
