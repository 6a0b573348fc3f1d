"""Figures, dashboards and alert rules agree: each names what the processes expose, and no figure is left untold."""

from __future__ import annotations

import re
from pathlib import Path

from tests.infra.exposed import exposed

ROOT = Path(__file__).resolve().parents[2]


def without_suffix(name: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_the_page_on_figures_names_each_one_that_exists_and_no_other() -> None:
    told = set(re.findall(r"`(twinflow_\w+)`", (ROOT / "docs" / "observability.md").read_text()))
    assert told == {without_suffix(name) for name in exposed()}
