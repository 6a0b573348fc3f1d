from collections import deque
from collections.abc import Iterator
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
        def _unpack_records(self, tp: Any, records: Any, key: Any, value: Any, /) -> Iterator[Any]: ...
        def _consume_aborted_transactions_up_to(self, offset: int) -> None: ...
        def drain(self) -> None: ...
