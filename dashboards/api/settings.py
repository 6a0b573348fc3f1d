"""What the API reads from its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from operators.definition import Fleet
from operators.definition_yaml import load_fleet
from operators.errors import TwinflowError

TWINS = Path(__file__).resolve().parents[2] / "models" / "twins"


class SettingError(TwinflowError):
    """A setting that the API cannot do without is missing or makes no sense."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Settings of the dashboard's API.

    Attributes:
        kafka: host:port of a broker (TWINFLOW_KAFKA); it need not be there yet.
        clickhouse: URL of the history (TWINFLOW_CLICKHOUSE), "" where there is none.
        fleet: which device is of which type (TWINFLOW_FLEET, types from TWINFLOW_TYPES).
        commands: a commands flow runs, so commands can be asked for (TWINFLOW_COMMANDS=1).
        remote: others than this machine may come (never set by a variable: it needs authentication first).
        hosts: names this machine may be called by in a browser.
        issuer: who asks for a command, as long as there is no login.
        most_clients: live sockets at once.
        processes: where the other processes tell of themselves, URL by name (TWINFLOW_PROCESSES: name=URL, ...).
    """

    kafka: str
    clickhouse: str = ""
    fleet: Fleet = field(default_factory=lambda: Fleet((), {}))
    commands: bool = False
    remote: bool = False
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    issuer: str = "person:page"
    most_clients: int = 100
    processes: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def from_environment(environ: Mapping[str, str] | None = None) -> ApiSettings:
        """Settings of this process.

        Raises:
            SettingError: the address of Kafka is missing, or one of a process is none.
            DefinitionError: the fleet does not hold together.
        """
        env = os.environ if environ is None else environ
        kafka = env.get("TWINFLOW_KAFKA", "")
        if not kafka:
            raise SettingError("TWINFLOW_KAFKA is not set: the page cannot start; `twinflow up` sets it")
        return ApiSettings(
            kafka=kafka,
            clickhouse=env.get("TWINFLOW_CLICKHOUSE", ""),
            fleet=load_fleet(env.get("TWINFLOW_FLEET") or TWINS / "fleet.yaml", env.get("TWINFLOW_TYPES") or TWINS),
            commands=env.get("TWINFLOW_COMMANDS", "") not in ("", "0"),
            processes=_addresses(env.get("TWINFLOW_PROCESSES", "")),
        )


def _addresses(text: str) -> dict[str, str]:
    """
    >>> _addresses("commands=http://127.0.0.1:8062, ticker=http://127.0.0.1:8074")
    {'commands': 'http://127.0.0.1:8062', 'ticker': 'http://127.0.0.1:8074'}
    """
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    for name, _, url in pairs:
        if not name or not url.startswith(("http://", "https://")):
            raise SettingError(f"TWINFLOW_PROCESSES: {name!r} has no URL; write name=http://host:port, comma between")
    return {name: url for name, _, url in pairs}
