"""Road vehicles on closed roads: driver, driveline, engine heat, 12 V system, fuel and position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from models.physics.plant import Arguments, Channel, Command, CommandResult, Plant, share_of, toward, wander
from models.physics.routes import BRAKE, closed_routes
from operators.types import F64

MASS, AIR_DRAG, ROLLING = 1350.0, 0.40, 0.011
"""kg; 0.5 rho c A in kg/m; share of the weight."""
PULL = 1.1
"""Comfortable acceleration, m/s^2."""
TANK_LITRES = 50.0
IDLE_RPM = 800.0
AMBIENT = 18.0


class Vehicles(Plant):
    """n vehicles; each drives its own closed road for ever.

    The driver heads for v* = the lower of what the road allows, times traffic (0.7 to 1.05), and sqrt(2 BRAKE d) before
    a red light d metres away; dv/dt = clip(2 (v* - v), -2.5, PULL). Then, with slope as dh/ds and v in m/s:

        F = m dv/dt + ROLLING m g + AIR_DRAG v^2 + m g dh/ds        P = max(F v, 0)                [W]
        rpm -> 800 + 24 km/h + 350 dv/dt, at least 750, lag 0.6 s   (stepless gear: revs up to pull)
        C dT/dt = 6 kW + 0.6 P - (thermostat (160 + 12 v) + fan) (1 - leak) (T - T_ambient),  C = 120 kJ/K
        battery -> 14.15 - 0.06 at idle - electric load, lag 2 s    [V]
        fuel: dV/dt = 0.8 l/h + P / (0.28 * 34.2 MJ/l); refuelled to 95 % below 10 %

    The thermostat opens from 86 to 94 degC, the fan runs from 97 degC on. `limit_power` lowers P's ceiling and speed,
    `immobilise` brings the vehicle to a stand until it is cleared (`clear_codes`).

    >>> cars = Vehicles(["vehicle-1"], np.random.default_rng(1))
    >>> cars.step(0.1)
    >>> 0.0 <= float(cars.speed[0]) < 25.0
    True
    """

    kind: ClassVar[str] = "vehicle"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("coolant", 1, -40, 215, 1, 1.5),
        Channel("speed", 10, 0, 255, 1, 8.0),
        Channel("rpm", 10, 0, 16384, 0, 250.0),
        Channel("battery", 1, 0, 65.535, 2, 0.1),
        Channel("gps.lat", 5, -90, 90, 7, 2e-4),
        Channel("gps.lon", 5, -180, 180, 7, 2e-4),
        Channel("gps.alt", 5, -500, 10000, 1, 3.0),
        Channel("fuel", 0.2, 0, 100, 1, 1.0),
    )
    disturbances: ClassVar[Mapping[str, float]] = {"leak": 0.9}

    def __init__(self, devices: Sequence[str], rng: np.random.Generator) -> None:
        super().__init__(devices)
        n, self._rng = len(self.devices), rng
        self.routes = closed_routes(n, rng)
        self.along = rng.uniform(0.0, 1.0, n) * self.routes.metres
        self.speed = 0.8 * self.routes.at(self.routes.limit_mps, self.along)
        self.rpm = IDLE_RPM + 24.0 * 3.6 * self.speed
        self.coolant = rng.uniform(88.5, 90.5, n)
        self.battery = np.full(n, 14.1)
        self.fuel = rng.uniform(35.0, 95.0, n)
        self.leak = np.zeros(n)
        self.power_share = np.ones(n)
        self.immobile = np.zeros(n, np.bool_)
        self._traffic, self._electric, self._gps = np.zeros(n), np.zeros(n), np.zeros((3, n))
        self._t = 0.0

    def step(self, dt: float) -> None:
        normal = self._rng.normal(size=(5, len(self.devices)))
        self._t += dt
        self._traffic = wander(self._traffic, dt, 5.0, 0.09, normal[0])
        self._electric = wander(self._electric, dt, 8.0, 0.06, normal[1])
        self._gps = wander(self._gps, dt, 30.0, 1.0, normal[2:])
        before = self.speed
        pull = np.clip(2.0 * (self._wanted() - before), -2.5, PULL * self.power_share)
        self.speed = np.maximum(before + dt * pull, 0.0)
        self.speed = np.where((self.speed < 0.15) & (self.speed <= before), 0.0, self.speed)
        moved = 0.5 * (before + self.speed) * dt
        climb = self._height(self.along + moved + 1.0) - self._height(self.along + moved - 1.0)
        self.along = (self.along + moved) % self.routes.metres
        force = MASS * (self.speed - before) / dt + MASS * 9.81 * (ROLLING + 0.5 * climb) + AIR_DRAG * self.speed**2
        self._engine(dt, np.maximum(force * self.speed, 0.0), (self.speed - before) / dt)

    def _wanted(self) -> F64:
        free = self.routes.at(self.routes.limit_mps, self.along)
        free = free * np.clip(0.9 + self._traffic, 0.7, 1.05) * (0.4 + 0.6 * self.power_share)
        distance = self.routes.red_in(self.along, self._t)
        stop = np.sqrt(2.0 * BRAKE * np.maximum(np.where(np.isfinite(distance), distance, 1e6) - 1.0, 0.0))
        can_stop = distance > 0.2 * self.speed**2  # at 2.5 m/s^2
        return np.where(self.immobile, 0.0, np.where(can_stop, np.minimum(free, stop), free))

    def _engine(self, dt: float, power: F64, gain: F64) -> None:
        revs = np.maximum(IDLE_RPM + 24.0 * 3.6 * self.speed + 350.0 * gain, IDLE_RPM - 50.0)
        self.rpm = toward(self.rpm, revs, dt, 0.6)
        open_share = np.clip((self.coolant - 86.0) / 8.0, 0.02, 1.0)
        carried = (open_share * (160.0 + 12.0 * self.speed) + 250.0 * (self.coolant > 97.0)) * (1.0 - self.leak)
        heat = 6000.0 + 0.6 * power - carried * (self.coolant - AMBIENT)
        self.coolant = np.minimum(self.coolant + dt * heat / 120_000.0, 130.0)
        idling = np.clip(1.0 - (self.rpm - IDLE_RPM) / 300.0, 0.0, 1.0)
        self.battery = toward(self.battery, 14.15 - 0.06 * idling - self._electric, dt, 2.0)
        litres = dt * (0.8 / 3600.0 + power / (0.28 * 34.2e6))
        self.fuel = self.fuel - 100.0 * litres / TANK_LITRES
        self.fuel = np.where(self.fuel < 10.0, 95.0, self.fuel)

    def _height(self, along: F64) -> F64:
        return self.routes.at(self.routes.alt, along)

    def read(self) -> F64:
        n = len(self.devices)
        noise = self._rng.normal(size=(n, 4)) * (0.4, 0.3, 12.0, 0.03)
        metre = np.degrees(1.0 / 6_371_000.0)
        moving = self.speed > 0.0
        shown = (
            self.coolant + noise[:, 0],
            np.maximum(3.6 * self.speed + np.where(moving, noise[:, 1], 0.0), 0.0),
            self.rpm + noise[:, 2],
            self.battery + noise[:, 3],
            self.routes.at(self.routes.lat, self.along) + metre * 1.2 * self._gps[0],
            self.routes.at(self.routes.lon, self.along) + metre * 1.8 * self._gps[1],
            self._height(self.along) + 2.0 * self._gps[2],
            self.fuel,
        )
        return np.column_stack(shown)

    def verbs(self) -> Mapping[str, Command]:
        return {"limit_power": self._limit_power, "clear_codes": self._clear_codes, "immobilise": self._immobilise}

    def _limit_power(self, i: int, arguments: Arguments) -> CommandResult:
        share = share_of(arguments, "share", 0.2, 1.0, 0.5)
        if isinstance(share, str):
            return CommandResult(False, share)
        self.power_share[i] = share
        return CommandResult(True, f"power is limited to {100.0 * share:g} %")

    def _clear_codes(self, i: int, _arguments: Arguments) -> CommandResult:
        self.power_share[i], self.immobile[i] = 1.0, False
        return CommandResult(True, "codes and limits are cleared")

    def _immobilise(self, i: int, _arguments: Arguments) -> CommandResult:
        self.immobile[i] = True

        def progress() -> bool | str:
            if not self.immobile[i]:
                return "it was cleared before the vehicle stood"
            return bool(self.speed[i] == 0.0)

        return CommandResult(True, "comes to a stand", progress)

    def _disturb(self, i: int, kind: str, amount: float) -> None:
        """`leak`: share of the cooling that is gone."""
        self.leak[i] = min(max(amount, 0.0), 1.0)
