"""Centrifugal pumps in a closed water loop: pump curve against pipework, motor power, heat and vibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from models.physics.plant import Arguments, Channel, Command, CommandResult, Plant, share_of, toward, wander
from operators.types import F64

RATED_RPM = 2900.0
AMBIENT = 22.0


class Pumps(Plant):
    """n pumps.

    States per pump: speed s = n / 2900 rpm (lag 1.5 s), valve wander, clog c, motor and water temperature. Where the
    pump curve meets the pipework, with Q in l/min and heads as pressure in bar (affinity laws: H ~ s^2, Q ~ s):

        1.6 s^2 - 3.0e-5 Q^2 = k (1 + c) Q^2,  k = 1.3e-4 (1 + valve)    ->    Q = s sqrt(1.6 / (3.0e-5 + k (1 + c)))
        p = k (1 + c) Q^2 - 0.2                                     [bar], the gauge sits below the suction level
        P = 90 s^3 + 0.55 p Q                                       [W]    I = 0.3 + P / (230 0.8)    [A]
        motor -> 22 + 0.16 P, lag 600 s       water -> 23 + 0.02 P, lag 1800 s
        accelerometers: (0.21, 0.27) s^2 (1 + 0.6 c)                [g RMS]

    >>> loop = Pumps(["pump-1"], np.random.default_rng(1))
    >>> loop.step(1.0)
    >>> 95 < float(loop.flow[0]) < 105
    True
    """

    kind: ClassVar[str] = "pump"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("pressure", 1, -5, 40, 3, 0.1),
        Channel("accelerometer_1_rms", 1, 0, 50, 4, 0.02),
        Channel("accelerometer_2_rms", 1, 0, 50, 4, 0.02),
        Channel("current", 1, 0, 100, 3, 0.1),
        Channel("temperature", 1, -40, 200, 2, 1.0),
        Channel("thermocouple", 1, -40, 200, 2, 0.5),
        Channel("voltage", 1, 0, 500, 1, 2.0),
        Channel("volume_flow", 1, -10, 1000, 2, 4.0),
        Channel("speed_rpm", 1, 0, 6000, 0, 20.0),
    )
    disturbances: ClassVar[Mapping[str, float]] = {"clog": 80.0}

    def __init__(self, devices: Sequence[str], rng: np.random.Generator) -> None:
        super().__init__(devices)
        n, self._rng = len(self.devices), rng
        self.speed, self.wanted = np.ones(n), np.ones(n)
        self.clog = np.zeros(n)
        self._valve = np.zeros(n)
        self._mains = np.zeros(n)
        self._flow_of_state()
        self.motor, self.water = AMBIENT + 0.16 * self.power, AMBIENT + 1.0 + 0.02 * self.power

    def step(self, dt: float) -> None:
        normal = self._rng.normal(size=(2, len(self.devices)))
        self.speed = toward(self.speed, self.wanted, dt, 1.5)
        self._valve = wander(self._valve, dt, 15.0, 0.04, normal[0])
        self._mains = wander(self._mains, dt, 20.0, 1.0, normal[1])
        self._flow_of_state()
        self.motor = toward(self.motor, AMBIENT + 0.16 * self.power, dt, 600.0)
        self.water = toward(self.water, AMBIENT + 1.0 + 0.02 * self.power, dt, 1800.0)

    def _flow_of_state(self) -> None:
        k = 1.3e-4 * (1.0 + np.maximum(self._valve, -0.5)) * (1.0 + self.clog)
        self.flow = self.speed * np.sqrt(1.6 / (3.0e-5 + k))
        self.pressure = k * self.flow**2 - 0.2
        self.power = 90.0 * self.speed**3 + 0.55 * np.maximum(self.pressure, 0.0) * self.flow

    def read(self) -> F64:
        n = len(self.devices)
        noise = self._rng.normal(size=(n, 9))
        noise *= (0.01, 0.005, 0.006, 0.015, 0.15, 0.08, 0.4, 0.5, 3.0)
        shaken = self.speed**2 * (1.0 + 0.6 * np.minimum(self.clog, 2.0))
        true = (
            self.pressure,
            0.21 * shaken,
            0.27 * shaken,
            np.where(self.speed > 0.01, 0.3, 0.0) + self.power / (230.0 * 0.8),
            self.motor,
            self.water,
            230.0 + self._mains,
            self.flow,
            RATED_RPM * self.speed,
        )
        shown = np.column_stack(true) + noise
        shown[:, [1, 2, 3, 8]] = np.maximum(shown[:, [1, 2, 3, 8]], 0.0)
        return np.asarray(shown, np.float64)

    def verbs(self) -> Mapping[str, Command]:
        return {"start": self._start, "stop": self._stop, "set_speed": self._set_speed, "reset": self._reset}

    def _start(self, i: int, _arguments: Arguments) -> CommandResult:
        return self._head_for(i, 1.0, f"runs up to {RATED_RPM:g} rpm")

    def _stop(self, i: int, _arguments: Arguments) -> CommandResult:
        return self._head_for(i, 0.0, "runs down")

    def _set_speed(self, i: int, arguments: Arguments) -> CommandResult:
        rpm = share_of(arguments, "speed_rpm", 0.0, 3200.0, float("nan"))
        if isinstance(rpm, str):
            return CommandResult(False, rpm)
        return self._head_for(i, rpm / RATED_RPM, f"goes to {rpm:g} rpm")

    def _reset(self, i: int, _arguments: Arguments) -> CommandResult:
        """Flushes the loop and starts anew."""
        self.clog[i], self.speed[i] = 0.0, 0.0
        return self._head_for(i, 1.0, "flushed, starts anew")

    def _head_for(self, i: int, wanted: float, detail: str) -> CommandResult:
        """Another speed; done within 1 % of the rated one, given up when a later command wants another."""
        self.wanted[i] = wanted

        def progress() -> bool | str:
            if self.wanted[i] != wanted:
                return f"a later command asked for {RATED_RPM * self.wanted[i]:.0f} rpm"
            return bool(abs(self.speed[i] - wanted) < 0.01)

        return CommandResult(True, detail, progress)

    def _disturb(self, i: int, kind: str, amount: float) -> None:
        """`clog`: the pipework resists (1 + amount) times as much; 80 leaves some 12 l/min."""
        self.clog[i] = max(amount, 0.0)
