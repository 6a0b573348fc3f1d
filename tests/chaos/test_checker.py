"""The checker sees each kind of fault, and counts it once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from tests.chaos.checker import Verdict, compare, differing
from tests.chaos.scenario import MUST_BE_TRUE, MUST_BE_ZERO, faults
from tests.chaos.stored import compare_places

DUE = ("a", "b", "c", "d")


def counted(found: Sequence[str]) -> dict[str, int]:
    verdict = Verdict()
    compare(verdict, {"rows/0/pump": list(found)}, {"rows/0/pump": list(DUE)})
    names = ("lost", "duplicates", "unexpected", "order_violations")
    return {name: getattr(verdict, name) for name in names if getattr(verdict, name)}


@pytest.mark.parametrize(
    ("found", "expect"),
    [
        ("abcd", {}),
        ("acd", {"lost": 1}),
        ("abbcd", {"duplicates": 1}),
        ("abcdabcd", {"duplicates": 4}),
        ("abxcd", {"unexpected": 1}),
        ("axcd", {"lost": 1, "unexpected": 1}),
        ("acbd", {"order_violations": 1}),
        ("dcba", {"order_violations": 3}),
        ("", {"lost": 4}),
    ],
)
def test_each_fault_of_a_sequence_is_counted_under_its_name(found: str, expect: dict[str, int]) -> None:
    assert counted(found) == expect


def test_a_device_that_nobody_spoke_of_and_one_that_nobody_should_speak_of_are_seen() -> None:
    verdict = Verdict()
    compare(verdict, {"rows/0/stranger": ["a"]}, {"rows/0/pump": ["b"]})
    assert (verdict.lost, verdict.unexpected) == (1, 1)
    assert len(verdict.examples) == 2


def test_states_differ_by_a_value_a_type_a_shape_a_row_or_a_column() -> None:
    due = {"a": np.array([1.0, np.nan]), "b": np.array([1])}
    assert differing({"a": np.array([1.0, np.nan]), "b": np.array([1])}, due) == []
    assert differing({"a": np.array([1.0, 2.0]), "b": np.array([1], np.int32)}, due) == ["a", "b"]
    assert differing({"a": np.array([[1.0, np.nan]]), "b": np.array([1, 2])}, due) == ["a", "b"]
    assert differing({}, due) == ["a", "b"]
    assert differing({**due, "c": np.array([0])}, due) == ["c"]


def test_a_row_that_is_missing_there_twice_or_without_a_record_is_counted_under_its_name() -> None:
    verdict = Verdict()
    wanted = Counter({(0, 1, 0): 1, (0, 1, 1): 1, (3, 7, 0): 1})
    compare_places(verdict, "samples", [(0, 1, 0), (0, 1, 0), (0, 1, 0), (0, 1, 1), (5, 5, 5)], wanted)
    assert (verdict.lost, verdict.duplicates, verdict.unexpected) == (1, 2, 1)
    assert len(verdict.examples) == 2


def test_every_figure_that_must_be_zero_or_true_makes_a_scenario_fail() -> None:
    good = dict.fromkeys(MUST_BE_ZERO, 0) | dict.fromkeys(MUST_BE_TRUE, True)
    assert faults(good) == {}
    for name in MUST_BE_ZERO:
        assert faults({**good, name: 1}) == {name: 1}
    for name in MUST_BE_TRUE:
        assert faults({**good, name: False}) == {name: False}
