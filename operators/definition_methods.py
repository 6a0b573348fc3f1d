"""The detectors a twin type may name, and the settings each of them takes: the one table of both.

A setting is a small JSON Schema; its `default` is what the detector uses when the type is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

On = Literal["samples", "rows"]


@dataclass(frozen=True)
class Method:
    """What a detector can look at (the first is the default), how many signals it needs, and its settings.

    `version` grows when the same settings over the same rows would score otherwise.

    >>> METHODS["ewma_z"].on[0], METHODS["pca_residual"].defaults()["components"]
    ('samples', 0.9)
    """

    on: tuple[On, ...]
    min_signals: int
    settings: Mapping[str, Mapping[str, Any]]
    version: int = 1

    def defaults(self) -> dict[str, Any]:
        """Every setting at its default."""
        return {name: schema["default"] for name, schema in self.settings.items()}


def _number(title: str, default: float, **bounds: float) -> dict[str, Any]:
    return {"type": "number", "title": title, "default": default, "examples": [default], **bounds}


def _count(title: str, default: int, minimum: int, maximum: int) -> dict[str, Any]:
    bounds = {"minimum": minimum, "maximum": maximum}
    return {"type": "integer", "title": title, "default": default, "examples": [default], **bounds}


def _switch(default: bool) -> dict[str, Any]:
    return {"type": "boolean", "title": "true or false", "default": default, "examples": [default]}


_ALPHA = _number("a weight of the newest row between 0 and 1", 0.05, exclusiveMinimum=0, exclusiveMaximum=1)
_WARMUP = _count("a number of rows from 2 to 1000000", 20, 2, 1_000_000)
_MIN_SD = _number("a standard deviation over 0", 1e-9, exclusiveMinimum=0)

METHODS: Mapping[str, Method] = {
    "ewma_z": Method(
        on=("samples",),
        min_signals=1,
        settings={
            "alpha": _ALPHA,
            "warmup": _WARMUP,
            "robust": _switch(True),
            "clip": _number("a number of standard deviations over 0", 3.0, exclusiveMinimum=0),
            "relearn": _count("a number of rows from 1 to 1000000", 30, 1, 1_000_000),
            "min_sd": _MIN_SD,
        },
    ),
    "pca_residual": Method(
        on=("rows",),
        min_signals=2,
        settings={
            "components": _number(
                "a share of the variance under 1, or a number of components up to 64",
                0.9,
                exclusiveMinimum=0,
                maximum=64,
            ),
            "warmup": _count("a number of rows from 10 to 100000", 400, 10, 100_000),
            "smooth": _count("a number of rows from 1 to 100000", 1, 1, 100_000),
            "t2": _switch(True),
            "follow": _count("a number of rows from 0 to 1000000", 200, 0, 1_000_000),
            "give_up": _count("a number of rows from 0 to 1000000", 600, 0, 1_000_000),
            "hold": _number("a score over 0", 3.0, exclusiveMinimum=0),
        },
    ),
}
