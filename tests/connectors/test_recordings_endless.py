"""Recordings laid end to end over all time."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from connectors.recordings.endless import Endless, Lapsed, Loop
from connectors.recordings.recording import open_recording

LOOPS = st.lists(
    st.builds(
        lambda name, steps, pause: loop(name, np.cumsum([0, *steps]).tolist(), pause),
        st.sampled_from("abc"),
        st.lists(st.integers(0, 9), max_size=6),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda made: made.device[0],
)
STARTS = st.integers(0, 10**6)


def loop(name: str, offsets: list[int], pause: int) -> Loop:
    rows = [msgspec.Raw(str(i).encode()) for i in range(len(offsets))]
    return Loop([name] * len(offsets), rows, np.array(offsets, np.int64), offsets[-1] + pause)


def played(source: Endless, until_ns: int) -> list[Lapsed]:
    made: list[Lapsed] = []
    while source.next_ns < until_ns:
        made += source.step()
    return made


def seen(messages: list[Lapsed]) -> list[tuple[str, int, bytes]]:
    return [(m.device, m.ts_ns, bytes(m.signals)) for m in messages]


@given(loops=LOOPS, start=STARTS, parts=st.lists(st.integers(0, 40), min_size=1, max_size=4))
def test_whoever_stops_and_starts_again_goes_on_as_if_nothing_had_been(
    loops: list[Loop], start: int, parts: list[int]
) -> None:
    ends = (start + np.cumsum(parts)).tolist()
    whole = seen(played(Endless(loops, start), ends[-1]))
    cut = [m for a, b in zip([start, *ends[:-1]], ends, strict=True) for m in seen(played(Endless(loops, a), b))]
    assert cut == whole


@given(loops=LOOPS, start=STARTS)
def test_times_never_go_back_and_every_row_comes_in_its_turn(loops: list[Loop], start: int) -> None:
    messages = played(Endless(loops, start), start + 60)
    times = [m.ts_ns for m in messages]
    assert times == sorted(times)
    for made in loops:
        mine = [m for m in messages if m.device == made.device[0]]
        rows = [int(bytes(m.signals)) for m in mine]
        assert [m.seq for m in mine] == list(range(len(mine)))
        assert rows == [(rows[0] + i) % len(made.device) for i in range(len(rows))] if rows else True


@given(loops=LOOPS, start=STARTS, ahead=st.integers(0, 100))
def test_what_is_skipped_is_counted_and_the_rest_is_as_ever(loops: list[Loop], start: int, ahead: int) -> None:
    source = Endless(loops, start)
    left_out = len(played(Endless(loops, start), start + ahead))
    assert source.skip(start + ahead) == left_out
    assert seen(played(source, start + ahead + 30)) == seen(played(Endless(loops, start + ahead), start + ahead + 30))


def test_a_lapse_shrinks_times_and_the_beginning_can_be_left_out() -> None:
    whole = Loop.of(open_recording("citylearn"), lapse=3600, pause_ns=10**9)
    assert (len(whole.device), whole.period_ns) == (8760, 8760 * 10**9)
    assert set(np.diff(whole.offset_ns).tolist()) == {10**9}
    late = Loop.of(open_recording("citylearn"), lapse=3600, skip_ns=7200 * 10**9, pause_ns=10**9)
    assert bytes(late.signals[0]) == bytes(whole.signals[2])
    assert (late.offset_ns[0], len(late.device)) == (0, 8758)
