"""Past ranges and instants come from a real history; when it dies, live routes go on, and it is found again."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa

from connectors.clickhouse import ClickHouse
from dashboards.api.settings import ApiSettings
from infra.migrate import migrate
from tests.api.serving import FLEET, SECOND, live, send, serving, until
from tests.flows.history_stream import authorised
from tests.support_history import await_healthy, running_history, start_front


def stored(now: int) -> pa.Table:
    n = 60
    ts = [now - (3600 + n - i) * SECOND for i in range(n)]
    row = {"twin_type": "pump", "device": "pump-h", "signal": "flow", "quality": 0, "kp": 0, "kr": 0}
    return pa.Table.from_pylist(
        [row | {"ts_ns": t, "known_ns": t + 5, "value": float(i), "seq": i, "source_offset": i, "ko": i}
         for i, t in enumerate(ts)]
    )  # fmt: skip


def test_the_past_comes_from_the_history_which_may_die_and_come_back(bootstrap: str, tmp_path: Path) -> None:
    now = time.time_ns()
    with running_history(tmp_path / "history") as history:
        with ClickHouse(authorised(history)) as client:
            migrate(client)
            client.insert_arrow("samples", stored(now))
            client.insert_arrow("samples_recent", stored(now).drop_columns(["source_offset"]))
        send(bootstrap, live("pump-h", [("flow", now, 99.0)]))
        settings = ApiSettings(kafka=bootstrap, clickhouse=authorised(history, "reader"), fleet=FLEET)
        with serving(settings) as served:
            past = f"/api/series?twin=pump-h&signals=flow&from_ns={now - 7200 * SECOND}&to_ns={now}&known_ns={now}"
            answer = served.get(past)
            assert (answer["source"], answer["signals"]["flow"]["v"]) == ("history", [float(i) for i in range(60)])
            buckets = served.get(past + "&points=6")["signals"]["flow"]
            assert (min(buckets["lo"]), max(buckets["hi"])) == (0.0, 59.0)
            instant = f"/api/asof?at_ns={now - 3600 * SECOND}&known_ns={now}"
            links = until(lambda: (x := served.get("/api/pipeline")["links"])["history"]["up"] and x)
            assert (links["broker"]["up"], links["history"]["cause"]) == (True, "")
            assert served.get("/api/scores?twin=pump-h&detector=x&from_ns=1&to_ns=9")["t"] == []
            assert served.get(instant)["twins"]["pump-h"]["reported"]["flow"]["value"] == 59.0
            history.kill()
            status, fault = served.ask(past)
            assert (status, fault["what"]) == (503, "The history does not answer. Live values still arrive.")
            assert served.get("/api/twins/pump-h")["signals"][0]["value"] == 99.0
            lost = served.get("/api/pipeline")["links"]["history"]
            assert (lost["up"], lost["since_ns"] > now) == (False, True)
            assert lost["cause"].startswith(f"The history at 127.0.0.1:{history.port} does not answer: ")
            again = start_front(history.data_dir, history.port, ["--users", str(history.data_dir / "users.json")])
            try:
                await_healthy(history.url, again)
                until(lambda: served.ask(past)[0] == 200)
                assert served.get("/api/pipeline")["links"]["history"]["up"] is True
            finally:
                again.terminate()
                again.wait(60)
