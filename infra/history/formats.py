"""How results of each format are cut into blocks and named on the wire."""

from __future__ import annotations

from collections.abc import Iterator

STREAMED = frozenset(
    {"native", "rowbinary", "arrowstream", "csv", "tabseparated", "tsv", "tabseparatedraw", "tsvraw"}
    | {"jsoneachrow", "jsonlines", "ndjson", "jsoncompacteachrow", "jsonstringseachrow", "lineasstring", "rawblob"}
)
"""Formats whose blocks, one after the other, are a result; the engine closes all others around each block, so they
are made as a whole."""

_TYPES = {
    "tab": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8",
    "jso": "application/json; charset=UTF-8",
    "ndj": "application/x-ndjson; charset=UTF-8",
    "xml": "application/xml; charset=UTF-8",
    "pre": "text/plain; charset=UTF-8",
    "ver": "text/plain; charset=UTF-8",
}
_ARROW_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def content_type(fmt: str) -> str:
    """Of a ClickHouse format.

    >>> content_type("JSONEachRow"), content_type("Native")
    ('application/json; charset=UTF-8', 'application/octet-stream')
    """
    return _TYPES.get(fmt[:3].lower(), "application/octet-stream")


def joined(fmt: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of one result as one body."""
    return _one_arrow_stream(blocks) if fmt.lower() == "arrowstream" else blocks


def _one_arrow_stream(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Each block is an Arrow stream of its own: keep the first schema message and one end mark.

    Encapsulated message: 0xFFFFFFFF, int32 length of the metadata, metadata; a schema has no body (Arrow columnar
    format, "Encapsulated message format").
    """
    first = True
    for block in blocks:
        start = 0 if first else 8 + int.from_bytes(block[4:8], "little")
        yield block[start : -len(_ARROW_END)]
        first = False
    if not first:
        yield _ARROW_END
