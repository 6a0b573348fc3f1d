"""Signals and values as they stand in a sentence."""

from __future__ import annotations

import numpy as np

from operators.definition import Signal


def readable(name: str) -> str:
    """A signal's name in a sentence: `volume_flow` is "volume flow", a dotted name stays as it is.

    >>> readable("volume_flow"), readable("imu.ang_vel")
    ('volume flow', 'imu.ang_vel')
    """
    return name if "." in name else name.replace("_", " ")


def sentence(text: str) -> str:
    """The text with a capital at its start, unless it starts with a dotted name."""
    return text if "." in text.split(" ", 1)[0] else text[:1].upper() + text[1:]


def quantity(value: float, signal: Signal, sd: float = float("nan")) -> str:
    """A value with its unit, to the digit that `sd` makes worth saying; six figures at most where it is not given.

    >>> quantity(22.1384, Signal("flow", unit="l/min"), 0.98)
    '22.1 l/min'
    """
    if sd > 0.0 and np.isfinite(sd):
        number = f"{value:.{min(max(-int(np.floor(np.log10(sd))), 0), 6)}f}"
    else:
        number = f"{value:.6g}"
    number = number.replace("-", "−")
    return number if signal.unit in ("", "1") else f"{number} {signal.unit}"
