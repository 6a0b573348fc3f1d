"""The fixture server with alarms, commands and a pipeline in all their states, shaped as the API. For tests only.

Further modes: `refusing` (the gate refuses), `unbalanced` (records missing), `stopped` (telemetry stands), `quiet` (no
alarm, no command, no dead letter).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Request, WebSocket, WebSocketDisconnect

from dashboards.app import create
from tests.dashboards import fixture_server as base

SECOND = base.SECOND
NOW = base.STARTED
STAGES = ("requested", "authorised", "dispatched", "acknowledged", "effect")

RANKED = [["flow", 0.61], ["motor_current", 0.24], ["vibration_pump", 0.09], ["body_temp", 0.06]]
PLANT = json.loads((Path(__file__).parent / "plant.json").read_text("utf-8"))
SHELVED = {
    "P-31": {
        "who": "k.lind",
        "until_ns": NOW + 4 * 3600 * SECOND,
        "at_ns": NOW - 600 * SECOND,
        "reason": "spare part comes",
    }
}


class Plant:
    """Alarms and commands that change by what is posted."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.refuse = False

    def commands(self, now: int) -> list[dict[str, Any]]:
        posted = [self.life(c, now) for c in self.asked]
        return sorted(posted + list(STORED), key=lambda c: -int(c["at_ns"]))

    def life(self, asked: dict[str, Any], now: int) -> dict[str, Any]:
        """Two tenths of a second per stage."""
        steps = min(len(STAGES), 1 + int((now - asked["at_ns"]) / SECOND / 0.2))
        stages = {s: asked["at_ns"] + i * SECOND // 5 for i, s in enumerate(STAGES[:steps])}
        known = {"issuer": "page", "why": asked["why"], "reason": "", "detail": None}
        if asked["refuse"] and steps > 1:
            stages = {"requested": asked["at_ns"], "refused": asked["at_ns"] + SECOND // 5}
            known["reason"] = "by the role: page may not do this on P-07"
        done = "refused" in stages or steps == len(STAGES)
        plain = {k: asked[k] for k in ("id", "device", "verb", "arguments", "at_ns")}
        return {**plain, **known, "stages": stages, "stage": list(stages)[-1], "open": not done}

    def alarms(self, now: int) -> list[dict[str, Any]]:
        found = []
        ended = [self.life(c, now) for c in self.asked]
        for number, row in enumerate(PLANT["alarms"]):
            twin, source, after, who = row["twin"], row["source"], row["returned_after"], row["who"]
            raised = NOW - int(row["minutes"] * 60) * SECOND if number else base.RAISED
            name = f"A-{2207 - number}"
            acked = {"who": who, "at_ns": raised + 252 * SECOND} if who else None
            shelved = SHELVED.get(twin)
            for c in ended:
                if c["arguments"].get("alarm") == name and c["stage"] == "effect":
                    if c["verb"] == "acknowledge":
                        acked = {"who": "page", "at_ns": c["stages"]["effect"]}
                    else:
                        shelved = {
                            "who": "page",
                            "until_ns": c["arguments"]["until_ns"],
                            "at_ns": c["at_ns"],
                            "reason": c["why"],
                        }
            detector = source in ("hydraulics", "jumps")
            returned = None if after is None else raised + int(after) * SECOND
            found.append(
                {
                    **{name: row[name] for name in ("twin", "signal", "source", "severity", "priority")},
                    "id": name,
                    "type": "pump",
                    "kind": "detector" if detector else "rule",
                    "state": "open" if returned is None else "returned",
                    "cause": row["cause"] if number else base.ALARM_CAUSE,
                    "raised_ns": raised,
                    "returned_ns": returned,
                    "returned": "" if returned is None else "below its limit again",
                    "acknowledged": acked,
                    "shelved": shelved,
                    "value": None if detector else 0.81,
                    "threshold": 0.82 if detector else 0.6,
                    "score": 0.97 if detector else None,
                    "ranked": RANKED if detector else [],
                    "count": row["times"],
                    "lineage": {"shard": "03gb", "offset": 8812244 - number},
                }
            )
        return found


def stored(
    n: int, ago: float, device: str, verb: str, arguments: dict[str, Any], reached: int, issuer: str, **more: Any
) -> dict[str, Any]:
    at = NOW - int(ago) * SECOND
    end = more.pop("end", None)
    took = more.pop("took", 0.6)
    stages = {s: at + int(took * SECOND * i / max(1, reached - 1)) for i, s in enumerate(STAGES[:reached])}
    if end:
        stages[end] = at + int(took * SECOND)
    known = {"issuer": issuer, "why": "", "reason": "", "detail": None, **more}
    is_open = end is None and reached < len(STAGES)
    return {
        "id": f"C-{n:04d}",
        "device": device,
        "verb": verb,
        "arguments": arguments,
        "at_ns": at,
        "stages": stages,
        "stage": list(stages)[-1],
        "open": is_open,
        **known,
    }


CHECKS = [
    {"name": "schema", "outcome": "passed", "said": "pump/2 verb set_speed", "took_ns": 21_000},
    {"name": "deadline", "outcome": "passed", "said": "0.8 s of 30 s", "took_ns": 8_000},
    {"name": "idempotency", "outcome": "passed", "said": "first time seen", "took_ns": 19_000},
    {"name": "second approval", "outcome": "skipped", "said": "not needed for this verb", "took_ns": None},
    {"name": "envelope", "outcome": "refused", "said": "3 100 rpm is over 2 950 rpm", "took_ns": 22_000},
    {"name": "dispatch", "outcome": "skipped", "said": "not sent", "took_ns": None},
]
STORED = (
    stored(918, 4, "P-07", "set_valve", {"open": 100}, 3, "m.ruiz"),
    stored(917, 9, "P-13", "set_speed", {"speed_rpm": 900}, 4, "rule:slow_on_drag"),
    stored(916, 300, "P-04", "stop", {}, 5, "k.lind", took=1.84, why="too hot"),
    stored(
        915,
        600,
        "P-08",
        "set_speed",
        {"speed_rpm": 3100},
        1,
        "planner",
        end="refused",
        detail={"checks": CHECKS},
        reason="by the envelope: 3 100 rpm is over the limit of 2 950 rpm",
        why="more flow for loop 2",
    ),
    stored(914, 660, "P-21", "stop", {}, 3, "fleet", end="timed_out", took=10, reason="no acknowledgement in 10 s"),
    stored(913, 1500, "P-05", "set_speed", {"speed_rpm": 1400}, 5, "planner", took=6.2),
    stored(
        912,
        3000,
        "P-11",
        "reset",
        {},
        2,
        "j.osei",
        end="refused",
        reason="by the interlock: its live twin is 2 h 51 min old, limit 500 ms",
    ),
    stored(911, 5400, "P-19", "set_speed", {"speed_rpm": 1200}, 5, "rule:spare", took=3.0),
    stored(910, 7980, "P-24", "start", {}, 4, "fleet", end="timed_out", took=5, reason="no effect in 5 s"),
)
VERBS = [
    {"verb": "stop", "arguments": {}, "timeout_ns": 5 * SECOND, "grave": False},
    {
        "verb": "set_speed",
        "timeout_ns": 10 * SECOND,
        "grave": False,
        "arguments": {
            "type": "object",
            "required": ["supply"],
            "properties": {"supply": {"type": "number", "minimum": 0, "maximum": 240}},
        },
    },
]

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


def api() -> FastAPI:
    app = base.api()
    plant, router = Plant(), APIRouter()

    def mode() -> str:
        return str(app.state.mode)

    @router.get("/api/features")
    def features() -> dict[str, bool]:
        return {"commands": mode() != "nocommands", "history": True}

    @router.get("/api/alarms")
    def alarms() -> list[dict[str, Any]]:
        if mode() in ("empty", "quiet"):
            return []
        found = plant.alarms(time.time_ns())
        return found if mode() != "nocommands" else [{**a, "acknowledged": None, "shelved": None} for a in found]

    @router.get("/api/twins/{twin}")
    def one(twin: str) -> dict[str, Any]:
        return {**base.twin_state(twin, time.time_ns()), "commands": VERBS}

    @router.get("/api/commands")
    def commands() -> list[dict[str, Any]]:
        return [] if mode() in ("empty", "quiet", "nocommands") else plant.commands(time.time_ns())

    @router.post("/api/commands", status_code=202)
    async def ask(request: Request) -> dict[str, str]:
        body = await request.json()
        app.state.sent.append(body)
        number = f"C-{918 + len(app.state.sent):04d}"
        refuse = mode() == "refusing"
        plant.asked.append(
            {
                "id": number,
                "device": body["device"],
                "verb": body["verb"],
                "arguments": body["arguments"],
                "why": body["reason"],
                "at_ns": time.time_ns(),
                "refuse": refuse,
            }
        )
        return {"id": number}

    @router.get("/api/pipeline")
    def pipe() -> dict[str, Any]:
        return pipeline(mode(), time.time_ns())

    @router.get("/api/dead-letters")
    def dead(reason: str = "", limit: int = 50) -> list[dict[str, Any]]:
        return letters(reason)[:limit]

    @router.post("/api/dead-letters/redrive")
    async def redrive(request: Request) -> dict[str, Any]:
        body = await request.json()
        app.state.sent.append(body)
        count = next(d["count"] for d in PLANT["dead_letters"] if d["reason"] == body["reason"]) - 2
        done = min(count, body["limit"])
        return {
            "reason": body["reason"],
            "dry_run": body["dry_run"],
            "found": count + 2,
            "sent": done,
            "left": count - done,
            "passed_over": 2,
        }

    @router.websocket("/ws/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        topics: list[str] = []
        reader = asyncio.create_task(base.read_topics(socket, topics))
        beat = 0
        with suppress(WebSocketDisconnect, RuntimeError):
            while not reader.done():
                now = time.time_ns()
                known = {
                    "overview": lambda n: base.fleet(n),
                    "pipeline": lambda n: pipeline(mode(), n),
                    "alarms": plant.alarms,
                    "commands": plant.commands,
                }
                for topic in topics if beat % 20 == 0 and mode() != "broken" else ():
                    if topic in known and mode() not in ("empty", "quiet"):
                        await socket.send_text(json.dumps({"topic": topic, "t_ns": now, "data": known[topic](now)}))
                for topic in topics:
                    if topic.startswith("twin:"):
                        await socket.send_text(json.dumps(base.live_rows(topic, now)))
                beat += 1
                await asyncio.sleep(0.05)
        reader.cancel()

    app.router.routes[:0] = router.routes
    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    uvicorn.run(create(api()), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
