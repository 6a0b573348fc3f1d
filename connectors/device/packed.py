"""Packed blocks: rows of one device as one Arrow record batch, its schema sent in-band. Needs pyarrow."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from .records import Record
from .wire import LARGEST, WrongMessage

SCHEMA_AGAIN_SECS = 6 * 3600.0
"""Below the retention of topic samples, so that a schema is always there."""
MOST_BYTES = LARGEST // 2
MOST_SCHEMA_BYTES = 65_536
MESSAGE = b"application/vnd.apache.arrow.message"


class Packer:
    """Collects rows of one device. Every signal seen so far is a column; one that a row lacks is null there.

    Attributes:
        rows: how many are held.
        since: when the first of them came, by the monotonic clock.
        trusted: whether their times are.
        told: whether the schema was sent since it changed or grew old.
    """

    def __init__(self, device: str) -> None:
        self.device, self.rows, self.since, self.trusted, self.told = device, 0, 0.0, False, False
        self._ts: list[int] = []
        self._columns: dict[str, list[Any]] = {}
        self._lengths: dict[str, int] = {}
        self._row_bytes = 8
        self._schema: Any = None
        self._schema_bytes, self._schema_id, self._told_at = b"", b"", 0.0

    def add(self, ts_ns: int, values: Mapping[str, float | list[float]], trusted: bool) -> None:
        """One row.

        Raises:
            WrongMessage: a vector has another length than before, or there are too many signals for a block.
        """
        lengths = {name: len(value) if isinstance(value, list) else 0 for name, value in values.items()}
        for name, length in lengths.items():
            had = self._lengths.get(name, length)
            if length != had:
                was = had or "no vector"
                raise WrongMessage(f"signal {name!r} of {self.device} has {length or 'no'} elements; before: {was}")
        if not lengths.keys() <= self._lengths.keys():
            self._widen({**self._lengths, **lengths})
        if not self.rows:
            self.since, self.trusted = time.monotonic(), trusted
        for name, column in self._columns.items():
            column.append(values.get(name))
        self._ts.append(ts_ns)
        self.rows += 1

    def full(self, rows: int) -> bool:
        """Whether no more than these rows, or no more bytes, may be in one block."""
        return self.rows >= rows or (self.rows + 1) * self._row_bytes > MOST_BYTES

    def take(self) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
        """The rows held as the value and the headers of one record; then there are none."""
        import pyarrow as pa

        arrays = [pa.array(self._ts, pa.timestamp("ns", "UTC"))]
        arrays += [pa.array(column, _type(self._lengths[name])) for name, column in self._columns.items()]
        block = pa.record_batch(arrays, schema=self._schema).serialize().to_pybytes()
        self._ts, self.rows = [], 0
        self._columns = {name: [] for name in self._columns}
        return block, (("content-type", MESSAGE), ("schema-id", self._schema_id))

    def schema_record(self, topic: str) -> Record:
        """The schema, for the partition of the device."""
        self._refresh()
        headers = (("content-type", MESSAGE), ("kind", b"schema"), ("schema-id", self._schema_id))
        return Record(topic, self.device.encode(), self._schema_bytes, headers)

    def _widen(self, lengths: dict[str, int]) -> None:
        """More columns; the rows held have nothing in them."""
        import pyarrow as pa

        fields = [pa.field("ts", pa.timestamp("ns", "UTC"), nullable=False)]
        fields += [pa.field(name, _type(length)) for name, length in lengths.items()]
        schema = pa.schema(fields)
        described = schema.serialize().to_pybytes()
        row_bytes = 8 + sum(8 * max(length, 1) + 1 for length in lengths.values())
        if row_bytes > MOST_BYTES or len(described) > MOST_SCHEMA_BYTES:
            raise WrongMessage(
                f"a row of {self.device} would have {row_bytes} bytes and a schema of {len(described)}; a block takes "
                f"{MOST_BYTES} and {MOST_SCHEMA_BYTES}: send such devices as JSON"
            )
        self._lengths, self._row_bytes, self._schema, self._schema_bytes = lengths, row_bytes, schema, described
        self._schema_id = hashlib.sha256(described).hexdigest()[:16].encode()
        self._columns.update({name: [None] * self.rows for name in lengths if name not in self._columns})
        self.told = False

    def _refresh(self) -> None:
        """Have the schema sent again in time."""
        now = time.monotonic()
        if self.told and now - self._told_at > SCHEMA_AGAIN_SECS:
            self.told = False
        if not self.told:
            self._told_at = now


def _type(length: int) -> Any:
    import pyarrow as pa

    return pa.list_(pa.float64(), length) if length else pa.float64()
