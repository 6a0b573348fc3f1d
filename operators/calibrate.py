"""Calibration of vectors: bias, then a matrix, over the signals of one instant of one message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from operators.compiled import kernel, part
from operators.definition import Calibration, TwinType
from operators.types import F64, I32, I64, NO_ROWS, TICK, U8, Batch, Mask, Quality

_SENTINEL = int(Quality.SENTINEL)


class _Sets(NamedTuple):
    """Calibration c of set s, s_at[s] <= c < s_at[s + 1]: its signals, biases and n x (n + 1) matrix, flattened."""

    set_at: I64
    signal_at: I64
    signal: I64
    bias: F64
    matrix_at: I64
    matrix: F64


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One push of `Calibrate`.

    Attributes:
        batch: calibrated samples, and all others as they were.
        partial: samples that could not be calibrated, because another element they need did not come with them; each
            is rejected with reason `partial_vector`.
        kept: bool[rows of the input], False for the partial ones.
    """

    batch: Batch
    partial: Batch
    kept: Mask


@part
def _group(rows: I64, sets: _Sets, which: int, value: F64, quality: U8, partial: Mask, x: F64, y: F64) -> None:
    """Calibrate one instant; rows[signal] is its row, -1 where it did not come."""
    for c in range(sets.set_at[which], sets.set_at[which + 1]):
        first = sets.signal_at[c]
        n = sets.signal_at[c + 1] - first
        for i in range(n):
            row = rows[sets.signal[first + i]]
            there = row >= 0 and quality[row] & _SENTINEL == 0
            x[i] = value[row] - sets.bias[first + i] if there else np.nan
        x[n] = 1.0
        for i in range(n):
            total = 0.0
            for j in range(n + 1):
                coefficient = sets.matrix[sets.matrix_at[c] + i * (n + 1) + j]
                if coefficient != 0.0:
                    total += coefficient * x[j]
            y[i] = total
        for i in range(n):
            row = rows[sets.signal[first + i]]
            if row >= 0 and quality[row] & _SENTINEL == 0:
                value[row] = y[i]
                partial[row] = partial[row] or np.isnan(y[i])


@kernel
def _calibrate(
    series: I32, ts: I64, offset: I64, value: F64, quality: U8, set_of: I32, sets: _Sets, rows: I64, x: F64, y: F64,
    partial: Mask,
) -> None:  # fmt: skip
    signals = rows.size
    a = 0
    while a < series.size:
        if series[a] < 0:
            a += 1
            continue
        device = series[a] // signals
        b = a
        while b < series.size and series[b] >= 0 and series[b] // signals == device:
            if offset[b] != offset[a] or ts[b] != ts[a] or rows[series[b] % signals] >= 0:
                break
            rows[series[b] % signals] = b
            b += 1
        _group(rows, sets, set_of[device], value, quality, partial, x, y)
        for i in range(a, b):
            rows[series[i] % signals] = -1
        a = b


class Calibrate:
    """Applies the calibrations of a twin type, and of single devices, to raw samples.

    A device's own calibration takes the place of those of the type that share a signal with it; the others stay.
    Several calibrations are applied one after another. An element is calculated when every element it depends on (a
    coefficient that is not 0) came in the same message with the same time; so a diagonal matrix works on single
    elements, a full one on whole vectors. A sentinel is no element: it passes as it is.
    Holds no state: the result for a message depends on that message alone.

    Args:
        twin_type: the type.
        device_name: name of a device by its id.

    >>> from operators.definition import Signal
    >>> turn = Calibration(("a.0", "a.1"), np.array([[0.0, -1.0], [1.0, 0.0]]), np.array([0.5, 0.0]))
    >>> probe = TwinType("probe", 1, (Signal("a.0"), Signal("a.1")), calibrations=(turn,))
    >>> batch = Batch.of(series=[0, 1, 1], ts=[5, 5, 6], value=[2.5, 3.0, 4.0], offset=[7, 7, 8])  # 4.0 comes alone
    >>> out = Calibrate(probe, lambda device: "p").push(batch)
    >>> out.batch.value.tolist(), out.partial.value.tolist()
    ([-3.0, 2.0], [4.0])
    """

    def __init__(self, twin_type: TwinType, device_name: Callable[[int], str]) -> None:
        self.twin_type = twin_type
        self.device_name = device_name
        owners = list(twin_type.device_calibrations)
        self._set_by_name = {name: i + 1 for i, name in enumerate(owners)}
        chains = [twin_type.calibrations]
        for name in owners:
            own = twin_type.device_calibrations[name]
            taken = {signal for calibration in own for signal in calibration.signals}
            chains.append((*(c for c in twin_type.calibrations if not taken & set(c.signals)), *own))
        self._any = any(chains)
        self._sets = _flatten(twin_type, chains)
        self._set_of = np.zeros(0, np.int32)

    def push(self, batch: Batch) -> Calibrated:
        """Calibrate the rows of whole messages (decode never splits one)."""
        if not self._any:
            return Calibrated(batch, NO_ROWS, np.ones(len(batch), np.bool_))
        signals = len(self.twin_type.signals)
        devices = int(batch.series.max(initial=TICK)) // signals + 1
        if devices > self._set_of.size:
            new = range(self._set_of.size, devices)
            more = [self._set_by_name.get(self.device_name(i), 0) for i in new]
            self._set_of = np.concatenate([self._set_of, np.array(more, np.int32)])
        value, partial = batch.value.copy(), np.zeros(len(batch), np.bool_)
        width = int(np.diff(self._sets.signal_at).max(initial=0))
        x, y = np.zeros(width + 1), np.zeros(width + 1)
        rows = np.full(signals, -1, np.int64)
        _calibrate(
            batch.series, batch.ts, batch.offset, value, batch.quality, self._set_of, self._sets, rows, x, y, partial
        )
        done = batch.replace(value=value)
        if not partial.any():
            return Calibrated(done, NO_ROWS, ~partial)
        return Calibrated(done.take(np.flatnonzero(~partial)), batch.take(np.flatnonzero(partial)), ~partial)


def _flatten(twin_type: TwinType, chains: list[tuple[Calibration, ...]]) -> _Sets:
    flat = [c for chain in chains for c in chain]
    matrices = [_homogeneous(c) for c in flat]
    return _Sets(
        set_at=np.cumsum([0, *(len(chain) for chain in chains)], dtype=np.int64),
        signal_at=np.cumsum([0, *(len(c.signals) for c in flat)], dtype=np.int64),
        signal=np.array([twin_type.index[name] for c in flat for name in c.signals], np.int64),
        bias=np.array([b for c in flat for b in c.bias], np.float64),
        matrix_at=np.cumsum([0, *(m.size for m in matrices)], dtype=np.int64),
        matrix=np.concatenate([np.zeros(0), *(m.ravel() for m in matrices)]),
    )


def _homogeneous(calibration: Calibration) -> F64:
    """The first n rows of the n x (n + 1) form."""
    n = len(calibration.signals)
    matrix = np.asarray(calibration.matrix, np.float64)
    if matrix.shape == (n, n):
        return np.hstack([matrix, np.zeros((n, 1))])
    if matrix.shape != (n + 1, n + 1):
        raise ValueError(f"calibration matrix is {matrix.shape}, not {(n, n)} or {(n + 1, n + 1)}")
    return matrix[:n].copy()
