"""Request bodies as a stream of bytes: by length or in chunks, decompressed, and multipart forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from infra.history.errors import EngineError

PART = 1 << 16
MAX_STATEMENT = 64 << 20
"""Longest statement, form or list of VALUES that is held as a whole; data behind FORMAT has no limit."""
_NAME = re.compile(rb'[ ;]name="([^"]*)"', re.IGNORECASE)
_FILE = re.compile(rb'[ ;]filename="', re.IGNORECASE)


class Source(Protocol):
    """Where a body is read from."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


class Headers(Protocol):
    """The headers of a request, by name in any case."""

    def get(self, name: str, /) -> str | None: ...


class CutOff(Exception):
    """The client went away before its body was complete; nothing can be answered."""


class Body:
    """What is still unread of one request body; iterating reads it in parts of at most 64 KiB."""

    def __init__(self, source: Source, headers: Headers) -> None:
        self._source = source
        self._chunked = "chunked" in (headers.get("Transfer-Encoding") or "").lower()
        length = headers.get("Content-Length") or "0"
        if not length.isdigit():
            raise EngineError.make(381, "HTTP_LENGTH_REQUIRED", f"Content-Length {length!r} is no number")
        self._left = 0 if self._chunked else int(length)
        self.ended = not self._chunked and self._left == 0

    def __iter__(self) -> Iterator[bytes]:
        while not self.ended:
            if self._chunked and self._left == 0 and not self._next_chunk():
                return
            part = self._source.read(min(self._left, PART))
            if not part:
                self.ended = True
                raise CutOff("the request body ended early")
            self._left -= len(part)
            if self._left == 0:
                if self._chunked:
                    self._line()
                else:
                    self.ended = True
            yield part

    def _next_chunk(self) -> bool:
        size = self._line().partition(b";")[0].strip()
        try:
            self._left = int(size, 16)
        except ValueError:
            self.ended = True
            raise CutOff(f"{size[:20]!r} is no chunk size") from None
        if self._left:
            return True
        while self._line().strip():  # trailers
            pass
        self.ended = True
        return False

    def _line(self) -> bytes:
        line = self._source.readline(PART)
        if not line.endswith(b"\n"):
            self.ended = True
            raise CutOff("the request body ended early")
        return line

    def drain(self, limit: int) -> bool:
        """Read and forget the rest, so the next request of the connection can be read; False when it is too long."""
        for part in self:
            limit -= len(part)
            if limit < 0:
                return False
        return True


def whole(parts: Iterator[bytes], start: bytes = b"") -> bytes:
    """All that is left.

    Raises:
        EngineError: 307, longer than MAX_STATEMENT.
    """
    held = bytearray(start)
    for part in parts:
        held += part
        if len(held) > MAX_STATEMENT:
            message = f"A statement is longer than {MAX_STATEMENT >> 20} MiB; send data behind FORMAT"
            raise EngineError.make(307, "TOO_MANY_BYTES", message)
    return bytes(held)


@dataclass(frozen=True, slots=True)
class Form:
    """Fields and files of a multipart form, by name."""

    values: dict[str, str]
    files: dict[str, bytes]


def form(content_type: str, body: bytes) -> Form:
    r"""Take a multipart/form-data body apart.

    >>> part = b'Content-Disposition: form-data; name="query"'
    >>> form("multipart/form-data; boundary=x", b"--x\r\n" + part + b"\r\n\r\nS\r\n--x--")
    Form(values={'query': 'S'}, files={})

    Raises:
        EngineError: 36, there is no boundary.
    """
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        raise EngineError.make(36, "BAD_ARGUMENTS", "multipart form without boundary")
    values: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for piece in (b"\r\n" + body).split(b"\r\n--" + found[1].encode())[1:]:
        head, gap, content = piece.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if not gap or name is None:
            continue
        if _FILE.search(head):
            files[name[1].decode()] = content
        else:
            values[name[1].decode()] = content.decode("utf-8", "surrogateescape")
    return Form(values, files)
