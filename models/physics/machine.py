"""Machine tools of a production line: a cutting cycle, tool wear, load, vibration, heat and part counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from models.physics.plant import Arguments, Channel, Command, CommandResult, Plant, share_of, toward, wander
from operators.types import F64

CUT_SECS = 9.0
"""Cutting time of one part at full feed."""
HANDLING_SECS = 2.0
TOOL_CHANGE_SECS = 8.0
WEAR_PER_SEC = 0.03
"""Percent of tool life that one second of cutting at full feed costs."""
AMBIENT = 22.0


class Machines(Plant):
    """n machine tools.

    States per machine: progress p of the part [0, 1], wear w [%], broken edge b (0 or 1), feed f [share], load L [%],
    vibration v [mm/s RMS], bearing temperature T [degC], counters. While cutting (else c = 0):

        dp/dt = f / T_cut                        dw/dt = 0.03 f^1.5    (Taylor: life falls faster than feed rises)
        c    =  1 + 0.3 cos(2 pi p) + h, h wanders by 4 %      the contour and the hardness of the blank
        L    -> 9 + c 46 f (1 + 0.25 w/100 + 0.15 b)           lag 0.8 s
        v    -> 1.1 + 0.5 b + c f^0.8 (1.2 + 1.4 w/100 + 6 b)  lag 5 s, velocity RMS as ISO 20816 takes it
        T    -> 22 + 0.42 L + 9 w/100 + 8 b                    lag 180 s
        P     = 0.9 + 0.105 L                                  [kW]

    A part takes T_cut / f + 2 s. It is scrap with probability 0.5 %, more with wear beyond 85 % or a broken edge. At
    100 % wear the machine changes the tool by itself (8 s); `change_tool` does it at once.

    >>> line = Machines(["machine-1"], np.random.default_rng(1))
    >>> for _ in range(600):
    ...     line.step(0.1)
    >>> line.parts_good.tolist()
    [6.0]
    """

    kind: ClassVar[str] = "machine"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("vibration", 10, 0, 100, 3, 0.5),
        Channel("spindle_load", 10, 0, 200, 1, 10.0),
        Channel("temperature", 2, -40, 250, 2, 1.0),
        Channel("power", 10, 0, 200, 3, 1.0),
        Channel("cycle_time", 0, 0, 3600, 1, 1.0),
        Channel("parts_good", 0, 0, 1e9, 0, 1.0),
        Channel("parts_scrap", 0, 0, 1e9, 0, 1.0),
        Channel("wear", 1, 0, 100, 2, 5.0),
    )
    disturbances: ClassVar[Mapping[str, float]] = {"wear": 20.0}

    def __init__(self, devices: Sequence[str], rng: np.random.Generator) -> None:
        super().__init__(devices)
        n, self._rng = len(self.devices), rng
        self.wear = 12.0 + 16.0 * (np.arange(n) % 3) + rng.uniform(0.0, 4.0, n)
        self.broken = np.zeros(n)
        self.feed = np.ones(n)
        self.running = np.ones(n, np.bool_)
        self.parts_good, self.parts_scrap = np.zeros(n), np.zeros(n)
        self.cycle_time = np.full(n, np.nan)
        self._cut_secs = CUT_SECS * (1.0 + 0.04 * (np.arange(n) % 5))
        self._progress = rng.uniform(0.0, 0.9, n)
        self._handling = np.zeros(n)  # seconds left
        self._changing = np.zeros(n)
        self._since_part = self._progress * self._cut_secs
        self._hardness = np.zeros(n)
        load = 9.0 + 38.0 * (1.0 + 0.25 * self.wear / 100.0)
        self.load, self.vibration = load, 1.9 + 1.1 * self.wear / 100.0
        self.temperature = AMBIENT + 0.42 * load + 9.0 * self.wear / 100.0
        self._counted = np.ones(n, np.bool_)

    def step(self, dt: float) -> None:
        n = len(self.devices)
        normal, chance = self._rng.normal(size=n), self._rng.random(n)
        self._changing = np.maximum(self._changing - dt, 0.0)
        self._handling = np.maximum(self._handling - dt, 0.0)
        working = self.running & (self._changing <= 0.0)
        cutting = working & (self._handling <= 0.0)
        self._since_part += dt * working
        self._progress += np.where(cutting, dt * self.feed / self._cut_secs, 0.0)
        self.wear = np.minimum(self.wear + np.where(cutting, WEAR_PER_SEC * self.feed**1.5 * dt, 0.0), 100.0)
        self._hardness = wander(self._hardness, dt, 6.0, 0.04, normal)
        self._finish(self._progress >= 1.0, chance)
        self._follow(dt, cutting)
        for i in np.flatnonzero(self.running & (self.wear >= 100.0) & (self.broken <= 0.0)).tolist():
            self._new_tool(i)

    def _finish(self, done: np.ndarray[tuple[int], np.dtype[np.bool_]], chance: F64) -> None:
        scrap = chance < 0.005 + 0.02 * np.maximum(self.wear - 85.0, 0.0) / 15.0 + 0.3 * self.broken
        self.parts_good += done & ~scrap
        self.parts_scrap += done & scrap
        self.cycle_time = np.where(done, self._since_part, self.cycle_time)
        self._since_part = np.where(done, 0.0, self._since_part)
        self._progress = np.where(done, 0.0, self._progress)
        self._handling = np.where(done, HANDLING_SECS, self._handling)
        self._counted = self._counted | done

    def _follow(self, dt: float, cutting: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        w, b = self.wear / 100.0, self.broken
        turning = (self.running & (self._changing <= 0.0)).astype(np.float64)
        cut = cutting * (1.0 + self._hardness) * (1.0 + 0.3 * np.cos(2.0 * np.pi * self._progress))
        load = turning * 9.0 + cut * 46.0 * self.feed * (1.0 + 0.25 * w + 0.15 * b)
        shake = turning * (1.1 + 0.5 * b) + cut * self.feed**0.8 * (1.2 + 1.4 * w + 6.0 * b)
        self.load = toward(self.load, load, dt, 0.8)
        self.vibration = toward(self.vibration, shake, dt, 5.0)
        heat = AMBIENT + 0.42 * self.load + (9.0 * w + 8.0 * b) * turning
        self.temperature = toward(self.temperature, heat, dt, 180.0)

    def read(self) -> F64:
        n = len(self.devices)
        noise = self._rng.normal(size=(n, 4)) * (0.06, 0.8, 0.12, 0.08)
        counted = self._counted
        self._counted = np.zeros(n, np.bool_)
        shown = (
            np.maximum(self.vibration + noise[:, 0], 0.0),
            np.clip(self.load + noise[:, 1], 0.0, 200.0),
            self.temperature + noise[:, 2],
            np.maximum(0.9 + 0.105 * self.load + noise[:, 3], 0.0),
            np.where(counted, self.cycle_time, np.nan),
            np.where(counted, self.parts_good, np.nan),
            np.where(counted, self.parts_scrap, np.nan),
            self.wear,
        )
        return np.column_stack(shown)

    def verbs(self) -> Mapping[str, Command]:
        return {
            "start": self._start,
            "stop": self._stop,
            "change_tool": self._change_tool,
            "reduce_feed": self._reduce_feed,
            "reset_counters": self._reset_counters,
        }

    def _start(self, i: int, _arguments: Arguments) -> CommandResult:
        self.running[i], self.feed[i] = True, 1.0
        return CommandResult(True, "runs at full feed")

    def _stop(self, i: int, _arguments: Arguments) -> CommandResult:
        self.running[i] = False
        return CommandResult(True, "spindle stops")

    def _change_tool(self, i: int, _arguments: Arguments) -> CommandResult:
        self._new_tool(i)
        detail = f"new tool in {TOOL_CHANGE_SECS:g} s, then full feed"
        return CommandResult(True, detail, lambda: bool(self._changing[i] <= 0.0))

    def _reduce_feed(self, i: int, arguments: Arguments) -> CommandResult:
        share = share_of(arguments, "share", 0.1, 1.0, 0.5)
        if isinstance(share, str):
            return CommandResult(False, share)
        self.feed[i] = share
        return CommandResult(True, f"feed is {100.0 * share:g} %")

    def _reset_counters(self, i: int, _arguments: Arguments) -> CommandResult:
        self.parts_good[i] = self.parts_scrap[i] = 0.0
        self._counted[i] = True
        return CommandResult(True, "counters are 0")

    def _new_tool(self, i: int) -> None:
        self.wear[i] = self.broken[i] = 0.0
        self.feed[i], self._changing[i] = 1.0, TOOL_CHANGE_SECS

    def _disturb(self, i: int, kind: str, amount: float) -> None:
        """`wear`: the edge breaks, and so many percent of tool life are gone at once."""
        self.wear[i] = min(max(self.wear[i] + amount, 0.0), 100.0)
        self.broken[i] = 1.0
