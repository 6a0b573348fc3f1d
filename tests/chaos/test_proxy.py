"""The proxy passes bytes on, and does each harm it is told to."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import CLEAR, FAULTS, Proxy
from tests.connectors.brokers import until
from tests.support_kafka import free_ports

WHOLE = b"0123456789"
FAULT = {fault.name: fault for fault in FAULTS}


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    [port] = free_ports(1)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Proxy(port, server.server_address[1], seed=1) as made:
            yield made
        server.shutdown()
        thread.join()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def echoed(connection: socket.socket) -> bytes:
    connection.sendall(WHOLE)
    found = b""
    while len(found) < len(WHOLE) and (data := connection.recv(64)):
        found += data
    return found


def hangs_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(64) == b""
    except ConnectionResetError:
        return True


def test_bytes_pass_whole_also_when_they_are_late(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        assert echoed(connection) == WHOLE
        proxy.become(FAULT["delay"])
        assert echoed(connection) == WHOLE


def test_connections_are_reset_old_and_new_until_it_is_over(proxy: Proxy) -> None:
    with connected(proxy) as old:
        assert echoed(old) == WHOLE
        proxy.become(FAULT["drop"])
        assert hangs_up(old)
        with connected(proxy) as new:
            assert hangs_up(new)
        proxy.become(CLEAR)
        with connected(proxy) as new:
            assert echoed(new) == WHOLE


def test_half_of_a_piece_passes_and_then_nothing(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        proxy.become(FAULT["torn"])
        connection.sendall(WHOLE)
        assert hangs_up(connection)
    assert proxy.resets == 1


@pytest.mark.parametrize("name", ["half-open", "deaf", "dumb"])
def test_bytes_vanish_while_both_ends_believe_in_the_connection_which_is_reset_afterwards(
    proxy: Proxy, name: str
) -> None:
    with connected(proxy) as connection:
        assert echoed(connection) == WHOLE
        proxy.become(FAULT[name])
        connection.sendall(WHOLE)
        until(lambda: proxy.swallowed == len(WHOLE), "bytes that vanish")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(64)
        connection.settimeout(10)
        proxy.become(CLEAR)
        assert hangs_up(connection)
