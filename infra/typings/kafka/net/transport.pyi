import socket
from collections.abc import Callable
from typing import Any

class KafkaTCPTransport:
    _sock: socket.socket
    _sock_recv: Callable[[Any], tuple[bytes, Exception | None]]
    _read_from_sock: Callable[..., Any]
    def __init__(self, net: Any, sock: socket.socket) -> None: ...
