"""What a process tells of itself over HTTP, read by Prometheus' own parser."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from connectors.health import counters, gauge, histogram, of_steps, serve
from operators.meter import Durations, Meter


@dataclass
class Asked:
    """A process that says what a test wants."""

    why: str = ""
    stuck: str = ""
    age: float = 0.0

    def stalled(self) -> str:
        return self.stuck

    def why_not_ready(self) -> str:
        return self.why

    def oldest_age_secs(self) -> float:
        return self.age

    def collect(self) -> Iterable[Metric]:
        decode, took = Meter(), Durations()
        decode.rows_in, decode.rows_out, decode.busy_ns, decode.blocked_ns = 7, 5, 2_500_000_000, 500_000_000
        took.add(7_000_000)
        yield from of_steps("telemetry", {"decode": decode})
        yield counters("twinflow_odd", "A label that needs care.", ("name",), {('a"b\\\n',): 3})
        yield gauge("twinflow_behind_seconds", "Age.", self.age)
        yield histogram("twinflow_transaction_seconds", "Commits.", took)


@contextmanager
def answering(subject: Asked, port: int = 0) -> Iterator[str]:
    server = serve(port, subject)
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def figures(url: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of /metrics by name and label values."""
    families = text_string_to_metric_families(ask(url + "/metrics")[1])
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


@pytest.mark.parametrize(
    ("subject", "health", "ready"),
    [
        (Asked(), (200, "ok"), (200, "ok")),
        (Asked(why="not reading yet"), (200, "ok"), (503, "not reading yet")),
        (Asked(age=12.4), (200, "behind 12 s"), (200, "behind 12 s")),
        (Asked(stuck="no turn for 61 s", why="no turn for 61 s"), (503, "no turn for 61 s"), (503, "no turn for 61 s")),
    ],
)
def test_a_process_that_is_behind_stays_ready_and_only_a_stalled_one_is_unwell(
    subject: Asked, health: tuple[int, str], ready: tuple[int, str]
) -> None:
    with answering(subject) as url:
        assert (ask(url + "/health"), ask(url + "/ready")) == (health, ready)
        assert ask(url + "/other") == (404, "not found; there are /health, /ready and /metrics")


def test_figures_read_back_as_they_were_with_those_of_the_process() -> None:
    with answering(Asked(age=2.5)) as url:
        found = figures(url)
    step = ("telemetry", "decode")
    assert {name: found[f"twinflow_step_{name}_total", step] for name in ("rows_in", "rows_out")} == {
        "rows_in": 7,
        "rows_out": 5,
    }
    assert found["twinflow_step_busy_seconds_total", step] == 2.5
    assert found["twinflow_step_blocked_seconds_total", step] == 0.5
    assert found["twinflow_odd_total", ('a"b\\\n',)] == 3
    assert found["twinflow_transaction_seconds_bucket", ("0.005",)] == 0
    assert found["twinflow_transaction_seconds_bucket", ("0.01",)] == 1
    assert found["twinflow_transaction_seconds_count", ()] == 1
    assert found["twinflow_transaction_seconds_sum", ()] == pytest.approx(0.007)
    assert (found["twinflow_ready", ()], found["twinflow_behind_seconds", ()]) == (1, 2.5)
    assert found["process_resident_memory_bytes", ()] > 1e6


def test_many_may_ask_at_once() -> None:
    with answering(Asked()) as url:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(url + "/metrics")[0])) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [200] * 16
