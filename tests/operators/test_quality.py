"""Flags of samples, against a plain loop."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import Signal, TwinType
from operators.frames import Frames
from operators.quality import Assess
from operators.types import TICK, Batch, Quality
from tests.operators.wire_cases import decoder, sample

TYPE = TwinType("probe", 1, (Signal("a", stuck_after_ns=5, normal_low=-1.0, normal_high=1.0), Signal("b")))
ROW = st.tuples(
    st.sampled_from([0, 1, 2, 3, TICK]),
    st.integers(0, 20),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 5e-324]),
    st.sampled_from([0, int(Quality.SENTINEL), int(Quality.LATE)]),
)
Row = tuple[int, int, float, int]


def batch(rows: list[Row]) -> Batch:
    return Batch.of(
        series=[r[0] for r in rows], ts=[r[1] for r in rows], value=[r[2] for r in rows], quality=[r[3] for r in rows]
    )


def oracle(rows: list[Row]) -> list[int]:
    runs: dict[int, tuple[float, int]] = {}
    flags = []
    for series, ts, value, flag in rows:
        if series != TICK and not flag & Quality.SENTINEL:
            spec = TYPE.signals[series % 2]
            if value != 0 and abs(value) < math.ldexp(1, -1022):
                flag |= Quality.DENORMAL
            if not spec.normal_low <= value <= spec.normal_high:
                flag |= Quality.SUSPECT
            held, since = runs.get(series, (math.nan, 0))
            since = min(since, ts) if held == value else ts
            if spec.stuck_after_ns and ts - since > spec.stuck_after_ns:
                flag |= Quality.STUCK
            runs[series] = (value, since)
        flags.append(int(flag))
    return flags


@given(rows=st.lists(ROW, max_size=40))
@settings(max_examples=60, deadline=None)
def test_flags_are_those_of_a_plain_loop(rows: list[Row]) -> None:
    out = Assess(TYPE).push(batch(rows))
    assert out.batch.quality.tolist() == oracle(rows)
    assert out.applied.tolist() == [not r[3] & Quality.SENTINEL for r in rows]


@given(rows=st.lists(ROW, max_size=40), at=st.integers(0, 40), resume=st.booleans())
@settings(max_examples=60, deadline=None)
def test_batch_cuts_replays_and_restarts_change_nothing(rows: list[Row], at: int, resume: bool) -> None:
    assess = Assess(TYPE)
    first = assess.push(batch(rows[:at]))
    if resume:
        state, assess = assess.snapshot(), Assess(TYPE)
        assess.restore(state)
    second = assess.push(batch(rows[at:]))
    assert np.concatenate([first.batch.quality, second.batch.quality]).tolist() == oracle(rows)


def test_a_sentinel_from_the_wire_is_flagged_and_not_applied() -> None:
    decoded = decoder().push(Frames.of([sample(v=20), sample(v=-9999), sample(v=100)]))
    out = Assess(decoder().roster.type_of("arm-1") or TYPE).push(decoded.batches[0])
    assert out.batch.quality.tolist() == [0, Quality.SENTINEL, Quality.SUSPECT]
    assert out.applied.tolist() == [True, False, True]
