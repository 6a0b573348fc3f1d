from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.compiled import kernel
from operators.rings import (
    HELD,
    Rings,
    _drop_before,
    _insert,
    _slot,
    more_series,
    more_slots,
    new_rings,
    rings_from_state,
    rings_state,
)

SERIES = 3
insert, slot, drop_before = kernel(_insert), kernel(_slot), kernel(_drop_before)
STEPS = st.lists(st.tuples(st.integers(0, SERIES - 1), st.integers(0, 60), st.integers(-1, 2)), max_size=120)


def put(rings: Rings, series: int, ts: int, seq: int, value: float) -> Rings:
    while not insert(*rings, series, ts, value, seq, 0):
        rings = more_slots(rings)
    return rings


def held(rings: Rings, series: int) -> list[tuple[int, int, float]]:
    slots = [slot(rings.block, series, i) for i in range(rings.block[series, HELD])]
    return [(int(rings.key[x, 0]), int(rings.key[x, 1]), float(rings.value[x])) for x in slots]


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_each_series_is_sorted_whatever_grows_drops_and_reuses_blocks_beside_it(
    steps: list[tuple[int, int, int]],
) -> None:
    rings = more_series(new_rings(1), SERIES)
    plain: list[dict[int, tuple[int, float]]] = [{} for _ in range(SERIES)]
    for row, (series, ts, seq) in enumerate(steps):
        rings = put(rings, series, ts, seq, float(row))
        if ts not in plain[series] or seq >= plain[series][ts][0]:
            plain[series][ts] = seq, float(row)
        if row % 40 == 39:
            drop_before(rings.key, rings.block, series, 30)
            plain[series] = {t: x for t, x in plain[series].items() if t >= 30}
    for again in (rings, rings_from_state(rings_state(rings, SERIES))):
        assert [held(again, s) for s in range(SERIES)] == [
            [(t, *x) for t, x in sorted(samples.items())] for samples in plain
        ]


def test_a_block_that_was_outgrown_serves_the_next_series() -> None:
    rings = more_slots(new_rings(100))
    for series in range(100):
        for ts in range(5):
            rings = put(rings, series, ts, 0, 0.0)
    assert rings.free[63] == 4 + 100 * 8  # the first block of 4 slots was handed on 99 times
    assert np.count_nonzero(rings.block[:, HELD] == 5) == 100
