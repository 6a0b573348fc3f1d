"""clock_correct: how near it comes, what it does with jumps and with rows it must not trust, and the three laws."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.clock_correct import ClockCorrect, ClockOutput
from operators.definition import SECOND, Signal, TwinType
from operators.errors import StateError
from operators.types import TICK, Batch, Quality
from tests.bench import clock as bench
from tests.bench.clock_estimators import ridge_line, seconds

START = 1_760_000_000 * SECOND


def device_batch(*, jump_ns: int = 0, at_secs: int = 30, secs: int = 60, seed: int = 1, rate_hz: int = 50) -> Batch:
    """One device 0.5 s ahead, +40 ppm, exponential delay of 20 ms in order, jumping by `jump_ns`; value = true time."""
    rng = np.random.default_rng(seed)
    true = START + np.arange(secs * rate_hz, dtype=np.int64) * (SECOND // rate_hz)
    ts = true + SECOND // 2 + np.rint(40e-6 * (true - START)).astype(np.int64)
    ts[true >= START + at_secs * SECOND] += jump_ns
    arrival = np.maximum.accumulate(true + np.rint(1e9 * rng.exponential(0.02, true.size)).astype(np.int64))
    return Batch.of(series=np.zeros(true.size), ts=ts, arrival=arrival, value=(true - START) * 1e-9)


def error_secs(out: ClockOutput) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return (out.batch.ts - START) * 1e-9 - out.batch.value


def test_the_last_ten_of_sixty_seconds_are_within_two_milliseconds_for_every_seed() -> None:
    row = bench.measure(bench.CASES["exponential"], 20)
    assert float(row["rms_ms_max"]) < 2.0


def test_the_bench_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--json", "--seeds", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["rms_ms"] < 2.0


def test_the_line_is_the_one_a_plain_hull_over_all_points_gives() -> None:
    true, device, arrival = bench.simulate(bench.CASES["exponential"], 3)
    out = ClockCorrect(1, mode="device").push(
        Batch.of(series=np.zeros(true.size), ts=device, arrival=arrival, value=np.zeros(true.size))
    )
    newest = int(np.argmax(device))
    order = np.argsort(device[: newest + 1])
    t, y = seconds(device - device[0])[order], seconds(arrival - device)[order]
    assert 1e-9 * (out.batch.ts - device)[newest] == pytest.approx(ridge_line(t, y), abs=0.2e-3)


def test_most_errors_lie_within_the_uncertainty() -> None:
    out = ClockCorrect(1, mode="device").push(device_batch())
    known = (out.batch.quality & Quality.CLOCK_UNCERTAIN) == 0
    assert np.mean(np.abs(error_secs(out)[known]) <= 1e-9 * out.uncertainty_ns[known]) > 0.9


@pytest.mark.parametrize("jump_secs", [3.0, 0.3, -0.5, -4.0, 3600.0, -3600.0])
def test_a_jump_of_the_device_clock_is_found_measured_and_followed(jump_secs: float) -> None:
    out = ClockCorrect(1, mode="device").push(device_batch(jump_ns=int(jump_secs * SECOND)))
    assert 1e-9 * out.steps.jump_ns == pytest.approx([jump_secs], abs=0.02)
    assert 30.0 < out.batch.value[out.steps.row[0]] < 41.0
    assert np.abs(error_secs(out)[-500:]).max() < 2e-3


def test_rows_an_hour_ahead_are_quarantined_until_they_are_known_to_be_a_jump() -> None:
    batch = device_batch(jump_ns=3600 * SECOND)
    out = ClockCorrect(1, mode="device").push(batch)
    ahead = np.flatnonzero(out.quarantined)
    assert ahead[0] == 1500 and ahead[-1] < out.steps.row[0] < 1600
    assert (out.batch.ts - batch.arrival)[1500:][~out.quarantined[1500:]].max() <= 0


def test_one_row_an_hour_ahead_is_quarantined_and_moves_nothing() -> None:
    batch = device_batch()
    wrong = batch.ts.copy()
    wrong[2000] += 3600 * SECOND
    out = ClockCorrect(1, mode="device").push(batch.replace(ts=wrong))
    plain = ClockCorrect(1, mode="device").push(batch)
    assert np.flatnonzero(out.quarantined).tolist() == [2000]
    assert np.abs((out.batch.ts - plain.batch.ts)[2001:]).max() < 1_000_000
    assert out.steps.row.size == 0


def test_a_drained_spool_is_no_jump_and_its_rows_keep_their_true_times() -> None:
    batch = device_batch()
    late = (batch.value >= 30.0) & (batch.value < 50.0)
    held = START + 50 * SECOND + np.cumsum(late) * 100_000
    out = ClockCorrect(1, mode="device").push(batch.replace(arrival=np.where(late, held, batch.arrival)))
    assert out.steps.row.size == 0
    assert np.abs(error_secs(out)[1000:]).max() < 2e-3


def test_blocks_of_ten_seconds_are_corrected_by_their_newest_rows() -> None:
    batch = device_batch(secs=300)
    block = np.arange(len(batch)) // 500
    sent = batch.replace(arrival=batch.arrival[block * 500 + 499], offset=block)
    out = ClockCorrect(1, mode="device").push(sent)
    assert out.steps.row.size == 0
    assert np.abs(error_secs(out)[-500:]).max() < 15e-3


def test_the_drift_is_kept_over_an_hour_of_silence() -> None:
    batch = device_batch(secs=120)
    later = np.where(batch.value >= 60.0, 3600 * SECOND, 0)
    drift = np.rint(40e-6 * later).astype(np.int64)
    shifted = batch.replace(ts=batch.ts + later + drift, arrival=batch.arrival + later)
    out = ClockCorrect(1, mode="device").push(shifted)
    error = 1e-9 * (out.batch.ts - START - later) - batch.value
    assert np.abs(error[3100:]).max() < 10e-3
    assert out.steps.row.size == 0


def test_a_new_boot_starts_anew() -> None:
    batch = device_batch(jump_ns=-1000 * SECOND)
    boot = (batch.value >= 30.0).astype(np.int32)
    out = ClockCorrect(1, mode="device").push(batch.replace(boot=boot))
    assert out.steps.row.size == 0
    assert out.batch.quality[1500] & Quality.CLOCK_UNCERTAIN
    assert np.abs(error_secs(out)[-500:]).max() < 2e-3


def test_a_row_without_a_time_of_its_own_keeps_its_arrival_and_teaches_nothing() -> None:
    batch = device_batch()
    odd = np.arange(len(batch)) % 2 == 1
    mixed = batch.replace(
        ts=np.where(odd, batch.arrival, batch.ts),
        quality=np.where(odd, int(Quality.ARRIVAL_AS_TIME), 0).astype(np.uint8),
    )
    out = ClockCorrect(1, mode="device").push(mixed)
    alone = ClockCorrect(1, mode="device").push(batch.take(~odd))
    assert out.batch.ts[odd].tolist() == batch.arrival[odd].tolist()
    assert out.batch.ts[~odd].tolist() == alone.batch.ts.tolist()


def test_a_trusted_clock_is_passed_on_as_it_is_even_far_ahead() -> None:
    batch = device_batch(jump_ns=3600 * SECOND)
    out = ClockCorrect(1).push(batch)
    assert out.batch.ts.tolist() == batch.ts.tolist()
    assert not out.quarantined.any() and not out.batch.quality.any()


def test_samples_of_one_boot_keep_their_order_and_equal_times_stay_equal() -> None:
    batch = device_batch(rate_hz=500, secs=20)
    twice = batch.take(np.repeat(np.arange(len(batch)), 2))
    out = ClockCorrect(2, mode="device").push(twice)
    gaps = np.diff(out.batch.ts)
    assert (gaps[::2] == 0).all()
    assert (gaps[1::2] > 0).all()


def test_the_horizon_of_a_slow_device_holds_sixty_messages() -> None:
    kind = TwinType(name="slow", version=1, signals=(Signal("a", rate_hz=0.1),), clock="device")
    batch = device_batch(secs=6000)
    out = ClockCorrect.of(kind).push(batch.take(slice(0, None, 500)))
    assert not (out.batch.quality[-100:] & Quality.CLOCK_UNCERTAIN).any()
    assert np.abs(error_secs(out)[-100:]).max() < 20e-3


def test_a_tick_passes_unchanged() -> None:
    tick = Batch.of(series=[TICK], ts=[7], arrival=[9], value=[0.0])
    out = ClockCorrect(3, mode="device").push(tick)
    assert out.batch.ts.tolist() == [7] and not out.quarantined.any()


def test_a_snapshot_of_another_shape_is_refused() -> None:
    with pytest.raises(StateError, match="clock_correct"):
        ClockCorrect(1, mode="device").restore({"boot": np.zeros(1, np.int64)})


@st.composite
def streams(draw: st.DrawFn) -> Batch:
    """Some devices with jumps, outliers, ticks, boots and rows without a time, in order of arrival."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = draw(st.integers(1, 300))
    series = rng.integers(-1, 6, n)
    true = START + np.cumsum(rng.integers(0, SECOND // 5, n))
    jumps = rng.choice([0, 0, 0, 2 * SECOND, -2 * SECOND, 3600 * SECOND], 3)
    ts = true + np.where(np.arange(n) > n // 2, jumps[np.maximum(series, 0) // 2], 0)
    ts -= np.where(rng.random(n) < 0.1, rng.integers(0, 20 * SECOND, n), 0)
    return Batch.of(
        series=series,
        ts=ts,
        arrival=true + rng.integers(0, SECOND // 10, n),
        value=np.zeros(n),
        quality=np.where(rng.random(n) < 0.05, int(Quality.ARRIVAL_AS_TIME), 0),
        boot=(np.arange(n) > draw(st.integers(0, 2 * n))).astype(np.int32),
        offset=np.cumsum(rng.random(n) < 0.6),
    )


def run(batch: Batch, cuts: list[int], *, resume: bool = False) -> list[list[int]]:
    """All result columns over the pieces of the batch; `resume` puts a snapshot and a new core at every cut."""
    core = ClockCorrect(2, mode="device")
    edges = [0, *sorted({c % len(batch) for c in cuts} - {0}), len(batch)]
    columns: list[list[int]] = [[] for _ in range(9)]
    for a, b in pairwise(edges):
        out = core.push(batch.take(slice(a, b)))
        steps = dataclasses.replace(out.steps, row=out.steps.row + a)
        found = [out.batch.ts, out.batch.quality, out.quarantined, out.uncertainty_ns]
        for column, part in zip(
            columns, [*found, *(getattr(steps, f.name) for f in dataclasses.fields(steps))], strict=True
        ):
            column.extend(part.tolist())
        if resume:
            state = core.snapshot()
            core = ClockCorrect(2, mode="device")
            core.restore(state)
    return columns


@settings(max_examples=40, deadline=None)
@given(batch=streams(), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_cutting_the_stream_replaying_it_and_resuming_it_change_nothing(batch: Batch, cuts: list[int]) -> None:
    whole = run(batch, [])
    assert run(batch, cuts) == whole
    assert run(batch, []) == whole
    assert run(batch, cuts, resume=True) == whole


def test_a_core_that_goes_on_after_a_snapshot_leaves_the_snapshot_alone() -> None:
    core, batch = ClockCorrect(1, mode="device"), device_batch()
    core.push(batch.take(slice(0, 100)))
    state = core.snapshot()
    before = {k: v.tolist() for k, v in state.items()}
    core.push(batch.take(slice(100, 900)))
    assert {k: v.tolist() for k, v in state.items()} == before
