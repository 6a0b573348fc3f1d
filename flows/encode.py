"""Results as Kafka records: Arrow blocks, one partition per shard."""

from __future__ import annotations

import pyarrow as pa

from connectors.kafka_commit import Record

ARROW = "application/vnd.apache.arrow.stream"
_AS_IT_IS = pa.ipc.IpcWriteOptions()
BLOCK_ROWS = 20_000
"""Rows of one Arrow block at most, so that a block stays far below the broker's limit on a record."""


def to_bytes(table: pa.Table) -> bytes:
    """A self-contained Arrow IPC stream.

    >>> from_bytes(to_bytes(pa.table({"a": [1, 2]})))["a"].to_pylist()
    [1, 2]
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_AS_IT_IS) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def from_bytes(data: bytes) -> pa.Table:
    """The table of an Arrow IPC stream."""
    return pa.ipc.open_stream(data).read_all()


def blocks(topic: str, table: pa.Table, *, shard: str, partition: int, twin_type: str) -> list[Record]:
    """A table as records of at most BLOCK_ROWS rows; an empty table is no record."""
    headers = (("content-type", ARROW.encode()), ("twin-type", twin_type.encode()), ("shard", shard.encode()))
    return [
        Record(topic, shard.encode(), to_bytes(table.slice(at, BLOCK_ROWS)), headers, partition)
        for at in range(0, table.num_rows, BLOCK_ROWS)
    ]
