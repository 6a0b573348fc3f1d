from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import StateError
from operators.reorder import Reorder
from operators.types import NO_TIME, TICK, Batch, Quality

SIGNALS, WAIT, IDLE = 2, 20, 60
FIELDS = ("series", "ts", "arrival", "value", "quality", "seq", "boot", "offset")
Events = list[tuple[int, int, int, int]]
EVENTS = st.lists(
    st.tuples(st.integers(TICK, 5), st.integers(-40, 10), st.integers(0, 15), st.integers(0, 3)), max_size=60
)
"""Per row: series, event time against a running clock, pause before it, seq."""


def batch_of(events: Events) -> Batch:
    now = np.cumsum([e[2] for e in events], dtype=np.int64) + 1_000
    return Batch.of(
        series=[e[0] for e in events],
        ts=now + np.array([e[1] for e in events], np.int64),
        arrival=now,
        value=np.arange(len(events)),
        quality=[e[3] % 2 for e in events],
        seq=[e[3] for e in events],
        boot=[e[3] // 2 for e in events],
        offset=np.arange(len(events)) // 2,
    )


def new() -> Reorder:
    return Reorder(SIGNALS, WAIT, IDLE)


def run(core: Reorder, parts: Iterable[Batch]) -> Batch:
    return Batch.join([*(core.push(part) for part in parts), core.finish()])


def cut(batch: Batch, at: list[int]) -> list[Batch]:
    bounds = [0, *sorted(min(i, len(batch)) for i in at), len(batch)]
    return [batch.take(slice(a, b)) for a, b in pairwise(bounds)]


def assert_same(a: Batch, b: Batch) -> None:
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        assert getattr(a, name).dtype == getattr(b, name).dtype, name


def oracle(batch: Batch) -> list[tuple[int, int]]:
    """(row, late) in output order, by a plain loop over sorted lists."""
    w: dict[int, int] = {}
    heard: dict[int, int] = {}
    held: dict[int, list[tuple[int, int, int, int]]] = {}
    out: list[tuple[int, int]] = []

    def release(d: int) -> None:
        out.extend((key[3], 0) for key in sorted(held[d]) if key[0] < w[d])
        held[d] = [key for key in held[d] if key[0] >= w[d]]

    for i in range(len(batch)):
        ts, arrival = int(batch.ts[i]), int(batch.arrival[i])
        if batch.series[i] == TICK:
            for d in sorted(held):
                if arrival - heard[d] >= IDLE:
                    w[d] = max(w[d], arrival - WAIT)
                    release(d)
            continue
        d = int(batch.series[i]) // SIGNALS
        held.setdefault(d, [])
        w[d], heard[d] = max(w.get(d, NO_TIME), ts - WAIT), arrival
        if ts < w[d]:
            out.append((i, 1))
        else:
            held[d].append((ts, int(batch.seq[i]), int(batch.offset[i]), i))
            release(d)
    for d in sorted(held):
        out.extend((key[3], 0) for key in sorted(held[d]))
    return out


@given(events=EVENTS)
@settings(max_examples=60, deadline=None)
def test_the_output_is_that_of_a_plain_loop(events: Events) -> None:
    batch = batch_of(events)
    out, expected = run(new(), [batch]), oracle(batch)
    assert out.value.tolist() == [float(i) for i, _ in expected]
    rows = batch.take(np.array([i for i, _ in expected], np.intp))
    late = np.array([flag for _, flag in expected], np.uint8) * np.uint8(Quality.LATE)
    assert_same(out, rows.replace(quality=rows.quality | late))


@given(events=EVENTS)
@settings(max_examples=40, deadline=None)
def test_no_sample_is_dropped_and_all_but_late_ones_leave_in_event_order(events: Events) -> None:
    batch = batch_of(events)
    out = run(new(), [batch])
    assert sorted(out.value.tolist()) == np.flatnonzero(batch.series != TICK).tolist()
    punctual = (out.quality & Quality.LATE) == 0
    for d in range(3):
        ts = out.ts[punctual & (out.series // SIGNALS == d)]
        assert np.all(np.diff(ts) >= 0)


@given(events=EVENTS, at=st.lists(st.integers(0, 60), max_size=6))
@settings(max_examples=60, deadline=None)
def test_cutting_the_stream_into_batches_changes_nothing(events: Events, at: list[int]) -> None:
    batch = batch_of(events)
    assert_same(run(new(), cut(batch, at)), run(new(), [batch]))


@given(events=EVENTS)
@settings(max_examples=20, deadline=None)
def test_a_replay_is_identical(events: Events) -> None:
    assert_same(run(new(), [batch_of(events)]), run(new(), [batch_of(events)]))


@given(events=EVENTS, at=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_resuming_from_a_snapshot_equals_an_uninterrupted_run(events: Events, at: int) -> None:
    first, second = cut(batch_of(events), [at])
    whole, before, after = new(), new(), new()
    expected = run(whole, [first, second])
    head = before.push(first)
    after.restore(before.snapshot())
    again = after.snapshot()
    for name, column in before.snapshot().items():
        np.testing.assert_array_equal(again[name], column, err_msg=name)
    assert_same(Batch.join([head, run(after, [second])]), expected)


def test_rows_of_one_message_keep_their_order() -> None:
    out = run(new(), [Batch.of(series=[1, 0, 1, 0], ts=[5] * 4, seq=7, offset=3, value=[0.0, 1.0, 2.0, 3.0])])
    assert out.value.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_of_equal_times_the_larger_seq_leaves_last_then_the_later_offset() -> None:
    out = run(new(), [Batch.of(series=0, ts=[5] * 3, seq=[2, 1, 1], offset=[0, 9, 8], value=[0.0, 1.0, 2.0])])
    assert out.value.tolist() == [2.0, 1.0, 0.0]


def test_a_sample_exactly_at_the_watermark_is_neither_late_nor_overtaken() -> None:
    core = new()
    assert len(core.push(Batch.of(series=0, ts=[100, 80], seq=[1, 5], value=0.0))) == 0
    assert len(core.push(Batch.of(series=0, ts=[80], seq=[4], value=0.0))) == 0
    assert core.push(Batch.of(series=0, ts=[101], seq=[2], value=0.0)).seq.tolist() == [4, 5]


def test_a_device_does_not_wait_for_another() -> None:
    assert new().push(Batch.of(series=[0, 2, 2], ts=[10, 10, 31], value=0.0)).series.tolist() == [2]


def test_memory_is_what_lies_within_wait() -> None:
    core, sizes = new(), []
    for start in range(0, 20_000, 500):
        core.push(Batch.of(series=0, ts=np.arange(start, start + 500), value=0.0))
        sizes.append(core.snapshot()["held"].shape[0])
    assert set(sizes) == {WAIT + 1}
    assert core._held.shape[0] <= 2 * (500 + WAIT + 1)


def test_a_snapshot_that_does_not_fit_is_refused() -> None:
    state = new().snapshot()
    with pytest.raises(StateError, match="held rows"):
        new().restore({**state, "value": np.zeros(3)})


def test_no_signals_are_refused() -> None:
    with pytest.raises(ValueError, match="signals"):
        Reorder(0, WAIT, IDLE)
