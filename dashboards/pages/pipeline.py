"""Pipeline: is anything lost or slow? What does not answer, the ledger, the flow as a picture, partitions, refusals."""

from __future__ import annotations

import streamlit as st

from dashboards.views import view

TITLE = "Pipeline"
ORDER = 5


def page() -> None:
    view("outage")()
    view("ledger")()
    view("flow")()
    with st.container(key="tf_pipeline"):
        view("partitions")()
        view("dead")()
