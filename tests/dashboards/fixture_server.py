"""The dashboards over an API that answers from arithmetic: about 40 twins, a pump with an anomaly. For tests only.

Every value is a function of (twin, signal, time), so a picture of an instant is the same in each run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from connectors.history_sql import series_sql
from dashboards.app import create

SECOND = 1_000_000_000
STARTED = time.time_ns()
RAISED = STARTED - 95 * SECOND
SITES = ("Plant North / Water loop 2", "Plant South / Air", "Warehouse A / Aisle 14", "Campus / Block B")
PARTS = (
    ("", "Pump"),
    ("motor", "Motor"),
    ("impeller", "Impeller"),
    ("inlet_valve", "Inlet valve"),
    ("bearing/drive", "Drive end"),
)
# name, unit, component, base, spread, normal low, normal high, limit low, limit high, rate Hz
SIGNALS: tuple[tuple[str, str, str, float, float, float, float, float | None, float | None, float], ...] = (
    ("flow", "l/min", "impeller", 32.0, 0.8, 30.5, 34.0, 29.0, 38.0, 20.0),
    ("motor_current", "A", "motor", 1.0, 0.35, 0.7, 1.6, None, 2.2, 20.0),
    ("pressure", "bar", "impeller", 0.19, 0.12, 0.0, 0.4, None, 0.6, 20.0),
    ("vibration_motor", "g", "motor", 0.0272, 0.001, 0.02, 0.034, None, 0.05, 20.0),
    ("vibration_pump", "g", "bearing/drive", 0.0402, 0.002, 0.03, 0.05, None, 0.07, 20.0),
    ("body_temp", "degC", "motor", 70.0, 0.3, 65.0, 85.0, None, 95.0, 20.0),
    ("fluid_temp", "degC", "", 24.8, 0.1, 20.0, 32.0, None, 60.0, 20.0),
    ("supply", "V", "motor", 232.0, 6.0, 220.0, 240.0, 207.0, 253.0, 20.0),
    ("tank_level", "m", "", 1.84, 0.0, 1.0, 3.0, 0.5, 3.5, 1.0),
)
MODES = ("fleet", "empty", "broken", "nocommands")


def value(twin: str, name: str, t_ns: int) -> float:
    base, spread = next((s[3], s[4]) for s in SIGNALS if s[0] == name)
    t = t_ns / SECOND
    phase = sum(map(ord, twin + name))
    wave = math.sin(t * 1.7 + phase) * 0.5 + math.sin(t * 0.31 + phase * 2) * 0.3 + math.sin(t * 9.1 + phase) * 0.2
    drop = 5.0 / (1 + math.exp(min(60.0, -(t_ns - RAISED) / SECOND / 6))) if (twin, name) == ("P-07", "flow") else 0.0
    return base + spread * wave - drop


def last_ns(twin: str, name: str, now: int) -> int:
    """When the newest sample was; a silent twin and a silent signal stop."""
    if twin == "T-02":
        return STARTED - 11_520 * SECOND
    if name == "tank_level":
        return min(now, STARTED - 240 * SECOND)
    period = SECOND // 20
    return now // period * period


TROUBLES: dict[str, tuple[str, int, str, int]] = {
    "P-07": ("alarm", 0, "flow", 1),
    "P-11": ("alarm", 2900, "body_temp", 0),
    "P-04": ("warn", 120, "motor_current", 1),
    "P-18": ("warn", 5400, "vibration_pump", 2),
    "P-21": ("warn", 3000, "body_temp", 0),
    "P-30": ("warn", 11160, "pressure", 0),
    "T-02": ("offline", 11_425, "flow", 0),
}
CAUSES = {
    "P-11": "Motor body has crossed 95 °C and climbs 0.6 °C/min.",
    "P-04": "Motor current is 2.3 times the fleet median at the same flow; the impeller drags.",
    "P-18": "Band power at 3.1 × shaft speed has doubled in 6 days.",
    "P-21": "Motor body is 2.1 K above the fleet median; fouling is likely.",
    "P-30": "Pressure varies ± 7 %, twice its usual spread.",
    "T-02": "Last sample 3 h 12 min ago; battery was 6 %. Send somebody to Dock 3.",
}


def fleet(now: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for i in range(40):
        twin = "T-02" if i == 39 else f"P-{i:02d}"
        state, since, name, unacked = TROUBLES.get(twin, ("ok", 86_400, "flow", 0))
        at, signal = last_ns(twin, name, now), next(s for s in SIGNALS if s[0] == name)
        shown = {"signal": name, "value": value(twin, name, at), "unit": signal[1], "limit": signal[8]}
        found.append(
            {
                "id": twin,
                "type": "pump",
                "site": SITES[i % 4],
                "state": state,
                "since_ns": RAISED - since * SECOND,
                "cause": ALARM_CAUSE if twin == "P-07" else CAUSES.get(twin, ""),
                "value": {**shown, "normal_low": signal[5], "normal_high": signal[6]},
                "age_ms": (now - at) / 1e6,
                "unacked": unacked,
                "stop": twin != "T-02",
            }
        )
    order = {"alarm": 0, "warn": 1, "offline": 2, "ok": 3}
    return sorted(found, key=lambda t: (order[str(t["state"])], str(t["id"])))


ALARM_CAUSE = (
    "Flow fell 5.1 l/min below the value expected at this motor current; the inlet valve is the likeliest cause."
)


def alarms() -> list[dict[str, Any]]:
    ranked = [["flow", 0.61], ["motor_current", 0.24], ["vibration_pump", 0.09], ["body_temp", 0.06]]
    common = {"returned_ns": None, "acknowledged": None, "count": 1, "lineage": "pump/2, readings[3] 8812004-8812244"}
    first = {
        "id": "A-2207",
        "twin": "P-07",
        "signal": "flow",
        "severity": "alarm",
        "priority": "P1",
        "cause": ALARM_CAUSE,
    }
    second = {"id": "A-2181", "twin": "P-21", "signal": "body_temp", "severity": "warn", "priority": "P2"}
    return [
        {
            **common,
            **first,
            "raised_ns": RAISED,
            "ranked": ranked,
            "score": 0.97,
            "threshold": 0.82,
            "kind": "detector",
            "source": "flow-row",
        },
        {
            **common,
            **second,
            "cause": "Motor body is 2.1 K above the fleet median; fouling is likely.",
            "raised_ns": RAISED - 3000 * SECOND,
            "ranked": [],
            "score": 3.4,
            "threshold": 3.0,
            "acknowledged": {"who": "k.lind", "at_ns": RAISED - 2000 * SECOND},
        },
    ]


def twin_state(twin: str, now: int) -> dict[str, Any]:
    signals = []
    for name, unit, component, _, _, low, high, limit_low, limit_high, rate in SIGNALS:
        at = last_ns(twin, name, now)
        limits = [
            {"rule": f"{name}-{k}", "limit": v, "kind": k, "severity": "alarm"}
            for v, k in ((limit_low, "below"), (limit_high, "above"))
        ]
        signals.append(
            {
                "name": name,
                "unit": unit,
                "component": component,
                "value": value(twin, name, at),
                "ts_ns": at,
                "age_ms": (now - at) / 1e6,
                "quality": 0,
                "stale": now - at > 3 * SECOND,
                "low": None,
                "high": None,
                "normal_low": low,
                "normal_high": high,
                "rate_hz": rate,
                "limits": [x for x in limits if x["limit"] is not None],
            }
        )
    row = next(t for t in fleet(now) if t["id"] == twin)
    return {
        "id": twin,
        "type": "pump",
        "version": 2,
        "site": row["site"],
        "state": row["state"],
        "components": [{"path": p, "title": t, "kind": ""} for p, t in PARTS if p],
        "signals": signals,
        "alarms": [a for a in alarms() if a["twin"] == twin],
        "report": {"mode": "running", "inlet_valve": 62},
        "derived": {"velocity": {"body_temp": {"value": 0.004, "unit": "degC/s"}}},
        "desired": {"flow": {"value": 32.0, "at_ns": STARTED - 2460 * SECOND}},
        "delta": {"flow": 32.0},
        "clock": {"offset_ns": 18_200_000, "error_ns": 1_400_000},
    }


def then(row: dict[str, Any], at_ns: int) -> dict[str, Any]:
    """One twin of /api/asof."""
    twin = str(row["id"])
    times = {s[0]: last_ns(twin, s[0], at_ns) for s in SIGNALS}
    raised = [a for a in alarms() if a["twin"] == twin and a["raised_ns"] <= at_ns]
    kept = ("id", "signal", "severity", "raised_ns", "score", "cause")
    return {
        "type": "pump",
        "state": raised[0]["severity"] if raised else "ok",
        "reported": {
            n: {"value": value(twin, n, t), "ts_ns": t, "known_ns": t, "quality": 0} for n, t in times.items()
        },
        "report": {"mode": "running"},
        "alarms": [{k: a[k] for k in kept} | {"rule": "", "detector": "flow-row", "limit": None} for a in raised],
    }


def broken() -> JSONResponse:
    cause = "The history process ended (exit 137: out of memory). The supervisor restarts it."
    said = {"what": "Query “twins” refused the connection 4 times.", "cause": cause, "id": "7f3a-22c1"}
    return JSONResponse({**said, "next": "Wait, or look at its log: twinflow logs history"}, 503)


def api() -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.mode = "fleet"
    app.state.sent = []

    @app.middleware("http")
    async def history_down(request: Request, call_next: Any) -> Any:
        down = app.state.mode == "broken" and request.url.path.startswith("/api/")
        return broken() if down else await call_next(request)

    @app.post("/healthz/mode/{mode}")
    def set_mode(mode: str) -> dict[str, str]:
        app.state.mode = mode
        return {"mode": mode}

    @app.get("/healthz/sent")
    def sent() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = app.state.sent
        return found

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/api/features")
    def features() -> dict[str, bool]:
        return {"commands": app.state.mode != "nocommands"}

    @app.get("/api/twins")
    def twins() -> list[dict[str, Any]]:
        return [] if app.state.mode == "empty" else fleet(time.time_ns())

    @app.get("/api/twins/{twin}", response_model=None)
    def one(twin: str) -> dict[str, Any] | JSONResponse:
        if all(t["id"] != twin for t in fleet(0)):
            said = {
                "what": f"No twin is called {twin}.",
                "cause": "It never sent a sample.",
                "next": "Choose one.",
                "id": "9d",
            }
            return JSONResponse(said, 404)
        return twin_state(twin, time.time_ns())

    @app.get("/api/series")
    def series(twin: str, signals: str, from_ns: int, to_ns: int, points: int = 800) -> dict[str, Any]:
        out = {}
        step = max((to_ns - from_ns) // points, SECOND // 20)
        for name in signals.split(","):
            end = min(to_ns, last_ns(twin, name, time.time_ns()))
            t = [x for x in range(-(-from_ns // step) * step, end + 1, step) if not gap(x)]
            v = [value(twin, name, x) for x in t]
            raw = step <= SECOND // 20
            spread = next(s[4] for s in SIGNALS if s[0] == name) / 2
            out[name] = (
                {"t": t, "v": v}
                if raw
                else {"t": t, "v": v, "lo": [x - spread for x in v], "hi": [x + spread for x in v]}
            )
        return {"signals": out}

    @app.get("/api/series/sql")
    def sql(twin: str, signals: str, from_ns: int, to_ns: int) -> dict[str, str]:
        return {"sql": series_sql(twin, signals.split(","), from_ns, to_ns)}

    @app.get("/api/asof")
    def asof(at_ns: int, twin: str | None = None) -> dict[str, Any]:
        return {
            "at_ns": at_ns,
            "known_ns": at_ns,
            "twins": {t["id"]: then(t, at_ns) for t in fleet(at_ns) if twin in (None, t["id"])},
        }

    @app.get("/api/alarms")
    def list_alarms() -> list[dict[str, Any]]:
        return [] if app.state.mode == "empty" else alarms()

    @app.get("/api/commands")
    def commands() -> list[dict[str, Any]]:
        return []

    @app.post("/api/commands", status_code=202)
    async def command(request: Request) -> dict[str, str]:
        app.state.sent.append(await request.json())
        return {"id": f"C-{914 + len(app.state.sent):04d}"}

    @app.get("/api/pipeline")
    def pipeline() -> dict[str, Any]:
        counts = {"applied": 41187402, "late": 9871, "duplicate": 5604, "rejected": 173, "quarantined": 68}
        return {
            "ledger": {"records_in": 41203118, "records": counts, "balance": 0, "missing": 0},
            "partitions": [],
            "flows": [],
        }

    @app.websocket("/ws/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        topics: list[str] = []
        reader = asyncio.create_task(read_topics(socket, topics))
        beat = 0
        with suppress(WebSocketDisconnect, RuntimeError):
            while not reader.done():
                now = time.time_ns()
                for topic in topics:
                    if topic.startswith("twin:"):
                        await socket.send_text(json.dumps(live_rows(topic, now)))
                if beat % 20 == 0 and "overview" in topics and app.state.mode in ("fleet", "nocommands"):
                    await socket.send_text(json.dumps({"topic": "overview", "t_ns": now, "data": fleet(now)}))
                beat += 1
                await asyncio.sleep(0.05 - time.time() % 0.05)
        reader.cancel()

    return app


def gap(t_ns: int) -> bool:
    return 32_400 <= (STARTED - t_ns) / SECOND < 34_260


def live_rows(topic: str, now: int) -> dict[str, Any]:
    twin = topic[5:]
    rows = [
        [s[0], last_ns(twin, s[0], now), value(twin, s[0], last_ns(twin, s[0], now)), 0]
        for s in SIGNALS
        if s[0] != "tank_level"
    ]
    return {"topic": topic, "t_ns": now, "rows": [] if twin == "T-02" else rows}


async def read_topics(socket: WebSocket, topics: list[str]) -> None:
    with suppress(WebSocketDisconnect):
        while True:
            topics[:] = json.loads(await socket.receive_text())["subscribe"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    uvicorn.run(create(api()), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
