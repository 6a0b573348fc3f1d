"""Calibration equals the matrix product, message by message."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.calibrate import Calibrate
from operators.definition import Calibration, Signal, TwinType
from operators.types import TICK, Batch, Quality

NAMES = ("a.0", "a.1", "a.2")
FULL = np.array([[1.0, 0.5, 0.0], [0.25, 2.0, -1.0], [0.0, 3.0, 1.5]])
BIAS = np.array([0.5, -0.25, 2.0])
BASE = TwinType("probe", 1, (*(Signal(n) for n in NAMES), Signal("b")))


def calibrate(matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]], **more: tuple[Calibration, ...]) -> Calibrate:
    kind = replace(BASE, calibrations=(Calibration(NAMES, matrix, BIAS),), device_calibrations=more)
    return Calibrate(kind, lambda device: f"d{device}")


def vectors(x: list[list[float]]) -> Batch:
    n = len(x)
    return Batch.of(
        series=[0, 1, 2] * n, ts=np.repeat(np.arange(n), 3), value=np.ravel(x), offset=np.repeat(np.arange(n), 3)
    )


@given(x=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=8), affine=st.booleans())
@settings(max_examples=60, deadline=None)
def test_whole_vectors_get_the_matrix_product(x: list[list[float]], affine: bool) -> None:
    matrix = np.eye(4) if affine else FULL
    if affine:
        matrix[:3, :3], matrix[:3, 3] = FULL, [7.0, 8.0, 9.0]
    out = calibrate(matrix).push(vectors(x))
    expected = (np.array(x) - BIAS) @ FULL.T + (np.array([7.0, 8.0, 9.0]) if affine else 0.0)
    assert np.allclose(out.batch.value.reshape(-1, 3), expected, rtol=1e-12, atol=1e-6)
    assert len(out.partial) == 0


@given(x=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=2, max_size=8), at=st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_cuts_between_messages_change_nothing(x: list[list[float]], at: int) -> None:
    batch, core = vectors(x), calibrate(FULL)
    cuts = [core.push(batch.take(slice(0, 3 * at))), core.push(batch.take(slice(3 * at, None)))]
    whole = calibrate(FULL).push(batch).batch.value
    assert np.array_equal(np.concatenate([c.batch.value for c in cuts]), whole)


def test_an_element_whose_inputs_did_not_all_come_is_rejected() -> None:
    batch = Batch.of(series=[0, 1, TICK, 3], ts=[5, 5, 0, 5], value=[1.0, 2.0, 0.0, 9.0], offset=[1, 1, 2, 3])
    out = calibrate(FULL).push(batch)
    assert out.batch.series.tolist() == [0, TICK, 3]
    assert out.batch.value.tolist() == [1.0 * 0.5 + 0.5 * 2.25, 0.0, 9.0]
    assert (out.partial.series.tolist(), out.partial.value.tolist()) == ([1], [2.0])


def test_a_diagonal_matrix_works_on_single_elements() -> None:
    out = calibrate(np.diag([2.0, 3.0, 4.0])).push(Batch.of(series=[1], ts=[5], value=[1.0]))
    assert out.batch.value.tolist() == [3.75]


def test_a_sentinel_stays_as_it_is_and_is_no_input() -> None:
    batch = vectors([[1.0, -9999.0, 3.0]]).replace(quality=np.array([0, Quality.SENTINEL, 0], np.uint8))
    out = calibrate(FULL).push(batch)
    assert out.batch.value.tolist() == [-9999.0]
    assert out.partial.value.tolist() == [1.0, 3.0]


def test_a_device_calibration_takes_the_place_of_the_type_s() -> None:
    own = (Calibration(("a.1",), np.array([[10.0]]), np.array([0.0])),)
    batch = Batch.of(series=[1, 4 + 1], ts=[5, 5], value=[1.0, 1.0])
    out = calibrate(np.diag([2.0, 3.0, 4.0]), d1=own).push(batch)
    assert out.batch.value.tolist() == [3.75, 10.0]


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\), not \(3, 3\) or \(4, 4\)"):
        calibrate(np.ones((2, 3)))
