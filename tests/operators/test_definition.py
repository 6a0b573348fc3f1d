"""Twin types as data, and which device has which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.definition import Calibration, Fleet, Signal, TwinType
from operators.definition_check import duration_ns, nearest
from operators.definition_yaml import load_fleet
from operators.errors import DefinitionError

PUMP = TwinType("pump", 1, (Signal("flow"),))
ROBOT = TwinType("robot", 1, (Signal("x"),))


def test_the_first_pattern_that_fits_decides() -> None:
    fleet = Fleet((("pump-9*", "robot"), ("pump-*", "pump"), ("r[0-9]", "robot")), {"pump": PUMP, "robot": ROBOT})
    assert fleet.type_of("pump-1") is PUMP
    assert fleet.type_of("pump-99") is ROBOT
    assert fleet.type_of("r7") is ROBOT


def test_a_device_that_no_pattern_names_has_no_type() -> None:
    fleet = Fleet((("pump-*", "pump"),), {"pump": PUMP})
    assert [fleet.type_of(d) for d in ("", "PUMP-1", "../pump-1", "x" * 10_000)] == [None] * 4


def test_calibrations_compare_by_their_numbers() -> None:
    one = Calibration(("a",), np.eye(1), np.zeros(1))
    assert one == Calibration(("a",), np.eye(1), np.zeros(1))
    assert one != Calibration(("a",), np.eye(1), np.ones(1))
    assert one != "a"


def test_where_a_type_was_read_from_does_not_change_what_it_is() -> None:
    assert TwinType("p", 1, (Signal("a"),), source="x") == TwinType("p", 1, (Signal("a"),), source="y")


@pytest.mark.parametrize(
    ("text", "ns"),
    [("1ns", 1), ("1.5us", 1500), ("100ms", 10**8), ("2s", 2 * 10**9), ("5min", 3 * 10**11), ("1h", 36 * 10**11),
     ("1 d", 864 * 10**11), (0, 0), (2, 2 * 10**9), (0.1, 10**8), (1e-9, 1), (0.3, 3 * 10**8), ("1e3s", 10**12)],
)  # fmt: skip
def test_a_duration_is_read_exactly(text: str | float, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize(
    "text", ["", "s", "10", "-1s", "1 week", "0.5ns", "1s 2s", 1e-10, -1, "1e99d", 1e300, True, "nan s", float("inf")]
)
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration_ns(text)


def test_a_suggestion_ignores_case() -> None:
    assert nearest("RPM", ["speed", "rpm"]) == "did you mean 'rpm'?"


def fleet_files(folder: Path, instances: str, **types: str) -> Path:
    for name, twin_type in types.items():
        (folder / f"{name}.yaml").write_text(f"twin_type: {twin_type}\nversion: 1\nsignals: {{a: {{}}}}\n")
    (folder / "fleet.yaml").write_text(f"instances:\n{instances}")
    return folder / "fleet.yaml"


def test_a_fleet_file_loads_each_type_it_names_once(tmp_path: Path) -> None:
    path = fleet_files(tmp_path, "  - {device: 'a-*', type: pump}\n  - {device: 'b', type: pump}\n", pump="pump")
    fleet = load_fleet(path, tmp_path)
    assert fleet.patterns == (("a-*", "pump"), ("b", "pump"))
    assert fleet.type_of("a-1") is fleet.type_of("b") is fleet.types["pump"]


def test_a_fleet_file_may_say_where_devices_stand_and_the_first_pattern_that_fits_decides(tmp_path: Path) -> None:
    lines = ("{device: 'a-1', type: pump, site: Hall 2}", "{device: 'a-*', type: pump, site: Hall 1}")
    path = fleet_files(tmp_path, "".join(f"  - {x}\n" for x in (*lines, "{device: b, type: pump}")), pump="pump")
    fleet = load_fleet(path, tmp_path)
    assert [fleet.site_of(d) for d in ("a-1", "a-2", "b", "toaster")] == ["Hall 2", "Hall 1", "site", "site"]


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        (
            "  - {device: a, type: pmp}\n",
            r"fleet\.yaml:2: instances\[0\]\.type: .*no file pmp\.yaml; did you mean 'pump'",
        ),
        ("  - {device: a}\n", r"fleet\.yaml:2: instances\[0\]\.type: is missing"),
        ("  - {device: a, type: ../pump}\n", r"instances\[0\]\.type: '\.\./pump' is not the name of a twin type"),
        ("  - {devise: a, type: pump}\n", r"instances\[0\]\.device: is missing"),
        ("  - {device: a, type: wrong}\n", r"instances\[0\]\.type: wrong\.yaml holds the type 'right'"),
    ],
)
def test_a_fleet_that_does_not_hold_together_is_refused(tmp_path: Path, instances: str, message: str) -> None:
    path = fleet_files(tmp_path, instances, pump="pump", wrong="right")
    with pytest.raises(DefinitionError, match=message):
        load_fleet(path, tmp_path)
