"""The plants: deterministic, inside their ranges, true to their equations, and they do as they are told."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.physics.fleet import SimulatedFleet
from models.physics.machine import Machines
from models.physics.plant import Plant
from models.physics.pump import Pumps
from models.physics.routes import closed_routes
from models.physics.vehicle import Vehicles
from operators.types import F64
from tests.models.fleet_frames import FLEET, START_NS, new

KINDS: tuple[type[Vehicles] | type[Machines] | type[Pumps], ...] = (Vehicles, Machines, Pumps)


def run(plant: Plant, seconds: float, dt: float = 0.1) -> F64:
    """Readings of every step, float64[steps, devices, channels]."""
    made: list[F64] = []
    for _ in range(round(seconds / dt)):
        plant.step(dt)
        made.append(plant.read())
    return np.array(made)


def column(plant: Plant, values: F64, name: str) -> F64:
    return np.asarray(values[:, 0, [c.name for c in plant.channels].index(name)])


def line(wear: float = 20.0) -> Machines:
    one = Machines(["machine-1"], np.random.default_rng(7))
    one.wear[:] = wear
    return one


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_a_plant_has_exactly_the_signals_of_its_type_with_their_rates_and_ranges(kind: type[Plant]) -> None:
    twin = FLEET.types[kind.kind]
    ours = {c.name: (c.rate_hz, c.low, c.high) for c in kind.channels}
    assert ours == {s.name: (s.rate_hz, s.low, s.high) for s in twin.signals}


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
def test_a_plant_knows_every_verb_of_its_type(kind: type[Vehicles] | type[Machines] | type[Pumps]) -> None:
    plant = kind(["x-1"], np.random.default_rng(1))
    assert set(plant.verbs()) == {c.verb for c in FLEET.types[kind.kind].commands}
    refused = plant.command("x-1", "stopp")
    assert not refused.accepted
    assert "knows no 'stopp'" in refused.detail


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.kind)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), dt=st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_any_step_up_to_a_second_is_stable_and_inside_the_range(
    kind: type[Vehicles] | type[Machines] | type[Pumps], seed: int, dt: float
) -> None:
    plant = kind(["a", "b", "c"], np.random.default_rng(seed))
    values = run(plant, 300 * dt, dt)
    low, high = (np.array([getattr(c, side) for c in plant.channels]) for side in ("low", "high"))
    inside = (values >= low) & (values <= high)
    changing = np.array([c.rate_hz == 0 for c in plant.channels])
    assert inside[:, :, ~changing].all()
    assert (inside | np.isnan(values)).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.5, 1.0, 4.0]))
def test_equal_arguments_give_equal_readings(seed: int, scale: float) -> None:
    first, second = (new(vehicles=2, seed=seed, rate_scale=scale) for _ in range(2))
    assert [first.step() for _ in range(50)] == [second.step() for _ in range(50)]


def test_another_seed_is_another_fleet() -> None:
    assert new(seed=1).step()[0].signals != new(seed=2).step()[0].signals


def test_a_fleet_sends_at_the_rates_of_the_types_and_counts_every_message() -> None:
    fleet = new(vehicles=2, machines=1, pumps=1)
    readings = [r for _ in range(600) for r in fleet.step()]
    count = Counter((r.device, name) for r in readings for name in r.signals)
    for (device, name), n in count.items():
        twin = FLEET.type_of(device)
        assert twin is not None
        rate = twin.signals[twin.index[name]].rate_hz
        assert rate == 0.0 or abs(n - 60 * rate) <= 1, (device, name, n)
    assert set(readings[0].signals) == {s.name for s in FLEET.types["vehicle"].signals}
    for device in fleet.devices:
        assert [r.seq for r in readings if r.device == device] == list(
            range(len([r for r in readings if r.device == device]))
        )
    assert readings[0].ts_ns == START_NS


def test_rate_scale_multiplies_the_samples_and_not_the_time() -> None:
    fleet = new(vehicles=1, machines=0, pumps=0, rate_scale=5.0)
    readings = [r for _ in range(500) for r in fleet.step()]
    assert len(readings) == 500
    assert fleet.next_ns == START_NS + 10 * 10**9
    with pytest.raises(ValueError, match="rate_scale is from"):
        new(rate_scale=1000.0)


def test_skipped_steps_pass_without_readings() -> None:
    fleet = new(vehicles=1, machines=0, pumps=0)
    assert fleet.skip(START_NS + 250_000_000) == 3
    assert fleet.step()[0].ts_ns == START_NS + 300_000_000
    assert fleet.skip(START_NS) == 0


def test_routes_are_closed_and_a_vehicle_never_leaps() -> None:
    routes = closed_routes(5, np.random.default_rng(3))
    assert np.allclose(routes.at(routes.lat, routes.metres), routes.at(routes.lat, np.zeros(5)), atol=1e-9)
    cars = Vehicles(["v"], np.random.default_rng(3))
    values = run(cars, 900)
    north, east = (np.radians(np.diff(column(cars, values, f"gps.{x}"))) * 6_371_000 for x in ("lat", "lon"))
    moved = np.hypot(north, east * np.cos(np.radians(48.1)))
    assert moved.max() < 0.1 * 20.0 + 1.5
    speed = column(cars, values, "speed")
    assert 20.0 < speed.mean() < 60.0
    assert np.abs(np.diff(speed)).max() < 3.0


def test_a_vehicle_stops_at_red_lights_and_drives_on() -> None:
    cars = Vehicles([f"v{i}" for i in range(20)], np.random.default_rng(1))
    stood = np.zeros(20)
    for _ in range(9000):
        cars.step(0.1)
        stood += 0.1 * (cars.speed == 0.0)
    assert np.count_nonzero(stood) >= 3
    assert stood.max() < 100.0


def test_a_leak_overheats_the_engine_and_limit_power_helps() -> None:
    cars = Vehicles(["v"], np.random.default_rng(1))
    cars.disturb("v", "leak", 0.9)
    hot = column(cars, run(cars, 600), "coolant")
    assert hot.max() > 112.0
    assert cars.command("v", "limit_power", {"share": 7}).detail == "share is 7; it must be a number from 0.2 to 1"
    assert cars.command("v", "immobilise").accepted
    assert column(cars, run(cars, 60), "speed")[-1] == 0.0
    cars.command("v", "clear_codes")
    assert column(cars, run(cars, 60), "speed").max() > 10.0


def test_wear_raises_vibration_load_power_and_temperature() -> None:
    little, much = (run(line(wear), 600) for wear in (5.0, 75.0))
    for name in ("vibration", "spindle_load", "power", "temperature"):
        assert column(line(), much, name)[3000:].mean() > 1.05 * column(line(), little, name)[3000:].mean(), name


def test_a_worn_tool_is_changed_on_command_or_by_the_machine_itself_at_its_end() -> None:
    one = line(90.0)
    assert one.command("machine-1", "change_tool").accepted
    assert one.wear[0] == 0.0
    loads = column(one, run(one, 7.0), "spindle_load")
    assert loads[-1] < 5.0
    assert column(one, run(one, 20.0), "spindle_load").max() > 40.0
    other = line(99.9)
    run(other, 60.0)
    assert other.wear[0] < 5.0


def test_reduced_feed_calms_a_broken_edge_and_makes_parts_slower() -> None:
    one = line()
    one.disturb("machine-1", "wear", 20.0)
    assert column(one, run(one, 30), "vibration").max() > 7.5
    assert one.command("machine-1", "reduce_feed", {"share": 0.5}).accepted
    calm = run(one, 90)
    assert column(one, calm, "vibration")[300:].max() < 7.0
    assert np.nanmax(column(one, calm, "cycle_time")) > 15.0
    assert not one.command("machine-1", "reduce_feed", {"share": 0}).accepted


def test_a_stopped_machine_stands_still_and_counts_on_after_the_start() -> None:
    one = line()
    run(one, 30)
    one.command("machine-1", "stop")
    parts = float(one.parts_good[0] + one.parts_scrap[0])
    still = run(one, 30)
    assert column(one, still, "vibration")[-1] < 0.4
    assert np.isnan(column(one, still, "parts_good")).all()
    one.command("machine-1", "start")
    run(one, 30)
    assert one.parts_good[0] + one.parts_scrap[0] > parts
    one.command("machine-1", "reset_counters")
    assert column(one, run(one, 0.1), "parts_good")[0] == 0.0


def test_a_pump_works_where_its_curve_meets_the_pipework() -> None:
    pumps = Pumps(["p"], np.random.default_rng(1))
    run(pumps, 60)
    q, s = float(pumps.flow[0]), float(pumps.speed[0])
    assert 1.6 * s**2 - 3.0e-5 * q**2 == pytest.approx(float(pumps.pressure[0]) + 0.2, rel=1e-9)
    assert pumps.command("p", "set_speed", {"speed_rpm": 1450}).accepted
    half = column(pumps, run(pumps, 60), "volume_flow")[300:].mean()
    assert half == pytest.approx(q / 2, rel=0.08)
    assert not pumps.command("p", "set_speed", {}).accepted
    pumps.command("p", "stop")
    assert column(pumps, run(pumps, 60), "volume_flow")[-1] < 2.0
    pumps.command("p", "start")
    assert column(pumps, run(pumps, 60), "speed_rpm")[-1] > 2850


def test_a_clogged_pump_gives_less_and_a_reset_flushes_it() -> None:
    pumps = Pumps(["p"], np.random.default_rng(1))
    pumps.disturb("p", "clog", 80.0)
    assert column(pumps, run(pumps, 10), "volume_flow").max() < 15.0
    assert column(pumps, run(pumps, 10), "pressure").max() < 3.0
    pumps.command("p", "reset")
    assert column(pumps, run(pumps, 30), "volume_flow")[-1] > 85.0


def test_a_command_to_nobody_is_an_error() -> None:
    fleet = SimulatedFleet(start_ns=START_NS)
    assert fleet.command("machine-2", "stop").accepted
    with pytest.raises(KeyError):
        fleet.command("machine-9", "stop")
    with pytest.raises(KeyError):
        line().disturb("machine-1", "leak", 1.0)
