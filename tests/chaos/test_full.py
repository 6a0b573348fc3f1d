"""Every scenario of `twinflow chaos` at its whole size, as people run it; `twinflow test --full`."""

from __future__ import annotations

import importlib

import pytest

from infra.testing import programs

WHOLE = {
    "broker": ("--kills", "10"),
    "clock": ("--jumps", "6"),
    "determinism": (),
    "disk": ("--rounds", "6"),
    "eos": ("--kills", "100"),
    "net": ("--minutes", "3"),
    "recovery": (),
    "rescale": ("--workers", "1,3,2"),
    "sim": ("--seeds", "2000"),
    "soak": ("--hours", "1"),
    "writer": ("--kills", "20"),
    "zombie": ("--rounds", "10"),
}


def test_there_is_a_whole_size_for_every_scenario() -> None:
    assert set(WHOLE) == set(programs("chaos"))


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_scenario_at_its_whole_size_finds_nothing_wrong(name: str) -> None:
    scenario = importlib.import_module(programs("chaos")[name])
    assert scenario.main([*WHOLE[name], "--json"]) == 0
