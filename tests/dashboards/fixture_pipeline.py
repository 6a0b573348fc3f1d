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


# share of the time at work, waiting for what follows, rows per second
STEPS = {
    "fetch": (0.03, 0.0, 18_200.0),
    "decode": (0.08, 0.0, 54_600.0),
    "compute": (0.21, 0.0, 54_600.0),
    "live": (0.11, 0.0, 54_600.0),
    "settle": (0.07, 0.0, 51_900.0),
    "commit": (0.0, 0.02, 230.0),
    "state": (0.02, 0.0, 12.0),
}
TOPICS = ("readings", "windows", "rows", "alerts", "twin-states", "ledger", "gaps", "late", "dead-letters")


def flows(mode: str) -> list[dict[str, Any]]:
    """Telemetry in four processes, the gate, the history; `slowhistory`: one of them is the bottleneck."""
    slow, full = mode == "stopped", mode == "slowhistory"
    held = 0.31 if mode == "blocked" else 0.0
    steps = [
        step(name, busy, held if name == "commit" else blocked, rows) for name, (busy, blocked, rows) in STEPS.items()
    ]
    stored = [step(name, (0.91 if full else 0.34) / (1 + i), 0.0, 2400.0 / (1 + i)) for i, name in enumerate(TOPICS)]
    judged = [step("judge", 0.001, 0.0, 0.6), step("commit", 0.0, 0.079, 3.0)]
    return [
        flow(
            "telemetry", steps, processes=4, rows_in=18_200.0, rows_out=21_400.0, state="stopped" if slow else "running"
        )
        | ({"steps": [], "busy": None, "behind_ms": None} if slow else {}),
        *([] if mode == "nocommands" else [flow("gate", judged, lag=0, rows_in=0.6, rows_out=3.0)]),
        flow("history-writer", stored, rows_in=21_400.0, rows_out=21_400.0)
        | {"busy": stored[0]["busy"], "behind_ms": 4200 if full else 610},
    ]


def step(name: str, busy: float, blocked: float, rows: float) -> dict[str, Any]:
    return {"name": name, "busy": round(busy, 3), "blocked": blocked, "rows_in": rows, "rows_out": rows}


def flow(name: str, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    shares = {share: round(sum(s[share] for s in steps), 3) for share in ("busy", "blocked")}
    return {"name": name, **shares, "behind_ms": 9, "processes": 1, "steps": steps, "state": "running", **more}


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
            "worker": f"telemetry-{p % 4 + 1}",
            "lag_ms": 61_000 if slow and p == 3 else (7 * p + passed) % 23,
            "history_lag_ms": 4200 if mode == "slowhistory" and p == 3 else 560 + 13 * p,
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
        "command-acks": 1.2,
        "commands": 0.6,
        "command-events": 2.4,
    }
    pairs = [("samples", "telemetry", "samples")] + [("telemetry", t, t) for t in (*SETTLED, *LIVE)]
    pairs += [(t, "history-writer", t) for t in (*SETTLED, "alerts", "command-requests", "command-events")]
    pairs += [(t, "dashboard", t) for t in ("twin-live", "alerts", "twin-states", "ledger", "command-events")]
    if mode != "nocommands":
        pairs += [(t, "gate", t) for t in ("command-requests", "command-acks")]
        pairs += [("gate", t, t) for t in ("commands", "command-events")] + [("commands", "devices", "commands")]
    else:
        rates = {t: rate for t, rate in rates.items() if not t.startswith("command")}
    steps = dict.fromkeys(LIVE, "live") | dict.fromkeys(SETTLED, "settle")
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
        "flows": flows(mode),
        "links": {
            "broker": {"up": True, "since_ns": NOW, "answered_ns": now, "cause": ""},
            "history": {"up": mode != "nohistory", "since_ns": NOW, "answered_ns": now, "cause": GONE},
        },
        "edges": [
            {
                "from": a,
                "to": b,
                "rate": rates.get(t, 0.0),
                "step": "fetch" if b == "telemetry" else steps.get(b) if a == "telemetry" else None,
            }
            for a, b, t in pairs
        ],
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
