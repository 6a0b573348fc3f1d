from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

class IsolationLevel(IntEnum):
    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1

class Fetcher:
    class PartitionRecords:
        fetch_offset: int
        next_fetch_offset: int
        bytes_read: int
        records_read: int
        isolation_level: IsolationLevel
        aborted_producer_ids: set[int]
        aborted_transactions: deque[Any]
        leader_epoch: int
        def __init__(
            self,
            fetch_offset: int,
            tp: Any,
            records: Any,
            key_deserializer: Any = ...,
            value_deserializer: Any = ...,
            check_crcs: bool = ...,
            isolation_level: IsolationLevel = ...,
            aborted_transactions: Any = ...,
            metric_aggregator: Any = ...,
            on_drain: Callable[[Any], object] = ...,
        ) -> None: ...
        def __bool__(self) -> bool: ...
        def take(self, n: int | None = ...) -> list[Any]: ...
        def _unpack_records(self, tp: Any, records: Any, key: Any, value: Any, /) -> Iterator[Any]: ...
        def _consume_aborted_transactions_up_to(self, offset: int) -> None: ...
        def drain(self) -> None: ...
