"""From the rows of rounds to ratios: always between runs of the same round, with the spread over the rounds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

OURS = "twinflow"
Row = Mapping[str, Any]


def of(rows: Sequence[Row], n: int, long_n: int) -> dict[str, Any]:
    """The keys a run of `bench peers` answers with; None where a job is absent or has not run yet.

    >>> told = {"rss_mb": 1.0, "load": 0.0, "round": 1, "n": 10}
    >>> rows = [{**told, "job": "twinflow", "per_s": 90.0, "cpu_s_per_million": 1.0},
    ...         {**told, "job": "kafka_streams", "per_s": 30.0, "cpu_s_per_million": 4.0}]
    >>> found = of(rows, 10, 10)
    >>> found["ratio_kafka_streams"], found["ratio_naive_bytewax"]
    (3.0, None)
    """
    short = [row for row in rows if row["n"] == n and "per_s" in row]
    long = [row for row in rows if row["n"] == long_n and "per_s" in row]
    mine = [row for row in short if row["job"] == OURS]
    pairs = {
        "ratio_naive_bytewax": _between(short, OURS, "bytewax_naive_full", "per_s"),
        "ratio_kafka_streams": _between(short, OURS, "kafka_streams", "per_s"),
        "ratio_flink_cpu": _between(long, "flink_java", OURS, "cpu_s_per_million"),
        "ratio_rust_cpu": _between(long, OURS, "rust_hand", "cpu_s_per_million"),
    }
    return {
        **{name: _middle(found) for name, found in pairs.items()},
        "spread": {name: [round(min(found), 2), round(max(found), 2)] for name, found in pairs.items() if found},
        "json_messages_per_s": _middle([row["per_s"] for row in mine], 0),
        "cpu_s_per_million": _middle([row["cpu_s_per_million"] for row in mine], 3),
        "cpu_s_per_million_long": _middle([row["cpu_s_per_million"] for row in long if row["job"] == OURS], 3),
        "rss_mb": round(max((row["rss_mb"] for row in mine), default=0)) or None,
        "absent": {row["job"]: row["absent"] for row in rows if "absent" in row},
    }


def _between(rows: Sequence[Row], over: str, under: str, figure: str) -> list[float]:
    """One job's figure over another's, round by round."""
    by = {(row["round"], row["job"]): row[figure] for row in rows}
    rounds = sorted({row["round"] for row in rows})
    return [by[r, over] / by[r, under] for r in rounds if (r, over) in by and (r, under) in by]


def _middle(found: Sequence[float], digits: int = 2) -> float | None:
    return round(statistics.median(found), digits) if found else None
