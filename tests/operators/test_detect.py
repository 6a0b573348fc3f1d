"""detect: what is scored, what becomes an anomaly, how it is worded, and the three laws."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detectors import new_detector
from models.ewma import EwmaZ
from operators.definition import DetectorSpec, Signal, TwinType
from operators.detect import Anomalies, Detect
from operators.types import TICK, Batch, Quality

EWMA = DetectorSpec("z", "ewma_z", "samples", ("volume_flow", "pressure"), settings={"warmup": 5})
PCA = DetectorSpec("together", "pca_residual", "rows", ("volume_flow", "pressure", "imu.ax"), settings={"warmup": 50})
PUMP = TwinType(
    name="pump",
    version=1,
    signals=(Signal("imu.ax", "m/s^2"), Signal("volume_flow", "l/min"), Signal("ok"), Signal("pressure", "bar")),
    detectors=(EWMA, PCA),
)


def pump() -> Detect:
    return Detect(PUMP, PUMP.detectors, new_detector)


def flow(values: list[float], *, series: int = 1, **columns: Any) -> Batch:
    return Batch.of(series=[series] * len(values), ts=np.arange(len(values)) * 10, value=values, **columns)


NORMAL = [27.0, 28.0, 26.5, 27.5, 27.2, 26.9, 28.1, 27.3]


def test_the_sentence_says_what_differs_by_how_much_from_what() -> None:
    detect = pump()
    found = detect.on_samples(flow([*NORMAL, 22.1]))
    expected, sd = found.expected[0], found.sd[0]
    assert detect.causes(found) == [
        f"Volume flow 22.1 l/min is {(expected - 22.1) / sd:.1f} sd below its expected {expected:.1f} l/min"
    ]
    assert found.row.tolist() == [8] and found.signal.tolist() == [1] and found.ts_ns.tolist() == [80]


def test_severity_is_the_score_over_twice_the_threshold_and_one_is_an_alarm() -> None:
    found = pump().on_samples(flow([*NORMAL, 30.0, *NORMAL, 90.0]))
    assert found.severity == pytest.approx(np.minimum(1.0, found.score / 6.0))
    assert found.alarm.tolist() == [False, True]


def test_nothing_is_found_before_the_detector_is_ready() -> None:
    assert len(pump().on_samples(flow([27.0, 28.0, 27.0, 500.0]))) == 0


@pytest.mark.parametrize("flag", [Quality.SENTINEL, Quality.STUCK, Quality.DENORMAL, Quality.LATE])
def test_a_sample_of_bad_quality_is_neither_scored_nor_learnt(flag: Quality) -> None:
    quality = [0] * 8 + [int(flag)] + [0]
    with_bad = pump().on_samples(flow([*NORMAL, -9999.0, 22.1], quality=quality))
    without = pump().on_samples(flow([*NORMAL, 22.1]))
    assert with_bad.row.tolist() == [9]
    assert with_bad.score.tolist() == without.score.tolist()


def test_a_suspect_sample_is_scored() -> None:
    quality = [0] * 8 + [int(Quality.SUSPECT)]
    assert len(pump().on_samples(flow([*NORMAL, 90.0], quality=quality))) == 1


def test_signals_devices_and_ticks_are_kept_apart() -> None:
    n = len(NORMAL)
    one = flow(NORMAL)
    mixed = Batch.join([one, flow(NORMAL, series=7), flow([500.0], series=2), flow([0.0], series=TICK)])
    detect = pump()
    assert len(detect.on_samples(mixed)) == 0
    found = detect.on_samples(flow([90.0], series=7))
    assert found.device.tolist() == [1] and found.signal.tolist() == [3]
    plain = EwmaZ(warmup=5).score(np.zeros(n + 1, np.int32), np.array([*NORMAL, 90.0])[:, None])
    assert found.score.tolist() == [plain.value[-1]]


def rows(n: int, seed: int = 4) -> np.ndarray[Any, np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + 0.1 * rng.normal(size=(n, 4))


def test_a_row_names_its_signals_by_their_share_in_the_type_s_order() -> None:
    x = rows(100)
    x[90, 3] += 4.0
    zeros = np.zeros(100, np.int32)
    detect = pump()
    found = detect.on_rows(zeros, np.arange(100), x, np.ones(x.shape, bool), np.arange(100))
    at = int(np.flatnonzero(found.row == 90)[0])
    assert found.signal[at] == 3 and found.detector[at] == 1
    assert (np.diff(found.share, axis=1) <= 0.0).all() and (found.share.sum(axis=1) <= 1.0 + 1e-9).all()
    assert detect.causes(found)[at].startswith("Pressure ")


def test_an_invalid_cell_has_no_say() -> None:
    x = rows(100)
    valid = np.ones(x.shape, bool)
    x[90, 3], valid[90, 3] = 1e9, False
    found = pump().on_rows(np.zeros(100, np.int32), np.arange(100), x, valid, np.arange(100))
    assert 90 not in found.row.tolist() or 3 not in found.ranked[found.row == 90]


def test_a_detector_that_is_new_in_the_definition_starts_anew() -> None:
    old = Detect(PUMP, [EWMA], new_detector)
    old.on_samples(flow(NORMAL))
    both = pump()
    both.restore(old.snapshot())
    assert len(both.on_samples(flow([90.0]))) == 1


def columns(found: Anomalies) -> list[Any]:
    return [getattr(found, f.name).tolist() for f in fields(found) if f.name != "row"]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 200), max_size=5), resume=st.booleans())
def test_cutting_replaying_and_resuming_change_nothing(seed: int, cuts: list[int], resume: bool) -> None:
    rng = np.random.default_rng(seed)
    batch = Batch.of(
        series=rng.integers(-1, 12, 200),
        ts=np.arange(200),
        value=rng.standard_t(2, 200),
        quality=rng.choice([0, 16], 200),
    )
    x, valid, device = rng.standard_t(2, (200, 4)), rng.random((200, 4)) < 0.9, rng.integers(0, 2, 200).astype(np.int32)

    def run(edges: list[int], *, again: bool) -> list[list[Any]]:
        core, samples, aligned = pump(), [], []
        for a, b in pairwise(edges):
            samples.append(core.on_samples(batch.take(slice(a, b))))
            aligned.append(core.on_rows(device[a:b], batch.ts[a:b], x[a:b], valid[a:b], batch.offset[a:b]))
            if again:
                state, core = core.snapshot(), pump()
                core.restore(state)
        return [
            columns(Anomalies(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Anomalies))))
            for parts in (samples, aligned)
        ]

    whole = run([0, 200], again=False)
    assert repr(run([0, *sorted(cuts), 200], again=resume)) == repr(whole) == repr(run([0, 200], again=False))
