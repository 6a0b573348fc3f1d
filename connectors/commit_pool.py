"""Commits the shards of a worker in the background, while it works on the epoch after."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from connectors.kafka_commit import Settled, ShardTransactions

THREADS = 4
"""Commits at a time: all twelve at once keep a broker on two cores from everything else for a tenth of a second."""
MOST_ROWS = 100_000
"""Rows of a shard that wait for the commit before theirs; with more the worker waits too."""


@dataclass(slots=True)
class _Shard:
    """What is under way for a shard, and what came for it meanwhile."""

    running: Future[None] | None = None
    waiting: list[Settled] = field(default_factory=list)
    rows: int = 0


class CommitPool:
    """One commit of a shard at a time; what comes meanwhile waits and opens the next transaction.

    So a shard is never more than one epoch ahead of what is committed, beside the epoch it is in.

    Args:
        before: called at each `commit`, in the worker; what it gives is called before that commit, in its thread.
        executor: runs the commits; four threads where none is given.

    Attributes:
        blocked_ns: time callers waited for a commit.
    """

    def __init__(
        self, before: Callable[[], Callable[[], None]] = lambda: _nothing, *, executor: Executor | None = None
    ) -> None:
        self.blocked_ns = 0
        self._before = before
        self._executor = executor or ThreadPoolExecutor(THREADS, thread_name_prefix="commit")
        self._shards: dict[str, _Shard] = {}

    def write(self, shard: ShardTransactions, settled: Settled) -> None:
        """Write for a shard: at once, or once its commit is through.

        Raises:
            CommitError: that commit failed, or an earlier record was refused for good.
        """
        own = self._shards.setdefault(shard.shard, _Shard())
        if own.running is not None and (own.running.done() or own.rows > MOST_ROWS):
            self._await(shard, own)
        if own.running is None:
            shard.write(settled)
        else:
            own.waiting.append(settled)
            own.rows += 0 if settled.part is None else settled.part.rows

    def commit(self, shard: ShardTransactions) -> None:
        """Begin to commit what was written for a shard, once its last commit is through.

        Raises:
            CommitError: that one failed.
        """
        own = self._shards.setdefault(shard.shard, _Shard())
        self._await(shard, own)
        if shard.open:
            own.running = self._executor.submit(_commit, shard, self._before())

    def check(self) -> None:
        """Tell of commits that failed while nothing came for their shards, as when the broker is away.

        Raises:
            CommitError: the first of them.
        """
        for own in self._shards.values():
            if own.running is not None and own.running.done():
                own.running.result()

    def finish(self, shard: ShardTransactions) -> None:
        """Wait until what was begun is committed.

        Raises:
            CommitError: it failed.
        """
        self._await(shard, self._shards.setdefault(shard.shard, _Shard()))

    def _await(self, shard: ShardTransactions, own: _Shard) -> None:
        if own.running is None:
            return
        since = time.perf_counter_ns()
        try:
            own.running.result()
        finally:
            self.blocked_ns += time.perf_counter_ns() - since
        own.running = None
        waiting, own.waiting, own.rows = own.waiting, [], 0
        for settled in waiting:
            shard.write(settled)


def _commit(shard: ShardTransactions, before: Callable[[], None]) -> None:
    before()
    shard.commit()


def _nothing() -> None:
    pass
