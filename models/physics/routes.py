"""Closed roads for simulated vehicles: smooth loops around a town, with heights, speed limits and traffic lights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from operators.types import F64

POINTS = 512
LIGHTS = 5
RED_SECS, PERIOD_SECS = 11.0, 70.0
EARTH_METRES = 6_371_000.0
TOWN = (48.137, 11.575)
LIMITS_MPS = np.array([45.0, 50.0, 50.0, 60.0]) / 3.6
JUNCTION_METRES, JUNCTION_MPS = 260.0, 5.0
"""A turn at so many metres, taken at so many m/s."""
BRAKE = 1.4
"""Comfortable deceleration, m/s^2."""
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Routes:
    """n closed roads, each as POINTS places at equal distances along it, starting anywhere.

    Attributes:
        metres: float64[n], length.
        lat, lon, alt: float64[n, POINTS], degrees, degrees, metres.
        limit_mps: float64[n, POINTS], the lowest of the posted limit, what the bend allows at 2 m/s^2 sideways, the
            speed of turns, and what lets a vehicle brake in time for what comes.
        light_at: float64[n, LIGHTS], metres along the road. light_phase: float64[n, LIGHTS], s.
    """

    metres: F64
    lat: F64
    lon: F64
    alt: F64
    limit_mps: F64
    light_at: F64
    light_phase: F64

    def at(self, table: F64, along: F64) -> F64:
        """A column of places, float64[n, POINTS], between its neighbours linearly at `along` metres."""
        exact = along / self.metres % 1.0 * POINTS
        low = exact.astype(np.intp) % POINTS
        rows: Indices = np.arange(len(self.metres))
        share = exact - np.floor(exact)
        return np.asarray(table[rows, low] * (1.0 - share) + table[rows, (low + 1) % POINTS] * share)

    def red_in(self, along: F64, t: float) -> F64:
        """float64[n], metres to the next traffic light, inf where it is green."""
        ahead = (self.light_at - along[:, None]) % self.metres[:, None]
        nearest = ahead.argmin(axis=1)
        rows: Indices = np.arange(len(along))
        red = (t + self.light_phase[rows, nearest]) % PERIOD_SECS < RED_SECS
        return np.asarray(np.where(red, ahead[rows, nearest], np.inf))


def closed_routes(n: int, rng: np.random.Generator) -> Routes:
    """n loops r(phi) = R (1 + a cos(2 phi + A) + b cos(3 phi + B) + c cos(5 phi + C)) of 5 to 15 km around a town.

    >>> routes = closed_routes(3, np.random.default_rng(1))
    >>> bool((routes.metres > 4000).all()), bool((routes.limit_mps > 4).all())
    (True, True)
    """
    phi = np.linspace(0.0, 2.0 * np.pi, 4097)[None, :]
    size, turn = rng.uniform(800.0, 2200.0, (n, 1)), rng.uniform(0.0, 2.0 * np.pi, (5, n, 1))
    wave = 0.2 * np.cos(2 * phi + turn[0]) + 0.12 * np.cos(3 * phi + turn[1]) + 0.03 * np.cos(5 * phi + turn[2])
    east, north = size * (1.0 + wave) * np.cos(phi), size * (1.0 + wave) * np.sin(phi)
    along = np.concatenate([np.zeros((n, 1)), np.hypot(np.diff(east), np.diff(north)).cumsum(axis=1)], axis=1)
    metres = along[:, -1]
    even = np.arange(POINTS) / POINTS
    x = np.array([np.interp(even * m, a, e) for m, a, e in zip(metres, along, east, strict=True)]).reshape(n, POINTS)
    y = np.array([np.interp(even * m, a, e) for m, a, e in zip(metres, along, north, strict=True)]).reshape(n, POINTS)
    offset = rng.uniform(-4000.0, 4000.0, (2, n, 1))
    lat = TOWN[0] + np.degrees((y + offset[0]) / EARTH_METRES)
    lon = TOWN[1] + np.degrees((x + offset[1]) / (EARTH_METRES * np.cos(np.radians(TOWN[0]))))
    whole = 2.0 * np.pi * even[None, :]
    alt = 520.0 + 14.0 * np.sin(whole + turn[3]) + 4.0 * np.sin(3 * whole + turn[4])
    posted = np.repeat(rng.choice(LIMITS_MPS, (n, 8)), POINTS // 8, axis=1)
    turns = np.floor(even * np.round(metres / JUNCTION_METRES)[:, None])
    posted = np.where(turns != np.roll(turns, 1, axis=1), JUNCTION_MPS, posted)
    spread = (np.arange(LIGHTS) + rng.uniform(0.2, 0.8, (n, LIGHTS))) / LIGHTS
    return Routes(
        metres=metres,
        lat=lat,
        lon=lon,
        alt=alt,
        limit_mps=_in_time(np.minimum(posted, np.sqrt(2.0 / np.maximum(_curvature(x, y, metres), 1e-4))), metres),
        light_at=spread * metres[:, None],
        light_phase=rng.uniform(0.0, PERIOD_SECS, (n, LIGHTS)),
    )


def _curvature(x: F64, y: F64, metres: F64) -> F64:
    """1 / radius at every place, float64[n, POINTS]: |x' y'' - y' x''| with places at equal distances."""
    step = (metres / POINTS)[:, None]
    dx, dy = (0.5 * (np.roll(v, -1, 1) - np.roll(v, 1, 1)) / step for v in (x, y))
    ddx, ddy = ((np.roll(v, -1, 1) - 2.0 * v + np.roll(v, 1, 1)) / step**2 for v in (x, y))
    return np.asarray(np.abs(dx * ddy - dy * ddx))


def _in_time(limit: F64, metres: F64) -> F64:
    """Limits from which BRAKE suffices for the next one: v_i = min(v_i, sqrt(v_(i+1)^2 + 2 BRAKE ds)), all around."""
    out, step = limit.copy(), metres / POINTS
    for i in range(2 * POINTS - 2, -1, -1):
        here, following = i % POINTS, (i + 1) % POINTS
        out[:, here] = np.minimum(out[:, here], np.sqrt(out[:, following] ** 2 + 2.0 * BRAKE * step))
    return out
