"""The shell: top bar, time bar and the chosen page. Pages are found in dashboards/pages."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

import streamlit as st

import dashboards.pages
from dashboards.views import view


class PageModule(Protocol):
    """What a module in dashboards/pages has: its name in the bar, its place there, and what draws it."""

    TITLE: str
    ORDER: int

    def page(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    module: PageModule


@cache
def entries() -> tuple[Entry, ...]:
    """All pages in the order of the bar; the first is the start page."""
    names = [m.name for m in pkgutil.iter_modules(dashboards.pages.__path__) if not m.name.startswith("_")]
    found = [Entry(n, cast(PageModule, importlib.import_module(f"dashboards.pages.{n}"))) for n in names]
    return tuple(sorted(found, key=lambda e: e.module.ORDER))


def main() -> None:
    st.set_page_config(page_title="twinflow", layout="wide", initial_sidebar_state="collapsed")
    pages = [
        st.Page(e.module.page, title=e.module.TITLE, url_path=None if i == 0 else e.name, default=i == 0)
        for i, e in enumerate(entries())
    ]
    chosen = st.navigation(pages, position="hidden")
    with st.container(key="tf_top", horizontal=True, vertical_alignment="center"):
        view("brand")()
        with st.container(key="tf_nav", horizontal=True):
            for page in pages:
                st.page_link(page, label=page.title)
        view("status")()
    with st.container(key="tf_time"):
        view("timebar")({"page": chosen.title})
    chosen.run()
