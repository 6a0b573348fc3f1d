"""Loopback ports: the wanted one, or the next free one unless it was set on purpose."""

from __future__ import annotations

import socket
from contextlib import suppress

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


class Ports:
    """Hands out the ports of one stack, each once."""

    def __init__(self) -> None:
        self.taken: dict[int, str] = {}

    def take(self, name: str, wanted: int, *, exact: bool) -> int:
        """`wanted`, or the next free one within 100 where it need not be exact.

        Raises:
            CannotStart: names the port and who holds it.
        """
        for port in range(wanted, wanted + 1 if exact else min(wanted + 100, 65536)):
            if port not in self.taken and is_free(port):
                self.taken[port] = name
                return port
        why = f"used by {self.taken[wanted]} too" if wanted in self.taken else holder(wanted)
        key = f"{name}_port"
        raise CannotStart(what=f"port {wanted} for {name}", why=why, fix=f"stop that process or set {key} to another")
