"""The fault lab: what a fault's text means, what is refused, and what faults do to readings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.faults import KINDS, Fault, FaultError, SensorFault, parse
from models.physics.fleet import Reading, SimulatedFleet, scenario
from tests.models.fleet_frames import START_NS

NAMES = st.text("abcxyz-*0123456789", min_size=1, max_size=12)


def fleet(*texts: str, vehicles: int = 2, start_ns: int = START_NS) -> SimulatedFleet:
    return SimulatedFleet(vehicles=vehicles, start_ns=start_ns, faults=[parse(t) for t in texts])


def readings(made: SimulatedFleet, seconds: float) -> dict[str, list[Reading]]:
    found: dict[str, list[Reading]] = {d: [] for d in made.devices}
    for _ in range(round(seconds * 10)):
        for r in made.step():
            found[r.device].append(r)
    return found


def series(made: list[Reading], name: str) -> list[float]:
    return [r.signals[name] for r in made if name in r.signals]


@given(kind=st.sampled_from(KINDS), device=NAMES, at=st.floats(0, 1e6), amount=st.floats(0.01, 1.0))
def test_what_is_written_is_what_is_read(kind: str, device: str, at: float, amount: float) -> None:
    text = f"{kind}:{amount},for=7@{device}@{at}"
    assert parse(text) == Fault(text, kind, device, at, None, amount, None, 7.0)


def test_a_fault_without_options_takes_the_defaults() -> None:
    assert parse(" stuck @ machine-2 @ 60 ") == Fault(" stuck @ machine-2 @ 60 ", "stuck", "machine-2", 60.0)
    assert parse("stuck@m@60").for_s == math.inf


def test_a_time_may_be_an_instant() -> None:
    fault = parse("stuck@m@2027-01-15T08:00:10.5Z")
    assert fault.start_s(1_800_000_000_000_000_000) == 10.5
    assert parse("stuck@m@2027-01-15T09:00:10.5+01:00").at_ns == fault.at_ns
    assert fault.start_s(1_800_000_000_000_000_000 + 20 * 10**9) == -9.5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not KIND[:AMOUNT]@DEVICE@TIME; write it as drift:0.5@machine-2@60"),
        ("stuck@machine-2", "not KIND[:AMOUNT]@DEVICE@TIME"),
        ("stuck@@3", "not KIND[:AMOUNT]@DEVICE@TIME"),
        ("clockstep@m@1", "no kind 'clockstep'; did you mean 'clock-step'?"),
        ("qq@m@1", "no kind 'qq'; there are: stuck, drift, noise"),
        ("drift:fast@m@1", "amount 'fast' is no number; write a decimal such as 0.5"),
        ("drift:nan@m@1", "amount 'nan' is no number"),
        ("drift:1,signl=a@m@1", "no option 'signl=a'; did you mean 'signal'?"),
        ("drift:1,2@m@1", "no option '2'"),
        ("dropout:1.5@m@1", "dropout of 1.5; give the share of lost messages"),
        ("drift:1,for=-3@m@1", "for=-3 is no duration"),
        ("wear:1,signal=vibration@m@1", "wear has no signal"),
        ("stuck@m@-1", "'-1' is no time; write seconds after the start (60) or an instant with zone"),
        ("stuck@m@inf", "'inf' is no time"),
        ("stuck@m@soon", "'soon' is no time"),
        ("stuck@m@2027-01-15T08:00:10", "is no time"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_write(text: str, why: str) -> None:
    with pytest.raises(FaultError) as refused:
        parse(text)
    assert str(refused.value).startswith(f"fault {text!r}: {why}") or why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("stuck@machine2@1", "no device 'machine2'; did you mean 'machine-2'?"),
        ("stuck@plane-*@1", "no device 'plane-*'"),
        ("stuck:,signal=vibrations@machine-2@1", "has no signal 'vibrations'; did you mean 'vibration'?"),
        ("leak@machine-2@1", "a machine has no 'leak'; there are: stuck, drift, noise"),
    ],
)
def test_a_fault_with_nothing_to_act_on_is_refused(text: str, why: str) -> None:
    with pytest.raises(FaultError, match="fault") as refused:
        fleet(text)
    assert why in str(refused.value)


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(FaultError, match="did you mean 'healthy'"):
        scenario("helthy", [])


def test_a_stuck_sensor_repeats_its_value_and_the_rest_goes_on() -> None:
    made = readings(fleet("stuck@machine-2@3"), 10)["machine-2"]
    assert len(set(series(made, "vibration")[30:])) == 1
    assert len(set(series(made, "power")[30:])) > 20


def test_a_drift_grows_from_its_start_and_ends_after_its_time() -> None:
    plain, drifting = readings(fleet(), 10), readings(fleet("drift:2,for=4@machine-2@3"), 10)
    away = np.subtract(series(drifting["machine-2"], "vibration"), series(plain["machine-2"], "vibration"))
    assert away[:30].tolist() == [0.0] * 30
    assert away[69] == pytest.approx(2 * 3.9, abs=1e-2)
    assert away[70:].tolist() == [0.0] * 30


def test_a_fault_touches_its_device_and_signal_only() -> None:
    plain, broken = readings(fleet(), 5), readings(fleet("noise:5,signal=rpm@vehicle-1@0"), 5)
    assert {d for d in plain if plain[d] != broken[d]} == {"vehicle-1"}
    assert series(plain["vehicle-1"], "speed") == series(broken["vehicle-1"], "speed")
    assert series(plain["vehicle-1"], "rpm") != series(broken["vehicle-1"], "rpm")


def test_a_pattern_hits_all_that_fit_each_by_its_own_numbers() -> None:
    plain, broken = readings(fleet(), 5), readings(fleet("noise@vehicle-*@0"), 5)
    assert {d for d in plain if plain[d] != broken[d]} == {"vehicle-1", "vehicle-2"}
    away = [np.subtract(series(broken[d], "coolant"), series(plain[d], "coolant")) for d in ("vehicle-1", "vehicle-2")]
    assert away[0].tolist() != away[1].tolist()


def test_what_a_broken_sensor_says_stays_inside_what_it_can_say() -> None:
    made = readings(fleet("drift:-50,signal=wear@machine-2@0", "spike:1000,signal=power@machine-1@0"), 30)
    assert min(series(made["machine-2"], "wear")) == 0.0
    assert {0.0, 200.0} & set(series(made["machine-1"], "power"))


def test_a_dropout_loses_messages_whose_numbers_are_missing_then() -> None:
    made = readings(fleet("dropout,for=2@machine-2@1"), 5)["machine-2"]
    assert [r.seq for r in made] == [*range(10), *range(30, 50)]
    some = readings(fleet("dropout:0.3@machine-2@0"), 60)["machine-2"]
    assert 360 < len(some) < 480


def test_a_dropout_of_one_signal_leaves_the_others() -> None:
    made = readings(fleet("dropout:1,signal=power@machine-2@1"), 3)["machine-2"]
    assert len(series(made, "power")) == 10
    assert [r.seq for r in made] == list(range(30))


def test_clock_faults_move_the_times_of_a_device_that_says_so() -> None:
    made = readings(fleet("clock-step:2.5@vehicle-1@1", "clock-drift:1000@machine-2@0"), 3)
    stepped = [r.ts_ns for r in made["vehicle-1"]]
    assert stepped[10] - stepped[9] == 2_600_000_000
    assert made["machine-2"][20].ts_ns == START_NS + 2 * 10**9 + 2_000_000
    assert {d for d, rs in made.items() if not any(r.trusted for r in rs)} == {"vehicle-1", "machine-2"}
    assert all(r.trusted for d in ("vehicle-2", "machine-1", "pump-1") for r in made[d])


def test_a_fault_whose_instant_has_passed_is_there_from_the_start() -> None:
    made = fleet("wear@machine-2@2027-01-15T07:00:00Z")
    made.step()
    assert made.events == ["machine-2: fault wear@machine-2@2027-01-15T07:00:00Z begins"]
    made.step()
    assert made.events == []


def test_faults_draw_the_same_numbers_whatever_they_do() -> None:
    spikes = [SensorFault("spike", 9.0, np.ones(2), np.random.default_rng(5)) for _ in range(2)]
    first, second = ([s.apply(np.zeros(2), k * 0.1, 0.1).tolist() for k in range(200)] for s in spikes)
    assert first == second
    assert {abs(v) for row in first for v in row} == {0.0, 9.0}
