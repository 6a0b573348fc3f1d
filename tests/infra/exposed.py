"""Names of all figures that the processes expose, asked of the processes themselves without a broker."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from connectors.ticker import Ticker
from dashboards.api.settings import ApiSettings
from flows.commands import CommandFlow
from flows.history import Writer
from flows.settings import FlowSettings
from flows.state_folder import StateFolder
from flows.telemetry import TelemetryWorker
from operators.definition import Fleet
from tests.api.serving import serving

NOWHERE = "127.0.0.1:1"
OURS = "twinflow_"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def families() -> Iterable[Metric]:
    """Every family of every process."""
    folder = Path(mkdtemp())
    settings = FlowSettings(NOWHERE, folder)
    yield from TelemetryWorker(settings, StateFolder(folder), Fleet((), {})).collect()
    yield from CommandFlow(settings).collect()
    yield from Writer(NOWHERE, "http://127.0.0.1:1").collect()
    ticker = Ticker(NOWHERE, "samples", 1)
    yield from ticker.collect()
    ticker.close()
    with serving(ApiSettings(NOWHERE), ready=False) as page:
        yield from text_string_to_metric_families(page.ask("/metrics")[1])


@cache
def exposed() -> frozenset[str]:
    """Names of our series as Prometheus stores them; of every process `twinflow_ready` too."""
    names = {f"{f.name}{suffix}" for f in families() if f.name.startswith(OURS) for suffix in SUFFIXES[f.type]}
    return frozenset({*names, "twinflow_ready"})
