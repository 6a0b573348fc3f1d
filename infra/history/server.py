"""The HTTP side: requests in, bodies out in chunks, and an orderly end."""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from infra.history import codings
from infra.history.bodies import Body, CutOff
from infra.history.errors import EngineError
from infra.history.formats import content_type
from infra.history.service import Reply, Request, Service, new_query_id
from infra.history.users import is_loopback

IDLE_SECS = 300
DRAIN = 256 << 20
"""An error is answered after at most this much of the body was read; with more left the connection is closed."""
PIECE = 1 << 20
log = logging.getLogger("history")


class Front(ThreadingHTTPServer):
    """One thread per connection; knows which of them are in the middle of a request."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler, bind_and_activate=False)
        self.service: Service | None = None
        self.stopping = False
        self._connections: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        self._change = threading.Condition()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""
        log.debug("connection of %s ended", client_address, exc_info=True)

    @contextlib.contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        """Known as open while inside."""
        with self._change:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._change:
                self._connections.discard(connection)

    @contextlib.contextmanager
    def working(self, connection: socket.socket) -> Iterator[None]:
        """Known as busy while inside."""
        with self._change:
            self._busy.add(connection)
        try:
            yield
        finally:
            with self._change:
                self._busy.discard(connection)
                self._change.notify_all()

    def drain(self, grace_secs: float) -> bool:
        """Take no more connections, end the idle ones, wait for the busy ones; False when some did not end in time."""
        self.stopping = True
        self.shutdown()
        self.server_close()
        with self._change:
            for connection in self._connections - self._busy:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        return self.settled(grace_secs)

    def settled(self, within_secs: float) -> bool:
        """Wait until no request is being answered."""
        with self._change:
            return self._change.wait_for(lambda: not self._busy, within_secs)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "twinflow-history"
    sys_version = ""
    timeout = IDLE_SECS
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    @property
    def front(self) -> Front:
        return cast(Front, self.server)

    def handle(self) -> None:
        with self.front.connected(self.connection):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        with self.front.working(self.connection):
            try:
                self._route()
                self.wfile.flush()
            except (CutOff, ConnectionError, TimeoutError) as error:
                log.info("client went away: %s", error or type(error).__name__)
                self.close_connection = True
            if self.front.stopping:
                self.close_connection = True

    def _route(self) -> None:
        url = urlsplit(self.path)
        service = self.front.service
        if url.path == "/ping":
            self._plain(200, "Ok.\n")
        elif url.path == "/healthz":
            well = service is not None and not self.front.stopping and service.engine.alive()
            self._plain(200 if well else 503, "ok\n" if well else "stopping\n")
        elif url.path not in ("", "/") or service is None:
            self._plain(404, f"There is no handle {url.path}\n")
        elif self.headers.get("Origin") or (service.users.open and not self._meant_for_loopback()):
            self._plain(403, "Pages of a browser may not ask the history directly\n")
        else:
            self._statement(service, dict(parse_qsl(url.query, keep_blank_values=True, errors="surrogateescape")))

    def _meant_for_loopback(self) -> bool:
        """False for a page that had its own name resolved to this machine."""
        return is_loopback(urlsplit(f"//{self.headers.get('Host') or ''}").hostname or "")

    def _statement(self, service: Service, params: dict[str, str]) -> None:
        query_id, started = new_query_id(params), time.monotonic()
        body: Body | None = None
        try:
            body = Body(self.rfile, self.headers)
            with ExitStack() as until_sent:
                request = Request(self.command, params, self.headers, iter(body))
                reply = service.answer(request, until_sent)
                if not body.ended and not body.drain(DRAIN):
                    self.close_connection = True
                self._send(service, reply, query_id, self._coding(params))
        except EngineError as error:
            log.info("%s %s %s", query_id, error.code, error.text[:300])
            self._refuse(error, query_id, body)
        log.debug("%s done in %.1f ms", query_id, (time.monotonic() - started) * 1e3)

    def _coding(self, params: dict[str, str]) -> str:
        if params.get("enable_http_compression", "0") not in ("1", "true"):
            return ""
        return codings.choose(self.headers.get("Accept-Encoding") or "")

    def _head(self, service: Service, reply: Reply, query_id: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type(reply.format))
        self.send_header("X-ClickHouse-Query-Id", query_id)
        self.send_header("X-ClickHouse-Timezone", service.engine.timezone)
        self.send_header("X-ClickHouse-Summary", reply.summary())
        if reply.format:
            self.send_header("X-ClickHouse-Format", reply.format)
        self._keep_alive()

    def _keep_alive(self) -> None:
        if self.close_connection or self.front.stopping:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Connection", "Keep-Alive")
            self.send_header("Keep-Alive", f"timeout={IDLE_SECS}")

    def _send(self, service: Service, reply: Reply, query_id: str, coding: str) -> None:
        self._head(service, reply, query_id)
        if reply.answer is not None:
            data = reply.answer.data
            if coding and data:
                stream = codings.compressor(coding)
                data = stream.compress(data) + stream.flush()
                self.send_header("Content-Encoding", coding)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            return
        tag = secrets.token_hex(8)
        if coding:
            self.send_header("Content-Encoding", coding)
        self.send_header("X-ClickHouse-Exception-Tag", tag)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunks(_guarded(reply.parts, tag), coding)

    def _chunks(self, parts: Iterator[bytes], coding: str) -> None:
        stream = codings.compressor(coding) if coding else None
        for part in parts:
            for at in range(0, len(part), PIECE):
                piece = part[at : at + PIECE]
                self._chunk(stream.compress(piece) if stream else piece)
        if stream:
            self._chunk(stream.flush())
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n" % len(data))
            self.wfile.write(data)
            self.wfile.write(b"\r\n")
            self.wfile.flush()

    def _refuse(self, error: EngineError, query_id: str, body: Body | None) -> None:
        try:
            if body is None or not body.drain(DRAIN):
                self.close_connection = True
        except CutOff:
            self.close_connection = True
        data = (error.text + "\n").encode("utf-8", "replace")
        self.send_response(error.status)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self.send_header("X-ClickHouse-Query-Id", query_id)
        self.send_header("X-ClickHouse-Exception-Code", str(error.code))
        self._keep_alive()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _plain(self, status: int, text: str) -> None:
        if int(self.headers.get("Content-Length") or 0):
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=UTF-8")
        self._keep_alive()
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def _guarded(parts: Iterator[bytes], tag: str) -> Iterator[bytes]:
    """The parts; an error among them becomes the block that ClickHouse servers since 25.11 end a broken result with."""
    try:
        yield from parts
    except EngineError as error:
        log.info("in the middle of a result: %s", error.text[:300])
        text = error.text.encode("utf-8", "replace") + b"\n"
        mark, length = tag.encode(), str(len(text)).encode()
        yield b"\r\n__exception__\r\n" + mark + b"\r\n" + text + length + b" " + mark + b"\r\n__exception__\r\n"
