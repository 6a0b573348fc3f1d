"""What all routes share."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.command_requests import CommandRequests
from connectors.live_feed import LiveFeed
from connectors.live_link import Link
from connectors.live_probe import Probe
from connectors.live_view import LiveView
from connectors.redrive import Redriver
from dashboards.api.history import History
from dashboards.api.processes import Processes
from dashboards.api.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one running API; `history` is None where there is none."""

    settings: ApiSettings
    view: LiveView
    link: Link
    feed: LiveFeed
    probe: Probe
    requests: CommandRequests
    redriver: Redriver
    processes: Processes
    history: History | None
