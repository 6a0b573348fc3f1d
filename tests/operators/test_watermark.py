import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.compiled import kernel
from operators.errors import StateError
from operators.types import NO_TIME
from operators.watermark import Watermarks, _observe, _tick

observe_row, tick_all = kernel(_observe), kernel(_tick)


def marks(devices: int, *, wait: int = 5, idle: int = 100) -> Watermarks:
    held = Watermarks(wait, idle)
    held.hold(devices)
    return held


def observe(held: Watermarks, d: int, ts: int, arrival: int) -> bool:
    return observe_row(held.w, held.last_arrival, d, ts, arrival, held.wait_ns)


def tick(held: Watermarks, arrival: int) -> list[int]:
    tick_all(held.w, held.last_arrival, held.devices, arrival, held.wait_ns, held.idle_timeout_ns)
    return [int(w) for w in held.w[: held.devices]]


def test_the_watermark_is_the_newest_event_time_less_wait_and_never_goes_back() -> None:
    held = marks(1)
    assert [(observe(held, 0, ts, 0), int(held.w[0])) for ts in (10, 8, 11)] == [(True, 5), (False, 5), (True, 6)]


def test_a_tick_moves_only_devices_that_were_silent_for_idle_timeout() -> None:
    held = marks(3)
    observe(held, 0, 50, 60)
    observe(held, 1, 50, 61)
    assert tick(held, 160) == [155, 45, NO_TIME]


def test_a_tick_does_not_move_a_watermark_back() -> None:
    held = marks(1)
    observe(held, 0, 10_000, 60)
    assert tick(held, 500) == [9_995]


@given(events=st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 500), st.integers(0, 80))))
@settings(max_examples=60, deadline=None)
def test_the_watermark_agrees_with_a_plain_loop(events: list[tuple[int, int, int]]) -> None:
    held, newest, heard, expected, now = marks(3), [NO_TIME] * 3, [NO_TIME] * 3, [NO_TIME] * 3, 0
    for d, ts, pause in events:
        now += pause
        if d < 0:
            tick(held, now)
            silent = [i for i in range(3) if heard[i] != NO_TIME and now - heard[i] >= 100]
            for i in silent:
                expected[i] = max(expected[i], now - 5)
        else:
            observe(held, d, ts, now)
            newest[d], heard[d] = max(newest[d], ts), now
            expected[d] = max(expected[d], newest[d] - 5)
        assert held.w[:3].tolist() == expected


def test_a_restored_copy_goes_on_like_the_original_and_shares_nothing_with_it() -> None:
    held = marks(2)
    observe(held, 0, 10, 10)
    state, copy = held.snapshot(), marks(0)
    copy.restore(state)
    observe(held, 1, 99, 99)
    assert copy.w.tolist() == state["w"].tolist() == [5, NO_TIME]
    assert copy.last_arrival.tolist() == [10, NO_TIME]


def test_growing_keeps_what_is_known_and_new_devices_are_unknown() -> None:
    held = marks(1)
    observe(held, 0, 10, 10)
    held.hold(3)
    assert held.w[:3].tolist() == [5, NO_TIME, NO_TIME]


def test_a_snapshot_that_does_not_fit_is_refused() -> None:
    with pytest.raises(StateError, match="w and last_arrival"):
        marks(0).restore({"w": np.zeros(2, np.int64), "last_arrival": np.zeros(1, np.int64)})


@pytest.mark.parametrize(("wait", "idle"), [(-1, 1), (0, 0)])
def test_times_that_make_no_sense_are_refused(wait: int, idle: int) -> None:
    with pytest.raises(ValueError, match="must be >= 0"):
        Watermarks(wait, idle)
