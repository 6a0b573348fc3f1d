"""What the fixture server tells of the pipeline, in every mode. For tests only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.dashboards import fixture_server as base

SECOND = base.SECOND
NOW = base.STARTED
PLANT = json.loads((Path(__file__).parent / "plant.json").read_text("utf-8"))
GONE = "The history at 127.0.0.1:8123 does not answer: connection refused"

SETTLED = ("readings", "windows", "rows", "anomalies", "twin-states", "gaps", "ledger", "late", "dead-letters")
LIVE = ("twin-live", "alerts", "command-requests")


def dead_letters() -> list[dict[str, Any]]:
    return [
        {**{k: v for k, v in d.items() if k != "ago"}, "last_ns": NOW - d["ago"] * SECOND}
        for d in PLANT["dead_letters"]
    ]


def pipeline(mode: str, now: int) -> dict[str, Any]:
    passed = (now - NOW) // (SECOND // 20)
    slow = mode == "stopped"
    came = 0 if mode == "empty" else 41_203_118 + passed
    records = {
        "control": 0,
        "applied": came - 15_716,
        "late": 9871,
        "duplicate": 5604,
        "rejected": 173,
        "quarantined": 68,
    }
    if mode == "empty":
        records = dict.fromkeys(records, 0)
    partitions = [
        {
            "shard": f"{p:02d}",
            "partition": p,
            "lag": 41_200 + passed if slow and p == 3 else (7 * p + passed) % 23,
            "rate": 0.0 if slow else 1480.0 + 31 * p,
            "watermark_ns": now - (400 + 40 * p) * 1_000_000,
            "late": 700 + 17 * p,
            "missing": 3 if p == 5 else 0,
            "holes": 12 if mode == "unbalanced" and p == 3 else 0,
            "committed_ns": now,
            "history_lag": 60 + 7 * p,
        }
        for p in range(12)
    ]
    rates = {
        "samples": 18_200.0,
        "twin-live": 18_100.0,
        "rows": 2400.0,
        "windows": 900.0,
        "readings": 410.0,
        "dead-letters": 0.02,
        "command-requests": 0.6,
    }
    pairs = [("samples", "telemetry", "samples")] + [("telemetry", t, t) for t in (*SETTLED, *LIVE)]
    pairs += [(t, "history-writer", t) for t in (*SETTLED, "alerts", "command-requests", "command-events")]
    pairs += [(t, "dashboard", t) for t in ("twin-live", "alerts", "twin-states", "ledger", "command-events")]
    return {
        "ledger": {
            "records_in": came,
            "samples_in": 3 * came,
            "records": records,
            "samples": records,
            "balance": 0,
            "missing": 12 if mode == "unbalanced" else 0,
            "cut_ns": now - now % SECOND,
        },
        "partitions": partitions,
        "flows": [
            {
                "name": "telemetry",
                "busy": None,
                "rows_in": 18_200.0,
                "rows_out": 21_400.0,
                "state": "stopped" if slow else "running",
            }
        ],
        "links": {
            "broker": {"up": True, "since_ns": NOW, "answered_ns": now, "cause": ""},
            "history": {"up": mode != "nohistory", "since_ns": NOW, "answered_ns": now, "cause": GONE},
        },
        "edges": [{"from": a, "to": b, "rate": rates.get(t, 0.0)} for a, b, t in pairs],
        "dead_letters": [] if mode == "quiet" else dead_letters(),
    }


def letters(reason: str) -> list[dict[str, Any]]:
    raw = json.dumps({"device": "meter-119", "ts": 1_700_000_000_000, "signals": {"power": 3.1}})
    common = {
        "reason": reason,
        "detail": "no pattern names meter-119",
        "topic": "samples",
        "partition": 7,
        "arrival_ns": NOW,
        "device": "meter-119",
    }
    return [
        {
            **common,
            "offset": 88_214 - i,
            "key": "meter-119",
            "raw": raw,
            "raw_base64": None,
            "cut": False,
            "at": "dead-letters/7/1",
        }
        for i in range(3)
    ]
