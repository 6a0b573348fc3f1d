"""Shared by the tests of everything that speaks with a broker."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from kafka.net.inet import KafkaNetSocket


@pytest.fixture(scope="module")
def sockets_closed() -> Iterator[None]:
    """kafka-python leaves sockets that failed to connect to the garbage collector, which pytest does not forgive."""
    made: list[socket.socket] = []

    def kept(_self: KafkaNetSocket, *kind: int) -> socket.socket:
        made.append(socket.socket(*kind))
        return made[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(KafkaNetSocket, "socket", kept)
        yield
    for one in made:
        one.close()
