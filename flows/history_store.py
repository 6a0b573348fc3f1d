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
}
"""Whatever one insert sends becomes one block, hence one part."""
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
        floor: next offset by partition as far as it is known otherwise (rows may have been removed by retention).
    """

    def __init__(self, store: Store, name: str, floor: I64) -> None:
        self.name = name
        self._store, self._sure = store, False
        self.held: I64 = floor.copy()

    def locate(self) -> None:
        """Read back where the table stands."""
        self._store.surely(f"position of {self.name}", self._look)
        self._sure = False

    def _look(self, client: ClickHouse) -> None:
        for kp, ko in client.rows(f"SELECT kp, max(ko) FROM {self.name} GROUP BY kp"):
            self.held[kp] = max(int(self.held[kp]), ko + 1)

    def append(self, rows: pa.Table, token: str) -> None:
        """Store rows; those that are there are left out. Returns when all are there.

        Raises:
            Stopped: told to end while the history did not answer.
        """
        attempt = 0

        def act(client: ClickHouse) -> None:
            nonlocal attempt
            if not self._sure:
                self._look(client)
            new = self._missing(rows)
            if not new.num_rows:
                self._sure = True
                return
            attempt += 1
            sure, self._sure = self._sure, False
            client.insert_arrow(self.name, new, token=token)
            if not sure:
                self._look(client)
                if self._missing(rows).num_rows:
                    log.warning("%s: a token was known without its rows; they go again", self.name)
                    client.insert_arrow(self.name, new, token=f"{token}+{attempt}")
                    self._look(client)
                    if self._missing(rows).num_rows:
                        raise HistoryError(url="", what=self.name, code=0, name="", detail="rows do not appear")
            self._advance(rows)
            self._sure = True

        self._store.surely(f"insert into {self.name}", act)

    def _missing(self, rows: pa.Table) -> pa.Table:
        missing = rows["ko"].to_numpy() >= self.held[rows["kp"].to_numpy()].astype(np.uint64)
        return rows if missing.all() else rows.filter(pa.array(missing))

    def _advance(self, rows: pa.Table) -> None:
        np.maximum.at(self.held, rows["kp"].to_numpy(), rows["ko"].to_numpy().astype(np.int64) + 1)
