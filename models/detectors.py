"""The detectors that a twin type can name, by method, with the settings that each takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from models.ewma import EwmaZ
from models.pca import PcaResidual
from operators.definition import DetectorSpec
from operators.errors import DefinitionError
from operators.types import Detector


@dataclass(frozen=True)
class Method:
    """A kind of detector: `on` what it judges, whether its constructor takes the number of features first."""

    on: str
    new: Callable[..., Detector]
    takes_features: bool

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the settings, in the order of the constructor."""
        return tuple(inspect.signature(self.new).parameters)[1 if self.takes_features else 0 :]


METHODS: dict[str, Method] = {
    "ewma_z": Method("samples", EwmaZ, takes_features=False),
    "pca_residual": Method("rows", PcaResidual, takes_features=True),
}


def new_detector(spec: DetectorSpec, features: int) -> Detector:
    """A new detector as the definition wants it, for rows of so many features.

    Raises:
        DefinitionError: method or setting do not exist (the nearest is named), or a value is not in its range.

    >>> type(new_detector(DetectorSpec("z", "ewma_z", "samples", ("a",)), 1)).__name__
    'EwmaZ'
    """
    method = METHODS.get(spec.method)
    if method is None:
        raise _refused(spec, "method", f"no method {spec.method!r}", _nearest(spec.method, METHODS))
    if method.on != spec.on:
        raise _refused(spec, "on", f"{spec.method} judges {method.on}, not {spec.on}", f"write on: {method.on}")
    for name in spec.settings:
        if name not in method.settings:
            raise _refused(spec, name, f"{spec.method} has no setting {name!r}", _nearest(name, method.settings))
    try:
        return method.new(*([features] if method.takes_features else []), **spec.settings)
    except (TypeError, ValueError) as wrong:
        raise _refused(spec, "settings", str(wrong), "correct the value") from wrong


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    return f"write {(get_close_matches(name, names, 1, 0.0) or names)[0]} (known: {', '.join(names)})"


def _refused(spec: DetectorSpec, key: str, detail: str, fix: str) -> DefinitionError:
    return DefinitionError(source="<definition>", line=0, key=f"detectors.{spec.id}.{key}", detail=detail, fix=fix)
