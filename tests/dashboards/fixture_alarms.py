"""The fixture server with alarms, commands and a pipeline in all their states, shaped as the API. For tests only.

Further modes: `slowhistory` and `blocked` (a bottleneck, backpressure), `refusing` (the gate refuses), `unbalanced`
(records missing), `stopped` (telemetry stands), `quiet` (no alarm, no command, no dead letter), `nohistory` (the
history does not answer).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Request, WebSocket, WebSocketDisconnect

from dashboards.app import create
from tests.dashboards import fixture_server as base
from tests.dashboards.fixture_pipeline import PLANT, letters, pipeline

SECOND = base.SECOND
NOW = base.STARTED
OF_ALARMS = ("acknowledge", "shelve", "unshelve")
STAGES = ("requested", "authorised", "dispatched", "acknowledged", "effect")

RANKED = [["flow", 0.61], ["motor_current", 0.24], ["vibration_pump", 0.09], ["body_temp", 0.06]]
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
        if asked["verb"] in OF_ALARMS:
            stages = {s: at for s, at in stages.items() if s not in ("dispatched", "acknowledged")}
        known = {"issuer": "person:page", "why": asked["why"], "reason": "", "late": "", "detail": CHECKS[:3]}
        if asked["refuse"] and steps > 1:
            stages = {"requested": asked["at_ns"], "refused": asked["at_ns"] + SECOND // 5}
            known["reason"] = "role: page may not do this on P-07"
            known["detail"] = [{"check": "role", "passed": False, "value": None, "limit": None, "why": REFUSED}]
        done = "refused" in stages or steps == len(STAGES)
        known["deadline_ns"] = 0 if done or steps < 3 else stages[list(stages)[-1]] + 10 * SECOND
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
            shelved, was = SHELVED.get(twin), None
            for c in (c for c in ended if c["arguments"].get("alarm") == name and c["stage"] == "effect"):
                at = c["stages"]["effect"]
                if c["verb"] == "acknowledge":
                    acked = {"who": "page", "at_ns": at}
                elif c["verb"] == "unshelve":
                    was, shelved = {**(shelved or {}), "until_ns": at}, None
                else:
                    shelved = {"who": "page", "until_ns": c["arguments"]["until_ns"], "at_ns": at, "reason": c["why"]}
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
                    "was_shelved": was,
                    "value": None if detector else 0.81,
                    "threshold": 0.82 if detector else 0.6,
                    "score": 0.97 if detector else None,
                    "ranked": RANKED if detector else [],
                    "count": row["times"],
                    "lineage": {"shard": "03gb", "offset": 8812244 - number},
                }
            )
        return found


REFUSED = "page may not do this on P-07"


def check(name: str, passed: bool | None, value: Any = None, limit: Any = None, why: str = "") -> dict[str, Any]:
    return {"check": name, "passed": passed, "value": value, "limit": limit, "why": why}


NOT_SET_UP = "not configured"
CHECKS = [
    check("schema", True, "set_speed", None, "pump version 2"),
    check("signature", None, why=NOT_SET_UP),
    check("deadline", True, 0.8, 30.0, "age and longest age, s"),
    check("idempotency", True, "C-0915", None, "never seen before"),
    check("second_approval", None, why=NOT_SET_UP),
    check("envelope", False, 3100, 2950, "3100 rpm is over the limit of 2950 rpm"),
]


def stored(
    n: int, ago: float, device: str, verb: str, arguments: dict[str, Any], reached: int, issuer: str, **more: Any
) -> dict[str, Any]:
    at = NOW - int(ago) * SECOND
    end = more.pop("end", None)
    took = more.pop("took", 0.6)
    stages = {s: at + int(took * SECOND * i / max(1, reached - 1)) for i, s in enumerate(STAGES[:reached])}
    if end:
        stages[end] = at + int(took * SECOND)
    known = {"issuer": issuer, "why": "", "reason": "", "late": "", "detail": CHECKS[:3], "deadline_ns": 0, **more}
    is_open = end is None and reached < len(STAGES)
    if is_open:
        known["deadline_ns"] = stages[STAGES[reached - 1]] + 10 * SECOND
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


NO_PRESSURE = {"reason": "failed by the device: no pressure"}
LATE = {"reason": "no answer within 5 s", "late": "late: 2.100 s after the time-out"}
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
        detail=CHECKS,
        reason="envelope: 3100 rpm is over the limit of 2950 rpm",
        why="more flow for loop 2",
    ),
    stored(914, 660, "P-21", "stop", {}, 3, "fleet", end="timed_out", took=10, reason="no answer within 10 s"),
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
        detail=[*CHECKS[:5], check("interlocks", False, 10260, 0.5, "the live twin is 2 h 51 min old, limit 500 ms")],
        reason="interlocks: the live twin is 2 h 51 min old, limit 500 ms",
    ),
    stored(911, 5400, "P-19", "set_speed", {"speed_rpm": 1200}, 5, "rule:spare", took=3.0),
    stored(910, 7980, "P-24", "start", {}, 4, "fleet", end="failed", took=5, **NO_PRESSURE),
    stored(908, 9000, "P-26", "stop", {}, 3, "person:k.lind", end="timed_out", took=5, **LATE),
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
            "properties": {
                "supply": {"type": "number", "minimum": 0.5, "maximum": 240},
                "ramp_secs": {"type": "number", "exclusiveMinimum": 0},
            },
        },
    },
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

    @router.get("/api/scores")
    def scores(from_ns: int, to_ns: int) -> dict[str, list[float]]:
        t = list(range(max(from_ns, base.RAISED), to_ns, 2 * SECOND))
        return {"t": list(map(float, t)), "v": [0.9 + i % 7 / 100 for i in range(len(t))], "threshold": [0.82] * len(t)}

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
