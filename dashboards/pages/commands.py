"""Commands: did it happen? The life of each command, why the gate said no, and how commands ended by verb."""

from __future__ import annotations

import streamlit as st

from dashboards.views import view

TITLE = "Commands"
ORDER = 4


def page() -> None:
    with st.container(key="tf_commands"):
        view("cmdlist")()
        view("cmddetail")()
        view("cmdstats")()
