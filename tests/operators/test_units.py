"""Units: values against the standards, and text that is no unit."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.units import UnitError, conversion, convert, same_kind, unit


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (0.0, "degC", "K", 273.15),
        (-40.0, "degF", "degC", -40.0),
        (212.0, "°F", "°C", 100.0),
        (180.0, "deg", "rad", math.pi),
        (60.0, "rpm", "rad/s", 2 * math.pi),
        (1.0, "rpm", "deg/s", 6.0),
        (1.0, "rpm", "rev/min", 1.0),
        (1500.0, "mm", "m", 1.5),
        (36.0, "km/h", "m/s", 10.0),
        (1.0, "g", "m/s^2", 9.80665),
        (1.0, "bar", "Pa", 1e5),
        (1.0, "psi", "Pa", 6894.757293168),
        (60.0, "l/min", "m^3/s", 1e-3),
        (50.0, "%", "1", 0.5),
        (1.0, "kWh", "J", 3.6e6),
        (2.0, "kW", "kWh/h", 2.0),
        (1.0, "N*m", "J", 1.0),
        (1.0, "Nm", "kg.m2.s-2", 1.0),
        (1.0, "mV", "uV", 1000.0),
        (1.0, "µm", "nm", 1000.0),
        (1.0, "V", "W/A", 1.0),
        (1.0, "mAh", "C", 3.6),
        (1.0, "W/(m^2*K)", "W/m²/degC", 1.0),
        (3.0, "{parts}/h", "{cuts}/min", 0.05),
        (1.0, "1/min", "Hz", 1 / 60),
        (1.0, "hPa", "mbar", 1.0),
        (5.0, "min", "s", 300.0),
    ],
)
def test_a_value_converts_as_the_standards_say(value: float, source: str, target: str, expected: float) -> None:
    assert convert(np.array([value]), source, target)[0] == pytest.approx(expected, rel=1e-12)


def test_factors_are_exact_before_they_are_rounded_once() -> None:
    assert unit("psi").factor == Fraction(8896443230521, 1290320000)
    assert conversion("km/h", "m/s") == (5 / 18, 0.0)
    assert conversion("degF", "degF") == (1.0, 0.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [("degC", "bar"), ("deg", "1"), ("rpm", "Hz"), ("m", "m/s"), ("V", "A"), ("W", "kWh"), ("g", "kg"), ("%", "degC")],
)
def test_units_of_different_kinds_do_not_convert(a: str, b: str) -> None:
    assert not same_kind(a, b)
    with pytest.raises(UnitError, match="give the signal a unit of the same kind"):
        conversion(a, b)


@pytest.mark.parametrize(
    "text",
    ["", " ", "furlong", "m/", "/s", "m//s", "m^", "m^2.5", "(m", "m)", "{", "{a}}", "m^0", "0", "kg^99", "degCC",
     "mdegC", "m" * 61, "((((10)^9)^9)^9)^9", "(((Ym)^9)^9)^9", "m\x00", "\u202em", "1e3", "-m", "m--2"],
)  # fmt: skip
def test_a_text_that_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        unit(text)


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="mskgdeCFNPa/*^()-.0123 {}%°²", max_size=12))
def test_any_text_is_a_unit_or_a_unit_error(text: str) -> None:
    try:
        found = unit(text)
    except UnitError:
        return
    assert found.factor > 0
    assert same_kind(text, found.si())


UNITS = st.sampled_from(["degC", "degF", "K"])


@settings(max_examples=40, deadline=None)
@given(value=st.floats(-1e4, 1e4), a=UNITS, b=UNITS)
def test_there_and_back_is_where_it_started(value: float, a: str, b: str) -> None:
    there = convert(np.array([value]), a, b)
    assert convert(there, b, a)[0] == pytest.approx(value, abs=1e-9)
