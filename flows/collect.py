"""Result topics back into tables, as a backtest makes them: the same columns, the same rows under the same keys."""

from __future__ import annotations

import pyarrow as pa

from connectors.topic_tail import TopicTail
from flows.encode import from_bytes
from flows.tables import NAMED_KEY, WINDOW_KEY, latest_revisions, plain

TABLES = ("windows", "named-windows", "rows", "anomalies", "late")


def collect(bootstrap: str, twin_type: str, *, since_ns: int = 0) -> dict[str, pa.Table]:
    """Everything the settled topics keep of one twin type; windows by their last word on each revision.

    Args:
        bootstrap: host:port of a broker.
        twin_type: its name.
        since_ns: only results that arrived at this time or later, ns UTC.

    Raises:
        TopicError: a topic is missing, or the broker does not answer.
    """
    tables = {}
    for topic in TABLES:
        parts = list(_blocks(bootstrap, topic, twin_type, since_ns))
        if parts:
            tables[topic.replace("-", "_")] = pa.concat_tables(parts)
    for name, key in (("windows", WINDOW_KEY), ("named_windows", NAMED_KEY)):
        if name in tables:
            tables[name] = latest_revisions(tables[name], key)
    return tables


def _blocks(bootstrap: str, topic: str, twin_type: str, since_ns: int) -> list[pa.Table]:
    tail = TopicTail(bootstrap, topic, since_ns=since_ns)
    try:
        return [
            plain(from_bytes(frames.value(row) or b""))
            for frames in tail.read()
            for row, headers in frames.headers.items()
            if headers.get("twin-type") == twin_type.encode()
        ]
    finally:
        tail.close()
