"""The page asks processes for their figures while somebody looks, and says what they come to."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from prometheus_client.core import Metric

from connectors.health import counters, gauge, gauges, of_steps
from connectors.shards import SHARDS
from dashboards.api.processes import Processes, process
from dashboards.api.settings import ApiSettings, SettingError
from operators.meter import Meter
from tests.api.serving import serving, until
from tests.connectors.test_health import Asked, answering

Found = dict[tuple[str, tuple[str, ...]], float]
STEPS = {"fetch": (30, 0.1, 0.0), "compute": (90, 0.5, 0.0), "commit": (3, 0.0, 0.3)}


class Flow(Asked):
    """A flow whose steps have worked for a share of the time since the start."""

    def __init__(self, flow: str) -> None:
        super().__init__(age=3.2)
        self.flow, self.asked = flow, 0

    def collect(self) -> Iterable[Metric]:
        self.asked += 1
        meters, now = {}, time.monotonic_ns()
        for name, (rows, busy, blocked) in STEPS.items():
            meter = meters[name] = Meter()
            meter.rows_in = meter.rows_out = int(rows * now / 1e9)
            meter.busy_ns, meter.blocked_ns = int(busy * now), int(blocked * now)
        yield from of_steps(self.flow, meters)
        yield gauge("twinflow_behind_seconds", "Age.", self.age)
        ages = {(SHARDS[p],): 0.25 * p for p in range(12)}
        yield gauges("twinflow_input_oldest_age_seconds", "Age.", ("shard",), ages)
        yield counters("twinflow_ticks", "Others.", (), {(): 1})


def at(busy: float, blocked: float, rows: float, *, flow: str = "telemetry", step: str = "decode") -> Found:
    names = {"busy_seconds": busy, "blocked_seconds": blocked, "rows_in": rows, "rows_out": rows / 2}
    return {(f"twinflow_step_{name}_total", (flow, step)): value for name, value in names.items()}


def test_shares_and_rates_are_those_between_the_first_and_the_last_answer() -> None:
    found = process("telemetry", [(10.0, at(1.0, 0.5, 100)), (12.0, at(1.9, 0.6, 200)), (14.0, at(2.0, 0.9, 500))])
    [step] = found.steps
    assert (found.flow, step.name) == ("telemetry", "decode")
    assert (step.busy, step.blocked, step.rows_in, step.rows_out) == pytest.approx((0.25, 0.1, 100.0, 50.0))


def test_a_flow_is_as_busy_as_its_steps_together_and_the_history_as_its_busiest_lane() -> None:
    def two(flow: str) -> list[tuple[float, Found]]:
        none = at(0, 0, 0, flow=flow) | at(0, 0, 0, flow=flow, step="live")
        return [(0.0, none), (1.0, at(0.3, 0.1, 1, flow=flow) | at(0.2, 0.2, 1, flow=flow, step="live"))]

    telemetry, history = process("t", two("telemetry")), process("h", two("history"))
    assert (telemetry.busy, telemetry.blocked) == pytest.approx((0.5, 0.3))
    assert (history.busy, history.blocked) == pytest.approx((0.3, 0.2))


def test_processes_are_asked_only_while_somebody_looks_and_one_that_is_gone_is_left_out() -> None:
    flow, clock = Flow("telemetry"), [100.0]
    with answering(flow) as url:
        asking = Processes({"telemetry": url, "gone": "http://127.0.0.1:1"}, clock=lambda: clock[0])
        asking.start()
        try:
            assert flow.asked == 0
            assert asking.now() == []
            until(lambda: flow.asked >= 2 and asking.now())
            assert [p.name for p in asking.now()] == ["telemetry"]
            clock[0] += 1000
            until(lambda: not asking._answers["telemetry"])
            assert asking.now() == []
        finally:
            asking.stop()


def test_the_pipeline_tells_how_busy_each_step_is_and_which_worker_serves_a_shard(bootstrap: str) -> None:
    with answering(Flow("telemetry")) as url, answering(Flow("commands")) as gate:
        told = {"telemetry-1": url, "telemetry-2": url, "commands": gate}
        with serving(ApiSettings(bootstrap, processes=told, commands=True)) as page:
            flows = {f["name"]: f for f in until(lambda: measured(page.get("/api/pipeline")))}
            partitions = until(lambda: page.get("/api/pipeline")["partitions"])
    telemetry = flows["telemetry"]
    assert [s["name"] for s in telemetry["steps"]] == list(STEPS)
    assert (telemetry["processes"], telemetry["behind_ms"]) == (2, 3200)
    assert telemetry["busy"] == pytest.approx(0.6, abs=0.05)
    assert telemetry["blocked"] == pytest.approx(0.3, abs=0.05)
    assert telemetry["steps"][1]["rows_in"] == pytest.approx(2 * 90, rel=0.2)
    assert flows["gate"]["steps"]
    assert "history-writer" not in flows
    third = partitions[3]
    assert (third["worker"], third["lag_ms"], third["shard"]) == ("telemetry-2", 750, SHARDS[3])


def measured(said: dict[str, list[dict[str, object]]]) -> list[dict[str, object]]:
    return said["flows"] if said["flows"][0]["processes"] == 2 and said["flows"][1]["processes"] else []


def test_an_address_that_is_none_is_refused_by_name() -> None:
    environ = {"TWINFLOW_KAFKA": "127.0.0.1:1", "TWINFLOW_PROCESSES": "telemetry=8061"}
    with pytest.raises(SettingError, match="TWINFLOW_PROCESSES: 'telemetry' has no URL"):
        ApiSettings.from_environment(environ)
