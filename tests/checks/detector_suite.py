"""The conformance suite of the Detector protocol: every detector of the registry runs through all of it.

A check takes `make`, which gives a new detector for so many features, and the number of features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise

import numpy as np

from operators.types import F64, I32, Detector, Scores

Make = Callable[[int], Detector]
ROWS, DEVICES = 1600, 3


def rows_of(features: int, *, seed: int = 5, rows: int = ROWS) -> tuple[I32, F64]:
    """Correlated rows of three devices, each with a level of its own."""
    rng = np.random.default_rng(seed)
    device = rng.integers(0, DEVICES, rows).astype(np.int32)
    common = rng.normal(size=(rows, 1))
    return device, 10.0 * device[:, None] + common + 0.3 * rng.normal(size=(rows, features))


def _same(a: Scores, b: Scores) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=True) for f in fields(a))


def _in_pieces(detector: Detector, device: I32, x: F64, cuts: list[int]) -> Scores:
    edges = [0, *cuts, device.size]
    parts = [detector.score(device[a:b], x[a:b]) for a, b in pairwise(edges)]
    first = parts[0]
    return type(first)(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(first)))


def check_columns_have_the_shapes_of_the_protocol(make: Make, features: int) -> None:
    device, x = rows_of(features)
    scores = make(features).score(device, x)
    assert scores.value.shape == scores.ready.shape == (ROWS,)
    assert scores.rank.shape == (ROWS, features)
    assert np.isfinite(scores.value).all() and (scores.value >= 0.0).all()
    assert (scores.rank >= 0.0).all() and (scores.rank.sum(axis=1) <= 1.0 + 1e-9).all()


def check_nothing_is_ready_at_first_and_not_ready_means_zero(make: Make, features: int) -> None:
    device, x = rows_of(features)
    scores = make(features).score(device, x)
    assert not scores.ready[:5].any() and scores.ready[-5:].all()
    assert not scores.value[~scores.ready].any()


def check_input_is_left_alone(make: Make, features: int) -> None:
    device, x = rows_of(features)
    device_before, x_before = device.copy(), x.copy()
    make(features).score(device, x)
    assert np.array_equal(device, device_before) and np.array_equal(x, x_before)


def check_the_same_rows_give_the_same_scores(make: Make, features: int) -> None:
    device, x = rows_of(features)
    assert _same(make(features).score(device, x), make(features).score(device, x))


def check_cutting_the_rows_into_batches_changes_nothing(make: Make, features: int) -> None:
    device, x = rows_of(features)
    whole = make(features).score(device, x)
    assert _same(whole, _in_pieces(make(features), device, x, [0, 1, 2, 700, 701, 1501]))


def check_a_snapshot_goes_on_where_the_detector_stood(make: Make, features: int) -> None:
    device, x = rows_of(features)
    for cut in (3, 400, 1400):
        one, two = make(features), make(features)
        one.score(device[:cut], x[:cut])
        state = one.snapshot()
        rest = one.score(device[cut:], x[cut:])
        two.restore(state)
        assert _same(two.score(device[cut:], x[cut:]), rest)


def check_a_snapshot_holds_plain_arrays_and_no_spare_room(make: Make, features: int) -> None:
    device, x = rows_of(features)
    detector = make(features)
    detector.score(device, x)
    state = detector.snapshot()
    assert all(a.dtype.kind in "fiub" and a.shape[0] <= DEVICES for a in state.values())


def check_memory_stops_growing(make: Make, features: int) -> None:
    device, x = rows_of(features, rows=4000)
    detector = make(features)
    detector.score(device[:2000], x[:2000])
    before = sum(a.nbytes for a in detector.snapshot().values())
    detector.score(device[2000:], x[2000:])
    assert sum(a.nbytes for a in detector.snapshot().values()) == before


def check_devices_do_not_touch_each_other(make: Make, features: int) -> None:
    device, x = rows_of(features)
    mixed = make(features).score(device, x).value[device == 1]
    alone = make(features).score(np.zeros(mixed.size, np.int32), x[device == 1]).value
    assert np.array_equal(mixed, alone)


def check_missing_values_do_not_spread(make: Make, features: int) -> None:
    device, x = rows_of(features)
    rng = np.random.default_rng(1)
    x[rng.random(x.shape) < 0.05] = np.nan
    x[1500] = np.nan
    scores = make(features).score(device, x)
    assert np.isfinite(scores.value).all()
    assert not scores.ready[1500]
    assert not scores.rank[np.isnan(x)].any()


def check_no_rows_give_no_scores(make: Make, features: int) -> None:
    scores = make(features).score(np.empty(0, np.int32), np.empty((0, features)))
    assert scores.value.size == 0 and scores.rank.shape == (0, features)


def check_a_gross_fault_scores_above_all_normal_rows(make: Make, features: int) -> None:
    device, x = rows_of(features)
    x[1550, features - 1] += 30.0
    scores = make(features).score(device, x)
    assert scores.value[1550] > 3.0
    assert int(np.argmax(scores.rank[1550])) == features - 1
    assert int(np.argmax(np.where(scores.ready, scores.value, 0.0))) == 1550


def check_few_normal_rows_pass_the_usual_threshold(make: Make, features: int) -> None:
    device, x = rows_of(features)
    scores = make(features).score(device, x)
    assert np.mean(scores.value[scores.ready] > 3.0) < 0.03


Check = Callable[[Make, int], None]
CHECKS: list[Check] = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
