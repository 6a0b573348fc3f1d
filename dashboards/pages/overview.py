"""Overview: is everything well? Counts, all twins by site, and what needs attention, worst first."""

from __future__ import annotations

from dashboards.views import view

TITLE = "Overview"
ORDER = 1


def page() -> None:
    view("kpi")()
    view("sites")()
    view("attention")()
