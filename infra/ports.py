"""Loopback ports: the wanted one, or the next free one unless it was set on purpose."""

from __future__ import annotations

import socket
import sys
import weakref
from contextlib import ExitStack, suppress

from infra.errors import CannotStart

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Can a server bind this port on loopback now? A port in TIME_WAIT counts as free, as it does for servers."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """`held by pid 17 (java)`, as far as this user may know."""
    import psutil

    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr and connection.laddr.port == port and connection.pid:
                with suppress(psutil.Error):
                    return f"held by pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "held by another process"


def reserved(port: int) -> socket.socket | None:
    """Our claim to a port until it is closed; None while another stack that starts now has it.

    A name in Linux's abstract space: as a port, it is one per network namespace and gone with its process. Elsewhere
    the claim holds nobody off.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        if sys.platform == "linux":
            claim.bind(f"\0twinflow-port-{port}")
    except OSError:
        claim.close()
        return None
    return claim


class Ports:
    """Hands out the ports of one stack, each once; two stacks that start at the same moment get different ones."""

    def __init__(self) -> None:
        self.taken: dict[int, str] = {}
        self._claims = ExitStack()
        weakref.finalize(self, self._claims.close)

    def take(self, name: str, wanted: int, *, exact: bool) -> int:
        """`wanted`, or the next free one within 100 where it need not be exact.

        Raises:
            CannotStart: names the port and who holds it.
        """
        for port in range(wanted, wanted + 1 if exact else min(wanted + 100, 65536)):
            if port not in self.taken and is_free(port) and (claim := reserved(port)):
                self._claims.enter_context(claim)
                self.taken[port] = name
                return port
        why = f"used by {self.taken[wanted]} too" if wanted in self.taken else holder(wanted)
        key = f"{name}_port"
        raise CannotStart(what=f"port {wanted} for {name}", why=why, fix=f"stop that process or set {key} to another")
