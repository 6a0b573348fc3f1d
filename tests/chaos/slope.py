"""Does a figure grow: Theil and Sen's slope (the median of all slopes between two samples) with its confidence interval
by Kendall's rank statistic (Sen, J. Am. Stat. Assoc. 63, 1968). Spikes, saws and restarts of a garbage collector leave
it as it is; a leak of one byte an hour does not, given time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST = 600
"""Samples that are looked at; of more, medians of as many equal parts. All pairs of 600 are 180,000."""
FEWEST = 30
"""With fewer samples nothing is judged."""
Z_95 = 1.96


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure moved.

    Attributes:
        samples: that were looked at. median: of them.
        per_hour: slope. low, high: its 95 % interval.
        tolerance: growth per hour that is still flat.
    """

    samples: int
    median: float
    per_hour: float
    low: float
    high: float
    tolerance: float

    @property
    def judged(self) -> bool:
        """Whether there are samples enough to say anything."""
        return self.samples >= FEWEST

    @property
    def flat(self) -> bool:
        """Whether it does not surely grow faster than it may; always where nothing is judged."""
        return not self.judged or self.low <= self.tolerance


def trend(hours: ArrayLike, values: ArrayLike, tolerance: float) -> Trend:
    """The trend of a figure.

    Args:
        hours: float[n], ascending: when. values: float[n]: what it was.
        tolerance: growth per hour that is still flat.

    >>> trend([0, 1, 2, 3], [10, 12, 14, 16], tolerance=1.0).per_hour
    2.0
    """
    t, y = _thinned(np.asarray(hours, float)), _thinned(np.asarray(values, float))
    n = len(t)
    if n < 2:
        return Trend(n, float(y[0]) if n else 0.0, 0.0, -math.inf, math.inf, tolerance)
    first, second = np.triu_indices(n, 1)
    slopes = np.sort((y[second] - y[first]) / (t[second] - t[first]))
    spread = Z_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low, high = round((len(slopes) - spread) / 2), round((len(slopes) + spread) / 2)
    return Trend(
        samples=n,
        median=float(np.median(y)),
        per_hour=float(np.median(slopes)),
        low=float(slopes[low]) if low >= 0 else -math.inf,
        high=float(slopes[high]) if high < len(slopes) else math.inf,
        tolerance=tolerance,
    )


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most MOST of them, each the median of its part."""
    if len(values) <= MOST:
        return values
    return np.array([np.median(part) for part in np.array_split(values, MOST)])
