"""Exactly-once into one table: every row once, whoever dies when.

A table holds what it was given as a whole or not at all, for one insert of one block is one part (no PARTITION BY).
So the table itself knows where it stands: one past the largest ko of each partition. As long as answers come, that
position is counted along; after any doubt (start, broken connection, refusal) it is read back, what the table has is
not sent again, and the result is looked at. The token covers an insert that still runs while its client thinks it
failed; a token that was remembered although its rows were lost (the engine died in between) is seen by that look, and
the rows go out under another one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import pyarrow as pa

from connectors.clickhouse import ClickHouse, HistoryError
from operators.errors import TwinflowError
from operators.types import I64

ONE_BLOCK: Mapping[str, int] = {
    "max_insert_block_size": 1 << 27,
    "min_insert_block_size_rows": 1 << 27,
    "min_insert_block_size_bytes": 1 << 34,
    "max_insert_threads": 1,
    "optimize_on_insert": 0,
}
"""Whatever one insert sends becomes one block, hence one part. Rows of one insert differ in their keys, so the engine
need not look for equal ones, which would take half of its time."""
LONGEST_PAUSE_SECS = 5.0
PARTITIONS = 256

T = TypeVar("T")
log = logging.getLogger("twinflow.history")


class Stopped(TwinflowError):
    """The writer was told to end while the history did not answer; what was not stored is read again next time."""

    def __init__(self, *, what: str) -> None:
        super().__init__(f"{what}: stopped while the history did not answer; the rest is read again at the next start")


class Store:
    """The history as one thread of the writer sees it: it connects when needed and tries for ever.

    Args:
        url: of ClickHouse, with user and password.
        stop: set to end; a call that fails afterwards raises `Stopped`.
    """

    def __init__(self, url: str, stop: threading.Event) -> None:
        self._url, self._stop = url, stop
        self._client: ClickHouse | None = None

    def once(self, act: Callable[[ClickHouse], T]) -> T:
        """Do something with the connection, without a second try.

        Raises:
            HistoryError: the history refused or does not answer; the connection is given up.
        """
        try:
            if self._client is None:
                self._client = ClickHouse(self._url, settings=ONE_BLOCK, timeout_secs=60)
            return act(self._client)
        except HistoryError:
            self.close()
            raise

    def surely(self, what: str, act: Callable[[ClickHouse], T]) -> T:
        """Do something, again and again with growing pauses until it works.

        Raises:
            Stopped: `stop` was set and it still does not work.
        """
        pause = 0.05
        while True:
            try:
                return self.once(act)
            except HistoryError as error:
                if self._stop.is_set():
                    raise Stopped(what=what) from error
                log.warning("%s: %s; next try in %.2f s", what, error, pause)
                self._stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECS)

    def close(self) -> None:
        """Give the connection back; the next call makes a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None


class Table:
    """One table that takes rows with kp and ko, in order of ko per partition.

    Args:
        store: the connection.
        name: of the table.
        floor: next offset by partition as far as it is known otherwise (rows may have been removed by retention).
        shape: what of the rows it takes; given only rows that it does not have yet, so sums may be made of them.
    """

    def __init__(self, store: Store, name: str, floor: I64, shape: Callable[[pa.Table], pa.Table]) -> None:
        self.name = name
        self.held: I64 = floor.copy()
        self._store, self._shape, self._sure = store, shape, False

    def locate(self) -> None:
        """Read back where the table stands."""
        self._store.surely(f"position of {self.name}", self._look)

    def append(self, rows: pa.Table, token: str) -> None:
        """Store rows; those that are there are left out. Returns when all are there.

        Raises:
            Stopped: told to end while the history did not answer.
        """
        self._store.surely(f"insert into {self.name}", lambda client: self._append(client, rows, token))

    def _append(self, client: ClickHouse, rows: pa.Table, token: str) -> None:
        if not self._sure:
            self._look(client)
        new = self._missing(rows)
        shaped = self._shape(new) if new.num_rows else new
        if shaped.num_rows:
            sure, self._sure = self._sure, False
            client.insert_arrow(self.name, shaped, token=token)
            if not sure and not self._holds(client, shaped):
                log.warning("%s: the token %s was known, its rows were not; they go again", self.name, token)
                client.insert_arrow(self.name, shaped, token=f"{token}+{time.time_ns()}")
        np.maximum.at(self.held, rows["kp"].to_numpy(), rows["ko"].to_numpy().astype(np.int64) + 1)
        self._sure = True

    def _look(self, client: ClickHouse) -> None:
        query = f"SELECT kp, max(ko) FROM {self.name} GROUP BY kp"  # noqa: S608
        for kp, ko in client.rows(query):
            self.held[kp] = max(int(self.held[kp]), ko + 1)

    def _holds(self, client: ClickHouse, rows: pa.Table) -> bool:
        self._look(client)
        return not self._missing(rows).num_rows

    def _missing(self, rows: pa.Table) -> pa.Table:
        missing = rows["ko"].to_numpy() >= self.held[rows["kp"].to_numpy()].astype(np.uint64)
        return rows if missing.all() else rows.filter(pa.array(missing))
