"""Only this machine, under its own name, and no page of another site."""

from __future__ import annotations

from typing import Any

import pytest

from dashboards.api.guard import Guard


async def nothing(*_: Any) -> None:
    return None


def refused(
    *, kind: str = "http", method: str = "GET", host: str = "127.0.0.1:8050", origin: str | None = None,
    client: str = "127.0.0.1", site: str | None = None, remote: bool = False,
) -> str:  # fmt: skip
    headers = [(b"host", host.encode())]
    headers += [(b"origin", origin.encode())] if origin is not None else []
    headers += [(b"sec-fetch-site", site.encode())] if site is not None else []
    scope = {"type": kind, "method": method, "headers": headers, "client": (client, 5)}
    fault = Guard(nothing, hosts=("127.0.0.1", "localhost", "::1"), remote=remote).refusal(scope)
    return "" if fault is None else fault.what


@pytest.mark.parametrize("host", ["127.0.0.1:8050", "localhost:8050", "[::1]:8050", "LOCALHOST"])
def test_our_own_names_are_served(host: str) -> None:
    assert refused(host=host, method="POST", origin=f"http://{host}") == ""


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.", "user@evil.example"])
def test_other_names_are_not(host: str) -> None:
    assert refused(host=host) != ""


def test_reading_is_open_to_links_from_elsewhere_and_writing_is_not() -> None:
    foreign = "http://evil.example"
    assert refused(origin=foreign) == ""
    assert refused(method="POST", origin=foreign) != ""
    assert refused(method="DELETE", site="cross-site") != ""
    assert refused(kind="websocket", origin=foreign) != ""
    assert refused(kind="websocket", origin="http://127.0.0.1:9000") != ""
    assert refused(kind="websocket", origin="null") != ""
    assert refused(kind="websocket") == ""


def test_other_machines_are_served_only_where_that_was_asked_for() -> None:
    assert refused(client="192.0.2.7") == "Only this machine is served."
    assert refused(client="192.0.2.7", host="plant.example", remote=True) == ""
    assert refused(client="192.0.2.7", host="plant.example", remote=True, method="POST", origin="http://x") != ""
