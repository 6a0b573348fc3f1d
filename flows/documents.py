"""Results as Kafka records where people read: JSON."""

from __future__ import annotations

import base64

import msgspec

from connectors.kafka_commit import Record

_json = msgspec.json.Encoder()


def document(topic: str, key: str, value: object, *, partition: int) -> Record:
    """A JSON record."""
    headers = (("content-type", b"application/json"),)
    return Record(topic, key.encode("utf-8", "replace"), _json.encode(value), headers, partition)


def raw_text(raw: bytes) -> dict[str, str | None]:
    """Bytes as `raw` where they are UTF-8 text, else as `raw_base64`.

    >>> raw_text(b"{"), raw_text(bytes([255]))
    ({'raw': '{', 'raw_base64': None}, {'raw': None, 'raw_base64': '/w=='})
    """
    try:
        return {"raw": raw.decode(), "raw_base64": None}
    except UnicodeDecodeError:
        return {"raw": None, "raw_base64": base64.b64encode(raw).decode()}
