"""Who may come: this machine only, under its own name, and no page of another site may write or listen.

A browser sends `Origin` with every websocket and every POST; one that is not our own address is another site's page
(cross-site request forgery). `Host` must be one of our names, else a foreign name was pointed at this machine (DNS
rebinding). Programs send no Origin and are let in.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from dashboards.api.faults import Fault

READING = ("GET", "HEAD", "OPTIONS")
POLICY_VIOLATION = 1008


class Guard:
    """ASGI middleware in front of the API.

    Args:
        hosts: names of this machine.
        remote: let other machines in.
    """

    def __init__(self, app: ASGIApp, *, hosts: tuple[str, ...], remote: bool) -> None:
        self.app, self.hosts, self.remote = app, hosts, remote

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse one connection."""
        fault = self.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if fault is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await fault.response()(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": fault.what})

    def refusal(self, scope: Scope) -> Fault | None:
        """Why this connection is refused; None where it is not."""
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        client = scope.get("client")
        if not self.remote:
            if client is not None and not _is_near(client[0]):
                return Fault(403, "Only this machine is served.", f"The request came from {client[0]}.", _LOCAL)
            if urlsplit(f"//{host}").hostname not in self.hosts:
                return Fault(403, f"{host!r} is no name of this machine.", "A foreign name points here.", _LOCAL)
        writes = scope["type"] == "websocket" or scope["method"] not in READING
        if writes and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return Fault(403, f"{origin} may not do this.", "A page of another site sent it.", "Open the page itself.")
        if writes and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Fault(
                403, "Another site may not do this.", "A page of another site sent it.", "Open the page itself."
            )
        return None


_LOCAL = "Open the page on this machine as http://127.0.0.1, or through a tunnel."


def _is_near(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
