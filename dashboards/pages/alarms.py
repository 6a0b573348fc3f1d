"""Alarms: what must I do now? Open alarms by priority and time, the cause of the chosen one, acknowledge and shelve."""

from __future__ import annotations

import streamlit as st

from dashboards.views import view

TITLE = "Alarms"
ORDER = 3
BUDGET_PER_HOUR = 6
"""What one person can answer to: at most one in ten minutes (EEMUA 191, ISA-18.2)."""


def page() -> None:
    view("alarmhead")({"budget_per_hour": BUDGET_PER_HOUR})
    with st.container(key="tf_alarms"):
        view("alarmlist")()
        view("alarmdetail")()
