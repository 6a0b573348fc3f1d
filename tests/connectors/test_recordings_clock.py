"""Pacing and shifting of a replay, without a clock."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.recordings.faults import RecordingError
from connectors.recordings.piece import Piece
from connectors.recordings.replay_clock import ReplayClock, Span, cut_between, parse_limit, parse_speed
from operators.types import I64

SECOND = 1_000_000_000


def piece_of(*ts: int) -> Piece:
    return Piece(["p"] * len(ts), np.array(ts, np.int64), ["x"] * len(ts), np.ones(len(ts), np.int64))


@pytest.mark.parametrize("text", ["0", "-1", "fast", "inf", "nan", ""])
def test_a_speed_is_a_number_over_zero_or_max(text: str) -> None:
    with pytest.raises(ValueError, match=r"speed|convert"):
        parse_speed(text)


def test_a_span_holds_all_times_whatever_their_order() -> None:
    assert Span.of([piece_of(5, 3), piece_of(), piece_of(9, 4)]) == Span(3, 9, 4, 4)
    assert Span.of([]) is None


def test_at_speed_one_the_first_message_is_as_of_now_else_the_last() -> None:
    span = Span(100, 400, 4, 4)
    assert span.shift_ns(1000, at="now", speed=1.0) == 900
    assert span.shift_ns(1000, at="now", speed=0.5) == 600
    assert span.shift_ns(1000, at="now", speed=math.inf) == 600
    assert span.shift_ns(1000, at="recorded", speed=1.0) == 0


def test_max_speed_makes_everything_due_at_once() -> None:
    clock = ReplayClock(speed=math.inf, start_secs=3.0, first_ns=0)
    assert clock.due(np.array([0, 10**15])).tolist() == [3.0, 3.0]


@settings(max_examples=60, deadline=None)
@given(
    ts=st.lists(st.integers(0, 10**12), max_size=30).map(lambda x: np.array(x, np.int64)),
    cut=st.integers(0, 30),
    speed=st.sampled_from([0.5, 1.0, 10.0, math.inf]),
)
def test_due_times_never_go_back_and_do_not_depend_on_the_cut(ts: I64, cut: int, speed: float) -> None:
    whole = ReplayClock(speed=speed, start_secs=7.0, first_ns=0).due(ts)
    clock = ReplayClock(speed=speed, start_secs=7.0, first_ns=0)
    assert np.concatenate([clock.due(ts[:cut]), clock.due(ts[cut:])]).tolist() == whole.tolist()
    assert (np.diff(whole) >= 0).all()
    assert (whole >= 7.0).all()


def test_limits_are_instants_or_durations_since_the_first() -> None:
    assert parse_limit("1.5min", 100, "--from") == 90 * SECOND + 100
    assert parse_limit("1970-01-01T00:00:02+00:00", 100, "--to") == 2 * SECOND
    with pytest.raises(RecordingError, match="--to soon: is neither a time nor a duration"):
        parse_limit("soon", 0, "--to")


def test_a_cut_takes_its_start_and_leaves_its_end() -> None:
    assert cut_between(piece_of(1, 2, 3, 2), 2, 3).ts.tolist() == [2, 2]
    assert cut_between(piece_of(1, 2, 3), None, None).ts.tolist() == [1, 2, 3]
