"""The registry of detectors, and the conformance suite over every one of them."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import models
from models.detectors import METHODS, new_detector
from operators.definition import DetectorSpec
from operators.definition_methods import METHODS as DEFINED
from operators.definition_yaml import load
from operators.errors import DefinitionError
from operators.types import Detector
from tests.checks.detector_suite import CHECKS, Check

TWINS = Path(models.__path__[0], "twins")
TWIN_TYPES = sorted(p for p in TWINS.glob("*.yaml") if "\ntwin_type:" in "\n" + p.read_text("utf-8"))


def spec(method: str, *, on: str | None = None, **settings: Any) -> DetectorSpec:
    judged: Any = on or METHODS[method].on
    return DetectorSpec("d", method, judged, ("a",), settings=settings)


def make(name: str, settings: dict[str, Any], features: int) -> Detector:
    return new_detector(spec(name, **settings), features)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("ewma_z", {}),
    ("ewma_z", {"robust": False}),
    ("pca_residual", {}),
    ("pca_residual", {"smooth": 3, "t2": False, "components": 2, "warmup": 100}),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=lambda v: str(v))
def test_every_detector_conforms(check: Check, name: str, settings: dict[str, Any]) -> None:
    check(partial(make, name, settings), 1 if METHODS[name].on == "samples" else 5)


def test_every_method_of_the_registry_is_in_the_variants() -> None:
    assert {name for name, _ in VARIANTS} == set(METHODS)


def test_the_definition_s_table_of_methods_says_the_same_as_the_constructors() -> None:
    assert set(DEFINED) == set(METHODS)
    for name, method in METHODS.items():
        known = inspect.signature(method.new).parameters
        assert DEFINED[name].defaults() == {setting: known[setting].default for setting in method.settings}
        assert DEFINED[name].on == (method.on,)


@pytest.mark.parametrize("path", TWIN_TYPES, ids=lambda path: str(path.stem))
def test_every_twin_type_that_ships_gets_its_detectors(path: Path) -> None:
    twin_type = load(path)
    assert twin_type.detectors
    for one in twin_type.detectors:
        new_detector(one, 1 if one.on == "samples" else len(one.signals))


def test_an_unknown_method_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(DefinitionError, match=r"no method 'emwa_z'; write ewma_z \(known: ewma_z, pca_residual\)"):
        new_detector(DetectorSpec("d", "emwa_z", "samples", ("a",)), 1)


def test_an_unknown_setting_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(DefinitionError, match=r"detectors\.d\.alhpa: ewma_z has no setting 'alhpa'; write alpha"):
        new_detector(spec("ewma_z", alhpa=0.1), 1)


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(DefinitionError, match="alpha is 2"):
        new_detector(spec("ewma_z", alpha=2), 1)


def test_a_method_on_the_wrong_kind_of_input_is_refused() -> None:
    with pytest.raises(DefinitionError, match="pca_residual judges rows, not samples; write on: rows"):
        new_detector(spec("pca_residual", on="samples"), 1)
