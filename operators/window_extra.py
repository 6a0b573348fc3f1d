"""Statistics a window carries beside the usual ones, where a type asks for them: quantiles, crest, power in bands.

Quantiles come from a sketch with relative error: bin i holds the values in (g^(i-1), g^i], negative ones mirrored, zero
by itself. It starts with g - 1 = 2e-6 and, whenever more than BINS bins are in use, joins them two by two (g becomes
g^2), so the error follows the spread of the window and a single outlier costs one bin. What it holds depends on the
values alone, not on their order, and two sketches merge into that of all their values. Epicoco, Melle, Cafaro,
Pulimeno, UDDSketch, IEEE Access 8, 2020; the bins are those of DDSketch, Masson, Rim, Lee, VLDB 2019.

Power in a band is the sum of the one-sided periodogram 2 |X_k|^2 / n^2 over the frequencies k / length with
low <= k / length < high, its mean removed; over all k > 0 that sum is the variance. It is exact for samples spread
evenly over the window, below half their rate. Each X_k is summed as samples come, in any order (a Goertzel filter would
need them sorted and without gaps).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operators.compiled import part
from operators.definition import NamedWindow, waves
from operators.errors import StateError
from operators.types import F64, I32, I64, State

BINS = 256
FINEST = 1e-6
"""Relative error of a quantile while no bins were joined."""
_LOG_G = math.log((1.0 + FINEST) / (1.0 - FINEST))
_FAR = 1 << 29  # |i| stays below for every float64, so +-(_FAR + i) sorts as the values do
_TURN = 2.0 * math.pi
# columns of Extra.head and Extra.wave
USED, LEVEL = range(2)
X_COS, X_SIN, COS, SIN = range(4)


class Extra(NamedTuple):
    """What is asked for, and its state per slot i of the windows (see operators.window_kernels).

    place: int64[n], per signal of the type its place among those of this window, -1 where it is not one.
    quantile: float64[q]. crest: 0 or 1. length: ns. wave_k, wave_band: int64[waves], frequency k / length and its band.
    bins: int32[i, BINS] sorted, tally: int64[i, BINS], head: int64[i, 2], the sketch; no rows where q is 0.
    wave: float64[i, waves, 4], sums of x cos, x sin, cos, sin. out: float64[capacity, columns].
    """

    place: I64
    quantile: F64
    crest: int
    length: int
    wave_k: I64
    wave_band: I64
    bins: I32
    tally: I64
    head: I64
    wave: F64
    out: F64


@part
def _bin(x: float) -> int:
    """Key of a value before any bins are joined; keys sort as values do."""
    if x == 0.0:
        return 0
    i = _FAR + math.ceil(math.log(abs(x)) / _LOG_G)
    return i if x > 0.0 else -i


@part
def _coarser(key: int) -> int:
    """The bin two levels' neighbours are joined in."""
    if key == 0:
        return 0
    i = _FAR + ((abs(key) - _FAR + 1) >> 1)
    return i if key > 0 else -i


@part
def _join_bins(e: Extra, i: int) -> None:
    last = -1
    for b in range(e.head[i, USED]):
        key = _coarser(e.bins[i, b])
        if last >= 0 and e.bins[i, last] == key:
            e.tally[i, last] += e.tally[i, b]
        else:
            last += 1
            e.bins[i, last], e.tally[i, last] = key, e.tally[i, b]
    e.head[i, USED] = last + 1
    e.head[i, LEVEL] += 1


@part
def _put(e: Extra, i: int, key: int, level: int, count: int) -> None:
    """Add so many values of the bin `key` of a level that is at most the sketch's."""
    while level < e.head[i, LEVEL]:
        key, level = _coarser(key), level + 1
    while True:
        low, used = 0, e.head[i, USED]
        high = used
        while low < high:
            middle = (low + high) >> 1
            if e.bins[i, middle] < key:
                low = middle + 1
            else:
                high = middle
        if low < used and e.bins[i, low] == key:
            e.tally[i, low] += count
            return
        if used < BINS:
            for b in range(used, low, -1):
                e.bins[i, b], e.tally[i, b] = e.bins[i, b - 1], e.tally[i, b - 1]
            e.bins[i, low], e.tally[i, low] = key, count
            e.head[i, USED] = used + 1
            return
        _join_bins(e, i)
        key = _coarser(key)


@part
def _extra_open(e: Extra, i: int) -> None:
    if e.quantile.size:
        e.head[i, USED], e.head[i, LEVEL] = 0, 0
    for k in range(e.wave_k.size):
        for j in range(4):
            e.wave[i, k, j] = 0.0


@part
def _extra_add(e: Extra, i: int, since: int, x: float, x0: float) -> None:
    """One more sample; `since`: ns after the start of the window, `x0`: the first value."""
    if e.quantile.size:
        _put(e, i, _bin(x), 0, 1)
    for k in range(e.wave_k.size):
        angle = _TURN * ((e.wave_k[k] * since) % e.length) / e.length
        c, s = math.cos(angle), math.sin(angle)
        e.wave[i, k, X_COS] += (x - x0) * c
        e.wave[i, k, X_SIN] += (x - x0) * s
        e.wave[i, k, COS] += c
        e.wave[i, k, SIN] += s


@part
def _extra_merge(e: Extra, i: int, other: int) -> None:
    """Slot i becomes the sketch of both; sessions, the only windows that merge, have no bands."""
    if e.quantile.size:
        while e.head[i, LEVEL] < e.head[other, LEVEL]:
            _join_bins(e, i)
        for b in range(e.head[other, USED]):
            _put(e, i, e.bins[other, b], e.head[other, LEVEL], e.tally[other, b])


@part
def _quantile(e: Extra, i: int, n: int, q: float, low: float, high: float) -> float:
    """The value of rank floor(q (n - 1)), as the middle of its bin; the least and the greatest are exact."""
    rank, seen, b = math.floor(q * (n - 1)), 0, 0
    if rank == 0 or rank == n - 1:
        return low if rank == 0 else high
    while b < e.head[i, USED] - 1 and seen + e.tally[i, b] <= rank:
        seen += e.tally[i, b]
        b += 1
    key, log_g = e.bins[i, b], _LOG_G * 2.0 ** e.head[i, LEVEL]
    size = 0.0
    if key != 0:
        size = math.exp((abs(key) - _FAR) * log_g - math.log((math.exp(log_g) + 1.0) / 2.0))
    return min(max(size if key > 0 else -size, low), high)


@part
def _extra_emit(e: Extra, i: int, n: int, mean: float, low: float, high: float, rms: float, filled: int) -> None:
    """Write the columns of slot i; `mean` is that of the differences to the first value."""
    at = 0
    if e.quantile.size:
        for q in e.quantile:
            e.out[filled, at] = _quantile(e, i, n, q, low, high)
            at += 1
        e.out[filled, at] = math.tanh(_LOG_G * 2.0 ** e.head[i, LEVEL] / 2.0)
        at += 1
    if e.crest:
        e.out[filled, at] = max(abs(low), abs(high)) / rms if rms > 0.0 else np.nan
        at += 1
    for band in range(at, e.out.shape[1]):
        e.out[filled, band] = 0.0
    for k in range(e.wave_k.size):
        re = e.wave[i, k, X_COS] - mean * e.wave[i, k, COS]
        im = e.wave[i, k, X_SIN] - mean * e.wave[i, k, SIN]
        e.out[filled, at + e.wave_band[k]] += 2.0 * (re * re + im * im) / (n * n)


class ExtraState:
    """The extra statistics of all slots of one core.

    Args:
        spec: what is asked for.
        signals: names of all signals of the type, in order.

    Attributes:
        kernel: what the kernels get.
        chosen: int32[k], the signals of the window in the type.
    """

    def __init__(self, spec: NamedWindow, signals: Sequence[str]) -> None:
        index = {name: s for s, name in enumerate(signals)}
        self.chosen: I32 = np.array([index[name] for name in spec.signals], np.int32)
        place = np.full(len(signals), -1, np.int64)
        place[self.chosen] = np.arange(self.chosen.size)
        spread = [(k, b) for b, band in enumerate(spec.bands) for k in waves(*band, spec.times.length_ns)]
        kept = {"bins": spec.quantiles, "tally": spec.quantiles, "head": spec.quantiles, "wave": spread}
        self._kept = [name for name, asked in kept.items() if asked]
        self.kernel = Extra(
            place=place,
            quantile=np.array(spec.quantiles, np.float64),
            crest=int(spec.crest),
            length=spec.times.length_ns,
            wave_k=np.array([k for k, _ in spread], np.int64),
            wave_band=np.array([b for _, b in spread], np.int64),
            bins=np.empty((0, BINS), np.int32),
            tally=np.empty((0, BINS), np.int64),
            head=np.empty((0, 2), np.int64),
            wave=np.empty((0, len(spread), 4)),
            out=np.empty((256, len(spec.columns))),
        )

    def hold(self, slots: int) -> None:
        """Make room for so many slots."""
        more: dict[str, Any] = {name: _longer(getattr(self.kernel, name), slots) for name in self._kept}
        self.kernel = self.kernel._replace(**more)

    def lengthen(self, room: int) -> None:
        """Make room for so many output rows."""
        self.kernel = self.kernel._replace(out=_longer(self.kernel.out, room))

    def series(self, series: I32) -> I32:
        """Series of the type from those of the window."""
        k = self.chosen.size
        whole: I32 = series // k * self.kernel.place.size + self.chosen[series % k]
        return whole.astype(np.int32)

    def spec(self) -> list[int]:
        """What a snapshot is only good for: signals and frequencies."""
        return [*self.chosen.tolist(), *self.kernel.wave_k.tolist()]

    def snapshot(self, devices: int, slots: int) -> State:
        """The state of so many devices with so many slots each, device by device."""
        return {
            f"extra_{name}": (column := getattr(self.kernel, name))[: devices * slots]
            .reshape(devices, slots, *column.shape[1:])
            .copy()
            for name in self._kept
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot; keys of others are not looked at.

        Raises:
            StateError: a column is missing.
        """
        if missing := {f"extra_{name}" for name in self._kept} - state.keys():
            detail = f"{sorted(missing)} are missing"
            raise StateError(where="window", detail=detail, fix="restore it with the definition it was taken under")
        columns = {name: state[f"extra_{name}"] for name in self._kept}
        held: dict[str, Any] = {name: c.reshape(-1, *c.shape[2:]).copy() for name, c in columns.items()}
        self.kernel = self.kernel._replace(**held)


def _longer(column: NDArray[Any], size: int) -> NDArray[Any]:
    longer = np.zeros((size, *column.shape[1:]), column.dtype)
    longer[: len(column)] = column
    return longer
