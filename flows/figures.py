"""What telemetry counts: per step, and per shard what became of its records, how far it is and how much it holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields

import numpy as np
from prometheus_client.core import Metric

from connectors.health import counters, gauge, gauges, histogram, of_steps
from flows.publish import Fetch
from operators.ledger import Counts
from operators.meter import Durations, Meter
from operators.types import NO_TIME, State

OUTCOMES = tuple(f.name for f in fields(Counts))


class ShardFigures:
    """One shard. Results count when they are settled, state when it is logged: once per epoch, not per fetch.

    Attributes:
        records, samples: int[6] by outcome.
        dead: dead letters by reason.
        slowest_ns, fastest_ns: watermark of the device that is furthest back, furthest on; NO_TIME before the first.
        rows, bytes: devices in the state, and its size in memory.
    """

    def __init__(self) -> None:
        self.records, self.samples = [0] * len(OUTCOMES), [0] * len(OUTCOMES)
        self.dead: Counter[str] = Counter()
        self.slowest_ns = self.fastest_ns = int(NO_TIME)
        self.rows = self.bytes = 0

    def settled(self, fetches: Sequence[Fetch]) -> None:
        """Fetches of one epoch, on their way into its transaction."""
        for fetch in fetches:
            self.dead.update(fetch.dead.reason)
            self.records = _plus(self.records, fetch.ledger.records)
            self.samples = _plus(self.samples, fetch.ledger.samples)

    def logged(self, state: State) -> None:
        """The state at the end of an epoch.

        >>> shard = ShardFigures()
        >>> shard.logged({"lane0/window/w": np.array([NO_TIME, 5, 9]), "lane0/window/sum": np.zeros(3)})
        >>> shard.rows, shard.bytes, shard.slowest_ns, shard.fastest_ns
        (3, 48, 5, 9)
        """
        self.bytes = sum(x.nbytes for x in state.values())
        marks = [x for name, x in state.items() if name.endswith("/window/w")]
        self.rows = sum(x.size for x in marks)
        known = np.concatenate([x[x != NO_TIME] for x in marks]) if marks else np.empty(0, np.int64)
        if known.size:
            self.slowest_ns, self.fastest_ns = int(known.min()), int(known.max())


def _plus(sums: list[int], counts: Counts) -> list[int]:
    return [a + b for a, b in zip(sums, astuple(counts), strict=True)]


class Figures:
    """All of one process.

    Args:
        shards: by name.
    """

    def __init__(self, shards: Iterable[str]) -> None:
        self.shards = {name: ShardFigures() for name in shards}
        self.snapshots = Durations()

    def logged(self, shard: str, state: State, took_ns: int) -> None:
        """The state of a shard was logged."""
        self.snapshots.add(took_ns)
        self.shards[shard].logged(state)

    def collect(
        self, steps: Mapping[str, Meter], lag: Mapping[str, int], age: Mapping[str, float], transactions: Durations
    ) -> Iterable[Metric]:
        """Everything as Prometheus has it.

        Args:
            steps: meters by step.
            lag, age: records that wait, and the age of the oldest in s, by shard.
            transactions: how long commits took.
        """
        yield from of_steps("telemetry", steps)
        yield _by_shard("twinflow_input_lag_records", "Records that wait for the flow.", lag)
        yield _by_shard("twinflow_input_oldest_age_seconds", "Age of the oldest record that waits.", age)
        yield gauge("twinflow_behind_seconds", "Age of the oldest record that waits in any shard.", max(age.values()))
        for name in ("records", "samples"):
            sums = {
                (shard, outcome): n
                for shard, one in self.shards.items()
                for outcome, n in zip(OUTCOMES, getattr(one, name), strict=True)
            }
            yield counters(f"twinflow_{name}", f"What became of {name}.", ("shard", "outcome"), sums)
        dead = sum((one.dead for one in self.shards.values()), Counter[str]())
        yield counters(
            "twinflow_rejected_messages", "Dead letters.", ("reason",), {(reason,): n for reason, n in dead.items()}
        )
        yield self._watermarks()
        yield _by_shard("twinflow_state_rows", "Devices in the state.", self._each("rows"))
        yield _by_shard("twinflow_state_bytes", "Size of the state in memory.", self._each("bytes"))
        yield histogram("twinflow_snapshot_seconds", "Logging the state of a shard.", self.snapshots)
        yield histogram("twinflow_transaction_seconds", "Committing the results of a shard.", transactions)

    def _each(self, name: str) -> dict[str, float]:
        return {shard: getattr(one, name) for shard, one in self.shards.items()}

    def _watermarks(self) -> Metric:
        now = time.time_ns()
        lags = {
            (shard, which): (now - mark) / 1e9
            for shard, one in self.shards.items()
            for which, mark in (("slowest", one.slowest_ns), ("fastest", one.fastest_ns))
            if mark != NO_TIME
        }
        said = "Now less the watermark of the slowest and of the fastest device."
        return gauges("twinflow_watermark_lag_seconds", said, ("shard", "device"), lags)


def _by_shard(name: str, said: str, values: Mapping[str, float]) -> Metric:
    return gauges(name, said, ("shard",), {(shard,): value for shard, value in values.items()})
