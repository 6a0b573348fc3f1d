"""Our own API from a page written in Python."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import streamlit as st

TIMEOUT_SECS = 10.0


def get(path: str, **params: str | int | float) -> Any:
    """GET /api/PATH. A failure is shown on the page with its next step and ends this run of it.

    Args:
        path: such as "twins" or "series".
        params: query parameters; times in ns UTC.

    Returns:
        the JSON of the answer.
    """
    url = f"http://127.0.0.1:{os.environ.get('TWINFLOW_PORT', '8050')}/api/{path}?{urlencode(params)}"
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT_SECS) as answer:
            return json.load(answer)
    except HTTPError as error:
        said = error_text(error.read())
    except (URLError, TimeoutError):
        said = "The page server does not answer. It may be starting; see: twinflow status"
    st.error(said)
    return st.stop()


def error_text(body: bytes) -> str:
    """What, likely cause and next step of an answer as one text.

    >>> error_text(b'{"what": "No twin p-9.", "next": "Look at the overview."}')
    'No twin p-9. Look at the overview.'
    """
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    return (
        " ".join(str(said[k]) for k in ("what", "cause", "next") if said.get(k)) or "The server answered with an error."
    )


def instant() -> int | None:
    """The chosen instant in ns UTC, None while live."""
    at = st.query_params.get("at")
    try:
        return None if at is None else int(datetime.fromisoformat(at).timestamp() * 1000) * 1_000_000
    except ValueError:
        return None
