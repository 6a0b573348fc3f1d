"""Scores that also say what was expected, so that an alarm can be put into words."""

from __future__ import annotations

from dataclasses import dataclass

from operators.types import F64, Scores


@dataclass(frozen=True, slots=True)
class ExpectedScores(Scores):
    """Scores with the value each feature should have had.

    Attributes:
        expected: float64[n, features], in the feature's unit; NaN where there is none.
        sd: float64[n, features], the spread it is judged by; 0 or NaN where there is none.
    """

    expected: F64
    sd: F64
