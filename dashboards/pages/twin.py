"""Twin: what is wrong with this one, and why? Values, live charts, the alarm with its cause, parts and time travel."""

from __future__ import annotations

import streamlit as st

from dashboards.views import view

TITLE = "Twin"
ORDER = 2


def page() -> None:
    view("twinhead")()
    with st.container(key="tf_twin"):
        view("signals")()
        view("charts")()
        with st.container(key="tf_twinside"):
            view("cause")()
            view("tree")()
    view("scrub")()
