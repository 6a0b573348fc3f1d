"""`/health`, `/ready` and `/metrics` of a process, on loopback, in threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from operators.meter import Durations, Meter

BEHIND_SECS = 2.0
"""A process whose oldest waiting record is older says so; it stays ready: the log is the buffer."""
PLAIN = "text/plain; charset=utf-8"
Key = TypeVar("Key", bound=tuple[str, ...])


class Subject(Protocol):
    """What can be asked of a process, from any thread, at any time."""

    def stalled(self) -> str:
        """ "" while the process turns or starts, else why only a new start can help."""

    def why_not_ready(self) -> str:
        """ "" while it serves, else why not."""

    def oldest_age_secs(self) -> float:
        """Age of the oldest record that waits for it, s; 0 where none waits."""

    def collect(self) -> Iterable[Metric]:
        """Its figures."""


def serve(port: int, subject: Subject) -> ThreadingHTTPServer:
    """Start answering.

    `/health` is 200 unless the process is stalled, `/ready` (or `/healthz`, as at the page) is 200 when it serves,
    with "behind 12 s" where that is so; else they are 503 with the reason. `/metrics` has the figures in Prometheus'
    text format.

    Args:
        port: on loopback; 0 takes any free one (see `server_address`).
        subject: the process.
    """
    registry = CollectorRegistry()
    registry.register(_Figures(subject))
    ProcessCollector(registry=registry)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = self._answer()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _answer(self) -> tuple[int, str, bytes]:
            if self.path == "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
            if self.path not in ("/health", "/ready", "/healthz"):
                return 404, PLAIN, b"not found; there are /health, /ready and /metrics"
            why = subject.stalled() if self.path == "/health" else subject.why_not_ready()
            return (503, PLAIN, why.encode()) if why else (200, PLAIN, behind(subject.oldest_age_secs()).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: probes come every second."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def behind(secs: float) -> str:
    """How late a process is, in words; "ok" where nobody would see it.

    >>> behind(0.4), behind(12.3), behind(250)
    ('ok', 'behind 12 s', 'behind 4 min')
    """
    if secs < BEHIND_SECS:
        return "ok"
    return f"behind {secs:.0f} s" if secs < 120 else f"behind {secs / 60:.0f} min"


class _Figures(Collector):
    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: a process may be asked before it has figures."""
        return ()

    def collect(self) -> Iterable[Metric]:
        yield from self._subject.collect()
        yield gauge("twinflow_ready", "1 while the process serves.", float(not self._subject.why_not_ready()))


def gauge(name: str, said: str, value: float) -> Metric:
    """A figure that may fall."""
    return GaugeMetricFamily(name, said, value=value)


def gauges(name: str, said: str, labels: Iterable[str], values: Mapping[Key, float]) -> Metric:
    """A figure that may fall, by labels."""
    family = GaugeMetricFamily(name, said, labels=list(labels))
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def counters(name: str, said: str, labels: Iterable[str], values: Mapping[Key, float]) -> Metric:
    """A figure that only grows, by labels; `_total` is added to its name."""
    family = CounterMetricFamily(name, said, labels=list(labels))
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def histogram(name: str, said: str, took: Durations) -> Metric:
    """Durations in buckets."""
    family = HistogramMetricFamily(name, said)
    family.add_metric([], took.cumulative(), took.sum_secs)
    return family


def of_steps(flow: str, meters: Mapping[str, Meter]) -> Iterable[Metric]:
    """Rows and time of each step of a flow.

    >>> next(iter(of_steps("telemetry", {"decode": Meter()}))).samples[0].labels
    {'flow': 'telemetry', 'step': 'decode'}
    """
    for name, said, figure, scale in (
        ("rows_in", "Rows that came into a step.", "rows_in", 1),
        ("rows_out", "Rows that left a step.", "rows_out", 1),
        ("busy_seconds", "Time a step was at work.", "busy_ns", 1e9),
        ("blocked_seconds", "Time a step waited for what comes after it.", "blocked_ns", 1e9),
    ):
        values = {(flow, step): getattr(meter, figure) / scale for step, meter in meters.items()}
        yield counters(f"twinflow_step_{name}", said, ("flow", "step"), values)
