"""Views: one ES module under static/views each, mounted from Python by name.

`view("signals")` gives a callable; `view("signals")(data={...})` places it. Data that moves does not go this way: a
view fetches `/api` and subscribes to `/ws/live` itself, so that a rerun of the page touches nothing on the screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

STATIC = Path(__file__).resolve().parent.parent / "static"

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

# Streamlit evaluates this text as a module of its own, so the shared modules are reached by their absolute address.
MODULE = """
const url = (path) => new URL(path, location.origin).href;
export default function (component) {{
  Promise.all([import(url("/tf/lib.js")), import(url("/tf/views/{name}.js"))])
    .then(([lib, view]) => lib.mount(component, view.default));
}}
"""


@cache
def _register(name: str) -> ComponentRenderer:
    if not (STATIC / "views" / f"{name}.js").is_file():
        raise LookupError(f"view '{name}': static/views/{name}.js does not exist")
    return st.components.v2.component(
        f"tf_{name}", html="<div></div>", js=MODULE.format(name=name), isolate_styles=False
    )


class View:
    """A view that can be placed on a page."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, data: Mapping[str, Json] | None = None, key: str | None = None) -> None:
        """Place it.

        Args:
            data: plain JSON for the view, e.g. which twin types to show; not the values themselves.
            key: where one page shows the same view twice; the style class is `st-key-` and the key.
        """
        _register(self.name)(key=key or f"v_{self.name}", data=dict(data or {}))


def view(name: str) -> View:
    """The view whose module is static/views/NAME.js."""
    return View(name)
