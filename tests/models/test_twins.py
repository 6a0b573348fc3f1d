"""The twin types that ship with twinflow."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import jsonschema
import pytest

from models.ewma import EwmaZ
from models.pca import PcaResidual
from operators.definition import TwinType
from operators.definition_json import canonical_json, definition_hash
from operators.definition_methods import METHODS
from operators.definition_yaml import load, load_fleet, loads
from operators.units import conversion

ROOT = Path(__file__).resolve().parent.parent.parent
TWINS = ROOT / "models" / "twins"
SHIPPED = ("building", "machine", "meter", "pump", "robot", "rover", "vehicle")
TYPES = {name: load(TWINS / f"{name}.yaml") for name in SHIPPED}


def test_exactly_these_types_ship() -> None:
    assert tuple(sorted(p.stem for p in TWINS.glob("*.yaml") if p.stem != "fleet")) == SHIPPED


@pytest.mark.parametrize("t", TYPES.values(), ids=lambda t: t.name)
def test_a_shipped_type_uses_every_part_of_the_vocabulary(t: TwinType) -> None:
    assert t.components
    assert t.align is not None
    assert any(t.align.required)
    lone = len(t.signals) == 1
    assert {d.method for d in t.detectors} == {"ewma_z", "pca_residual"} - ({"pca_residual"} if lone else set())
    assert {r.kind for r in t.rules} == {"above", "below", "absent"} or t.name in ("machine", "meter", "robot")
    assert any(r.command for r in t.rules)
    assert any(c.grave for c in t.commands)
    assert all(s.component for s in t.signals if s.name != "speed")


@pytest.mark.parametrize("t", TYPES.values(), ids=lambda t: t.name)
def test_a_gap_lets_every_signal_of_known_rate_miss_a_sample(t: TwinType) -> None:
    assert t.align is not None
    for signal, gap in zip(t.signals, t.align.max_gap_ns, strict=True):
        assert signal.rate_hz == 0 or gap * signal.rate_hz >= 1.9e9, signal.name


@pytest.mark.parametrize("t", TYPES.values(), ids=lambda t: t.name)
def test_a_rule_fires_outside_of_what_is_normal_and_inside_of_what_can_be(t: TwinType) -> None:
    for rule in t.rules:
        signal = t.signals[t.index[rule.signal]]
        assert rule.kind == "absent" or signal.low < rule.limit < signal.high, rule.id
        assert rule.kind != "above" or rule.limit >= signal.normal_high or t.name == "building", rule.id


@pytest.mark.parametrize("t", TYPES.values(), ids=lambda t: t.name)
def test_a_shipped_type_survives_its_canonical_form(t: TwinType) -> None:
    again = loads(canonical_json(t).decode())
    assert again == t
    assert definition_hash(again) == definition_hash(t)


def test_the_detectors_take_the_settings_that_the_table_lists_at_the_defaults_it_lists() -> None:
    for name, build in (("ewma_z", EwmaZ), ("pca_residual", PcaResidual)):
        parameters = inspect.signature(build).parameters.values()
        keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        assert keywords == METHODS[name].defaults(), name


@pytest.mark.parametrize("t", TYPES.values(), ids=lambda t: t.name)
def test_the_detectors_can_be_built_from_a_shipped_type(t: TwinType) -> None:
    for detector in t.detectors:
        if detector.method == "ewma_z":
            EwmaZ(**detector.settings)
        else:
            PcaResidual(len(detector.signals), **detector.settings)


def test_the_robot_is_laid_out_as_its_contract_says() -> None:
    t = TYPES["robot"]
    assert {(v.name, v.length, v.unit_norm) for v in t.vectors} == {
        ("pose.position", 3, False),
        ("pose.orientation", 4, True),
        ("pose.velocity", 6, False),
        ("joints.positions", 6, False),
        ("joints.velocities", 6, False),
        ("joints.torques", 6, False),
    }
    assert [s.name for s in t.signals if s.name.startswith("sensors.")] == [
        "sensors.battery",
        "sensors.temperature",
        "sensors.cpu_load",
    ]
    assert [t.signals[t.index[f"pose.velocity.{i}"]].unit for i in (0, 5)] == ["m/s", "rad/s"]
    assert set(t.report["properties"]["environment"]["properties"]) == {"objects", "obstacles", "lighting"}
    process = {"task_id", "task_status", "progress", "quality_metrics"}
    assert set(t.report["properties"]["process"]["properties"]) == process


@pytest.mark.parametrize(
    ("report", "valid"),
    [
        (
            {"process": {"task_id": "t-1", "task_status": "running", "progress": 0.5, "quality_metrics": {"gap": 0.1}}},
            True,
        ),
        ({"environment": {"objects": [{"id": "box", "position": [0, 1, 2]}], "obstacles": [], "lighting": 300}}, True),
        ({"process": {"progress": 1.01}}, False),
        ({"process": {"task_status": "sleeping"}}, False),
        ({"process": {"quality_metrics": {"gap": "small"}}}, False),
        ({"environment": {"objects": [{"id": "box", "position": [0, 1]}]}}, False),
        ({"environment": {"lighting": -1}}, False),
        ({"__proto__": {}}, False),
    ],
)
def test_a_robots_report_is_checked_against_its_schema(report: dict[str, object], valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(TYPES["robot"].report)
    assert validator.is_valid(json.loads(json.dumps(report))) is valid


def test_the_pump_takes_the_signals_of_the_test_bench_in_its_units() -> None:
    units = {s.name: s.unit for s in TYPES["pump"].signals}
    assert units == {
        "accelerometer_1_rms": "g",
        "accelerometer_2_rms": "g",
        "current": "A",
        "pressure": "bar",
        "temperature": "degC",
        "thermocouple": "degC",
        "voltage": "V",
        "volume_flow": "l/min",
        "speed_rpm": "rpm",
    }
    assert conversion("kPa", units["pressure"]) == (0.01, 0.0)


def test_the_fleet_knows_the_simulated_and_the_replayed_devices_and_no_others() -> None:
    fleet = load_fleet(TWINS / "fleet.yaml", TWINS)
    known = {"vehicle-07": "vehicle", "machine-2": "machine", "skab-valve1": "pump", "citylearn-1": "building"}
    known |= {"husky-1": "rover", "rover-2": "rover", "nab-nyc_taxi": "meter", "meter-1": "meter"}
    for device, name in known.items():
        found = fleet.type_of(device)
        assert found is not None
        assert found.name == name
    assert fleet.type_of("toaster-1") is None
    assert set(fleet.types) == set(SHIPPED)
