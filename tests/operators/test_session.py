"""Sessions and counts: a plain loop that keeps every sample as oracle, polars for the last word, the three laws."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import NamedWindow, WindowSpec
from operators.errors import StateError
from operators.reorder import Reorder
from operators.session import CountWindow, Session
from operators.types import NO_TIME, TICK, Batch, Quality
from operators.window import WindowOutput
from operators.window_extra import ExtraState
from tests.operators.test_window import EVENTS, Events, assert_same, batch_of, cut, joined

SIGNALS, IDLE = ("a", "b"), 60
SPEC = NamedWindow("w", "session", SIGNALS, quantiles=(0.5,), crest=True)
TIMES = st.sampled_from(
    [
        WindowSpec(length_ns=10, wait_ns=20),
        WindowSpec(length_ns=6, wait_ns=0, allowed_lateness_ns=30),
        WindowSpec(length_ns=15, wait_ns=5, allowed_lateness_ns=15),
        WindowSpec(length_ns=1, wait_ns=3),
    ]
)
Emission = tuple[int, int, int, int, bool, int, int]
"""series, start, end, revision, is_final, offset, count."""


def session(times: WindowSpec) -> Session:
    return Session(times, IDLE, ExtraState(SPEC, SIGNALS))


def run(core: Session | CountWindow, parts: list[Batch]) -> WindowOutput:
    return joined([*(core.push(part) for part in parts), core.finish()])


def emissions(out: WindowOutput) -> list[Emission]:
    columns = (out.series, out.start_ns, out.end_ns, out.revision, out.is_final, out.offset, out.count)
    return list(zip(*(c.tolist() for c in columns), strict=True))


class Told:
    """One open session of the oracle."""

    def __init__(self, times: list[int]) -> None:
        self.times, self.revision, self.changed = times, -1, True


class Oracle:
    def __init__(self, times: WindowSpec) -> None:
        self.t = times
        self.w: dict[int, int] = {}
        self.heard: dict[int, int] = {}
        self.open: dict[int, list[Told]] = {}
        self.closed: dict[int, int] = {}
        self.out: list[Emission] = []
        self.taken: list[bool] = []

    def end(self, s: Told) -> int:
        return max(s.times) + self.t.length_ns

    def tell(self, series: int, s: Told, final: bool, offset: int) -> Emission:
        s.revision, s.changed = s.revision + s.changed, False
        return (series, min(s.times), self.end(s), s.revision, final, offset, len(s.times))

    def close(self, offset: int) -> None:
        found = []
        for series, sessions in self.open.items():
            w = self.w[series // 2]
            for s in list(sessions):
                if w >= self.end(s) + self.t.allowed_lateness_ns:
                    found.append(self.tell(series, s, True, offset))
                    sessions.remove(s)
                    self.closed[series] = max(self.closed.get(series, NO_TIME), self.end(s))
                elif w >= self.end(s) and s.changed:
                    found.append(self.tell(series, s, False, offset))
        self.out += found

    def push(self, series: int, ts: int, arrival: int, offset: int) -> None:
        if series == TICK:
            for d, heard in self.heard.items():
                if arrival - heard >= IDLE:
                    self.w[d] = max(self.w[d], arrival - self.t.wait_ns)
            self.close(offset)
            self.taken.append(True)
            return
        d, pause = series // 2, self.t.length_ns
        self.heard[d] = arrival
        self.w[d] = max(self.w.get(d, NO_TIME), ts - self.t.wait_ns)
        self.close(offset)
        sessions = self.open.setdefault(series, [])
        touched = [s for s in sessions if min(s.times) < ts + pause and ts < self.end(s)]
        refused = ts < self.closed.get(series, NO_TIME)
        refused |= not touched and self.w[d] >= ts + pause + self.t.allowed_lateness_ns
        self.taken.append(not refused)
        if refused:
            return
        touched.sort(key=lambda s: min(s.times))
        lost = touched[1:] + [s for s in touched[:1] if ts < min(s.times)]
        for s in lost:
            if s.revision >= 0:
                self.out.append((series, min(s.times), self.end(s), s.revision + 1, True, offset, 0))
        one = Told([ts, *(t for s in touched for t in s.times)])
        if touched and touched[0] not in lost:
            one.revision = touched[0].revision
        self.open[series] = [*(s for s in sessions if s not in touched), one]
        if self.w[d] >= self.end(one):
            self.out.append(self.tell(series, one, False, offset))

    def finish(self, offset: int) -> None:
        self.out += [self.tell(series, s, True, offset) for series, found in self.open.items() for s in found]


@given(events=EVENTS, times=TIMES)
@settings(max_examples=80, deadline=None)
def test_every_emission_is_that_of_a_plain_loop(events: Events, times: WindowSpec) -> None:
    batch, oracle, found = batch_of(events), Oracle(times), list[Emission]()
    core = session(times)
    columns = (batch.series, batch.ts, batch.arrival, batch.offset)
    for i, row in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        oracle.push(*row)
        out = core.push(batch.take(slice(i, i + 1)))
        found += emissions(out)
        assert out.taken.tolist() == oracle.taken[-1:]
        assert sorted(emissions(out)) == sorted(oracle.out[len(found) - len(out) :])
    oracle.finish(int(batch.offset[-1]) if events else -1)
    assert sorted(found + emissions(core.finish())) == sorted(oracle.out)


@given(events=EVENTS, times=TIMES, at=st.lists(st.integers(0, 70), max_size=6))
@settings(max_examples=40, deadline=None)
def test_cutting_replaying_and_resuming_change_nothing(events: Events, times: WindowSpec, at: list[int]) -> None:
    batch = batch_of(events)
    whole = run(session(times), [batch])
    assert_same(run(session(times), [batch]), whole)
    assert_same(run(session(times), cut(batch, at)), whole)
    core, found = session(times), list[WindowOutput]()
    for part in cut(batch, at):
        found.append(core.push(part))
        state, core = core.snapshot(), session(times)
        core.restore(state)
    assert_same(joined([*found, core.finish()]), whole)


def statistics(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by("series", "session").agg(
        start=pl.col("ts").min(), count=pl.len(), mean=pl.col("x").mean(), sd=pl.col("x").std(ddof=0),
        low=pl.col("x").min(), high=pl.col("x").max(), p50=pl.col("x").quantile(0.5, "lower"),
        slope=pl.cov(pl.col("ts") / 1e9, pl.col("x"), ddof=0) / (pl.col("ts") / 1e9).var(ddof=0),
    ).sort("series", "start")  # fmt: skip


def test_sessions_of_a_disordered_stream_are_those_polars_cuts_at_each_pause() -> None:
    rng, second = np.random.default_rng(5), 10**9
    n, times = 6000, WindowSpec(length_ns=10**9, wait_ns=2 * 10**9, allowed_lateness_ns=3 * 10**9)
    arrival = np.cumsum(rng.choice([10, 2500], n, p=[0.97, 0.03]) * 10**6)
    batch = Batch.of(
        series=rng.integers(0, 4, n),
        ts=arrival - rng.integers(0, second, n),
        arrival=arrival,
        value=rng.normal(50, 9, n),
    )
    out = run(session(times), cut(batch, [999, 4000]))
    assert out.taken.all()
    last: dict[tuple[int, int], int] = {}
    for i in np.flatnonzero(out.is_final):
        last[int(out.series[i]), int(out.start_ns[i])] = int(i)
    kept = [i for _, i in sorted(last.items()) if out.count[i]]
    frame = pl.DataFrame({"series": batch.series, "ts": batch.ts, "x": batch.value}).sort("series", "ts")
    pause = pl.col("ts").diff().over("series") >= second
    theirs = statistics(frame.with_columns(session=pause.fill_null(value=True).cum_sum().over("series")))
    assert out.start_ns[kept].tolist() == theirs["start"].to_list()
    assert out.count[kept].tolist() == theirs["count"].to_list()
    ours: dict[str, Any] = {"mean": out.mean, "sd": out.sd, "low": out.min, "high": out.max, "slope": out.slope}
    for name, column in (ours | {"p50": out.extra[:, 0]}).items():
        np.testing.assert_allclose(
            column[kept], theirs[name].fill_null(float("nan")), rtol=3e-6, atol=1e-7, err_msg=name
        )


def test_a_late_sample_that_joins_two_told_sessions_takes_the_later_one_back() -> None:
    core = session(WindowSpec(length_ns=10, wait_ns=0, allowed_lateness_ns=100))
    told = emissions(core.push(Batch.of(series=0, ts=[1, 15, 40, 8], value=0.0)))
    assert [e[1:5] + e[6:] for e in told] == [(1, 11, 0, False, 1), (15, 25, 0, False, 1), (15, 25, 1, True, 0),
                                              (1, 25, 1, False, 3)]  # fmt: skip


def test_a_snapshot_of_other_signals_is_refused() -> None:
    other = Session(WindowSpec(), IDLE, ExtraState(NamedWindow("w", "session", ("b",)), SIGNALS))
    with pytest.raises(StateError, match="session"):
        session(WindowSpec()).restore(other.snapshot())


COUNTED = NamedWindow("n", "count", ("b",), count=3)


def counts() -> CountWindow:
    return CountWindow(3, ExtraState(COUNTED, SIGNALS))


def ordered(events: Events) -> Batch:
    core = Reorder(2, 20, IDLE)
    return Batch.join([core.push(batch_of(events)), core.finish()])


@given(events=EVENTS, at=st.lists(st.integers(0, 70), max_size=5))
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_a_plain_loop_at_any_cut_and_after_any_resume(events: Events, at: list[int]) -> None:
    batch, held, wanted = ordered(events), dict[int, list[int]](), list[tuple[int, int, int, int]]()
    for series, ts, quality in zip(batch.series.tolist(), batch.ts.tolist(), batch.quality.tolist(), strict=True):
        if series % 2 == 0 or quality & Quality.LATE:
            continue
        if len(held.get(series, [])) >= 3 and ts > held[series][-1]:
            times = held.pop(series)
            wanted.append((series, times[0], times[-1] + 1, len(times)))
        held.setdefault(series, []).append(ts)
    wanted += sorted((s, t[0], t[-1] + 1, len(t)) for s, t in held.items())
    core, found = counts(), list[WindowOutput]()
    for part in cut(batch, at):
        found.append(core.push(part))
        state, core = core.snapshot(), counts()
        core.restore(state)
    out = joined([*found, core.finish()])
    got = list(zip(out.series.tolist(), out.start_ns.tolist(), out.end_ns.tolist(), out.count.tolist(), strict=True))
    closed = len(wanted) - len(held)
    assert got[:closed] == wanted[:closed]
    assert sorted(got[closed:]) == wanted[closed:]
    assert_same(out, run(counts(), [batch]))
    assert all(a < b for a, b in pairwise(sorted(zip(out.series.tolist(), out.start_ns.tolist(), strict=True))))


def test_the_columns_of_an_output_are_of_one_length() -> None:
    out = run(counts(), [Batch.of(series=1, ts=[1, 2, 3, 4], value=1.0)])
    lengths = {len(getattr(out, f.name)) for f in fields(out) if f.name not in ("taken", "late")}
    assert lengths == {2}
