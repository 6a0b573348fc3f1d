"""Content codings, streaming both ways: lz4, zstd, gzip, deflate, and br where the brotli package is installed."""

from __future__ import annotations

import importlib
import importlib.util
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias, cast

import lz4.frame
import zstandard

from infra.history.errors import EngineError


class Compressor(Protocol):
    """A running compression of one body."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Brotli(Protocol):
    error: type[Exception]

    def Compressor(self, quality: int) -> _BrotliCompressor: ...  # noqa: N802

    def Decompressor(self) -> _BrotliDecompressor: ...  # noqa: N802


class _BrotliCompressor(Protocol):
    def process(self, data: bytes, /) -> bytes: ...

    def finish(self) -> bytes: ...


class _BrotliDecompressor(Protocol):
    def process(self, data: bytes, /) -> bytes: ...

    def is_finished(self) -> bool: ...


Decode: TypeAlias = Callable[[Iterable[bytes]], Iterator[bytes]]


class _Lz4:
    """One lz4 frame for the whole body."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        head = b"" if self._begun else self._frame.begin()
        self._begun = True
        return head + self._frame.compress(data)

    def flush(self) -> bytes:
        return self.compress(b"") + self._frame.flush()


class _BrotliWriter:
    def __init__(self) -> None:
        self._stream = _brotli().Compressor(quality=4)

    def compress(self, data: bytes, /) -> bytes:
        return self._stream.process(data)

    def flush(self) -> bytes:
        return self._stream.finish()


def _brotli() -> _Brotli:
    return cast(_Brotli, importlib.import_module("brotli"))


_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "lz4": _Lz4,
    "zstd": lambda: zstandard.ZstdCompressor(level=1).compressobj(),
    "gzip": lambda: zlib.compressobj(level=3, wbits=31),
    "deflate": lambda: zlib.compressobj(level=3),
}
if importlib.util.find_spec("brotli"):
    _COMPRESSORS["br"] = _BrotliWriter


def choose(accept: str) -> str:
    """The first coding of an Accept-Encoding header this process can write; "" for none.

    >>> choose("snappy, lz4;q=1, zstd"), choose("identity")
    ('lz4', '')
    """
    wanted = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    return next((coding for coding in wanted if coding in _COMPRESSORS), "")


def compressor(coding: str) -> Compressor:
    """A fresh compression."""
    return _COMPRESSORS[coding]()


def decoded(parts: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """The body behind its coding; bodies of several frames one after the other are read to their end.

    Raises:
        EngineError: 48 an unknown coding, 354 damaged or cut data.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        yield from parts
        return
    if coding not in _DECODERS or (coding == "br" and coding not in _COMPRESSORS):
        raise EngineError.unsupported(f"Content-Encoding {coding}")
    try:
        yield from _DECODERS[coding](parts)
    except (RuntimeError, ValueError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise _damaged(coding, str(error)) from None


def _damaged(coding: str, why: str) -> EngineError:
    return EngineError.make(354, "ZLIB_INFLATE_FAILED", f"The {coding} request body cannot be decompressed: {why}")


def _lz4_parts(parts: Iterable[bytes]) -> Iterator[bytes]:
    frame, begun = lz4.frame.LZ4FrameDecompressor(), False
    for part in parts:
        rest = part
        while rest:
            begun = True
            if out := frame.decompress(rest):
                yield out
            rest = b""
            if frame.eof:
                rest, frame, begun = frame.unused_data or b"", lz4.frame.LZ4FrameDecompressor(), False
    if begun:
        raise EOFError("it ends within a frame")


def _zstd_parts(parts: Iterable[bytes]) -> Iterator[bytes]:
    frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
    for part in parts:
        rest = part
        while rest:
            begun = True
            if out := frame.decompress(rest):
                yield out
            rest = b""
            if frame.eof:
                rest, frame, begun = frame.unused_data, zstandard.ZstdDecompressor().decompressobj(), False
    if begun:
        raise EOFError("it ends within a frame")


def _zlib_parts(wbits: int) -> Decode:
    def parts_of(parts: Iterable[bytes]) -> Iterator[bytes]:
        member, begun = zlib.decompressobj(wbits), False
        for part in parts:
            rest = part
            while rest:
                begun = True
                if out := member.decompress(rest):
                    yield out
                rest = b""
                if member.eof:
                    rest, member, begun = member.unused_data, zlib.decompressobj(wbits), False
        if begun:
            raise EOFError("it ends within a member")

    return parts_of


def _brotli_parts(parts: Iterable[bytes]) -> Iterator[bytes]:
    stream = _brotli().Decompressor()
    try:
        for part in parts:
            yield stream.process(part)
    except _brotli().error as error:
        raise ValueError(str(error)) from None
    if not stream.is_finished():
        raise EOFError("it ends early")


_DECODERS: dict[str, Decode] = {
    "lz4": _lz4_parts,
    "zstd": _zstd_parts,
    "gzip": _zlib_parts(31),
    "deflate": _zlib_parts(15),
    "br": _brotli_parts,
}
