"""Simulated fleets through telemetry and the shipped types: a well one is quiet, a broken one says what is broken."""

from __future__ import annotations

import pytest

from models.faults import parse
from models.physics.fleet import SimulatedFleet, scenario
from tests.models.fleet_frames import START_NS, Telemetry, new


def with_faults(*texts: str, seed: int = 1) -> Telemetry:
    faults = [parse(text) for text in texts]
    return Telemetry(SimulatedFleet(vehicles=2, machines=3, pumps=1, seed=seed, start_ns=START_NS, faults=faults))


def test_ten_minutes_of_a_well_fleet_raise_no_alarm_and_lose_nothing() -> None:
    seen = Telemetry(new()).run(600)
    assert seen.ledger.balance == 0
    assert seen.ledger.samples_in == seen.ledger.samples.applied > 500_000
    assert (seen.reasons, seen.missing, seen.flagged) == ([], 0, {})
    assert [a.message for a in seen.alerts if a.severity == "alarm"] == []
    assert len([a.message for a in seen.alerts if a.state == "raised"]) <= 2


def test_the_default_scenario_raises_one_alarm_with_a_cause_within_half_a_minute() -> None:
    fleet = new()
    faults = scenario("default", fleet.devices)
    seen = Telemetry(SimulatedFleet(start_ns=START_NS, faults=faults)).run(40)
    [alarm] = [a for a in seen.alerts if a.state == "raised"]
    assert (alarm.device, alarm.rule, alarm.severity, alarm.command) == (
        "machine-2", "vibration_high", "alarm", "reduce_feed",
    )  # fmt: skip
    assert 15.0 < (alarm.ts_ns - START_NS) / 1e9 < 30.0
    assert alarm.message.startswith("Vibration is in zone D: vibration ")
    assert alarm.message.endswith(" mm/s is above its limit of 7.1 mm/s")


def test_the_command_that_the_alarm_asks_for_ends_it_for_good() -> None:
    seen = Telemetry(SimulatedFleet(start_ns=START_NS, faults=scenario("default", ["machine-2"]))).run(30)
    assert seen.open("machine-2") == {"vibration_high"}
    [alarm] = seen.raised("machine-2")
    assert seen.fleet.command(alarm.device, alarm.command, {}).accepted
    seen.run(60)
    assert "vibration_high" not in seen.open("machine-2")
    seen.fleet.command("machine-2", "change_tool")
    seen.run(60)
    assert [a.rule for a in seen.raised("machine-2")].count("vibration_high") == 1


def test_without_a_command_the_alarm_stands_and_does_not_flap() -> None:
    seen = Telemetry(SimulatedFleet(start_ns=START_NS, faults=scenario("default", ["machine-2"]))).run(150)
    assert [a.state for a in seen.alerts if a.rule == "vibration_high"] == ["raised"]


@pytest.mark.parametrize(
    ("fault", "device", "found"),
    [
        ("drift:0.5@machine-1@30", "machine-1", "vibration_high"),
        ("spike:20@machine-3@40", "machine-3", "jumps"),
        ("noise:3@machine-3@40", "machine-3", "jumps"),
        ("wear:60@machine-2@15", "machine-2", "tool_worn"),
        ("leak@vehicle-1@5", "vehicle-1", "overheating"),
        ("clog@pump-1@20", "pump-1", "flow_low"),
        ("drift:0.05,signal=pressure@pump-1@1", "pump-1", "overpressure"),
    ],
)
def test_each_fault_is_found_by_a_rule_or_detector_of_its_twin_and_by_no_other(
    fault: str, device: str, found: str
) -> None:
    seen = with_faults(fault)
    seen.run(400 if "leak" in fault else 130)
    assert found in {a.rule for a in seen.raised(device)}
    assert [a.message for a in seen.alerts if a.device != device and a.severity == "alarm"] == []
    assert seen.ledger.samples.rejected == 0


def test_a_sensor_that_is_stuck_is_flagged() -> None:
    seen = with_faults("stuck@machine-1@10").run(60)
    assert seen.flagged["machine-1/vibration"] > 100


def test_a_dropout_that_ends_leaves_a_gap_of_sequence_numbers() -> None:
    seen = with_faults("dropout:0.5,for=20@machine-1@10").run(40)
    assert 60 < seen.missing < 140


def test_a_clock_that_steps_is_corrected_or_kept_apart_and_others_are_not_touched() -> None:
    seen = with_faults("clock-step:5@vehicle-1@60", "clock-drift:500@machine-1@20").run(120)
    assert seen.ledger.balance == 0
    assert seen.ledger.samples.quarantined < 0.2 * seen.ledger.samples_in
    assert [a.message for a in seen.alerts if a.device in ("vehicle-2", "machine-3", "pump-1")] == []
