"""The processes of the stack: one function each, listed in `PARTS`; a new one is one function and one entry.

Each part adds its service, or, where a setting points at a real cluster, only its address.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from infra.paths import Folders
from infra.ports import LOOPBACK, Ports
from infra.settings import Settings
from infra.supervisor.service import Service

ROOT = Path(__file__).resolve().parent.parent
PROBE_SECS = 2.0
FIRST_VALUE_SECS = 30.0
MOST_SAID = 200
"""Characters of an answer that are looked at."""

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


MEMORY = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""One heap for Python, numpy and Arrow instead of one per thread and library (docs/decisions/engine-speed.md)."""


@dataclass
class Stack:
    """What `up` runs. `endpoints`: where Kafka and the history answer, ours or a real cluster; `url`: the page;
    `secrets`: variables of children that are never shown;
    `summaries`: each gives fields of the JSON object that `up --json` prints, asked while everything still runs;
    `seen`: set once the page has shown its first live value; `told`: where processes tell of themselves, by name."""

    settings: Settings
    folders: Folders
    ports: Ports = field(default_factory=Ports)
    services: list[Service] = field(default_factory=list)
    endpoints: dict[str, str] = field(default_factory=dict)
    url: str | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    summaries: list[Callable[[], dict[str, Json]]] = field(default_factory=list)
    seen: Event = field(default_factory=Event)
    told: dict[str, str] = field(default_factory=dict)

    def port(self, name: str) -> int:
        """The port of setting `NAME_port`, or the next free one where nobody set it."""
        key = f"{name}_port"
        return self.ports.take(name, self.settings.number(key), exact=self.settings.chosen(key))

    def env(self) -> dict[str, str]:
        """Environment of a child of ours: our modules, our folders, our settings, the addresses known so far."""
        return {
            **self.settings.environment(),
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
            **MEMORY,
            "NUMBA_CACHE_DIR": str(self.folders.numba),
            "TWINFLOW_DATA": str(self.folders.data),
            "TWINFLOW_CACHE": str(self.folders.cache),
            **{f"TWINFLOW_{name.upper()}": address for name, address in self.endpoints.items()},
            **self.secrets,
        }

    def running(self, *names: str) -> tuple[str, ...]:
        """Those of the named services that this stack itself runs (none of a real cluster)."""
        return tuple(s.name for s in self.services if s.name in names or (s.part or s.name) in names)


class Health:
    """Where a process of ours answers `/ready` and `/metrics`, and what it said last.

    Args:
        name: of the process. port: the one it gets when it is free.
        more: variables it has besides.
    """

    def __init__(self, stack: Stack, name: str, port: int, **more: str) -> None:
        self._port, self._said = stack.ports.take(name, port, exact=False), ""
        self.env = {**stack.env(), "TWINFLOW_HEALTH_PORT": str(self._port), **more}
        stack.told[name] = f"http://{LOOPBACK}:{self._port}"

    def ready(self) -> str:
        """ "" when it serves, else why not."""
        why, self._said = http_said(self._port, "/ready")
        return why and (self._said or why)

    def note(self) -> str:
        """What it says of itself while it serves: "behind 12 s", or "" when all is well."""
        return "" if self._said == "ok" else self._said


def kafka(stack: Stack) -> None:
    """The embedded broker and its topics."""
    external = stack.settings.text("kafka")
    if external:
        stack.endpoints["kafka"] = external
        return
    port = stack.port("kafka")
    controller_port = stack.ports.take("kafka controller", port + 1, exact=False)
    bootstrap = stack.endpoints["kafka"] = f"{LOOPBACK}:{port}"
    fetched: list[str] = []

    def argv() -> Sequence[str]:
        from infra.kafka.broker import Broker
        from infra.kafka.jars import ensure_jars

        def progress(done: int, total: int) -> None:
            fetched[:] = [f"jars {done // 1_000_000}/{total // 1_000_000} MB"]

        broker = Broker(
            data_dir=stack.folders.kafka,
            port=port,
            controller_port=controller_port,
            jars=ensure_jars(stack.folders.cache, progress),
            heap_mb=stack.settings.number("kafka_heap_mb"),
        )
        broker.prepare()
        fetched.clear()
        return broker.argv()

    def settle() -> None:
        from infra.kafka.topics import ensure_topics

        ensure_topics(bootstrap)

    stack.services.append(
        Service(
            "kafka",
            argv,
            ready=lambda: kafka_answer(bootstrap),
            settle=settle,
            grace_secs=20.0,
            note=lambda: "".join(fetched),
        )
    )


def history(stack: Stack) -> None:
    """ClickHouse's engine behind its HTTP protocol."""
    external = stack.settings.text("clickhouse")
    if external:
        stack.endpoints["clickhouse"] = external
        return
    from infra.history.users import from_environment, load_or_create

    port = stack.port("history")
    users_file = stack.folders.history_users
    stack.endpoints["clickhouse"] = f"http://{LOOPBACK}:{port}"
    command = [sys.executable, "-m", "infra.history.front", "--data", str(stack.folders.history), "--port", str(port)]
    users = from_environment(stack.settings.environment())
    if users is None:
        users = load_or_create(users_file)
        command += ["--users", str(users_file)]
    for name, who in (("CLICKHOUSE", users.writer), ("CLICKHOUSE_READER", users.reader)):
        stack.secrets[f"TWINFLOW_{name}"] = f"http://{quote(who.user)}:{quote(who.password)}@{LOOPBACK}:{port}"
    stack.services.append(
        Service("history", lambda: command, ready=lambda: http_answer(port), env=stack.env(), grace_secs=30.0)
    )


def ticker(stack: Stack) -> None:
    """Ticks into every partition of samples, so that the windows of silent devices close."""
    address = stack.endpoints["kafka"]
    command = (sys.executable, "-m", "connectors.ticker", "--kafka", address)
    health = Health(stack, "ticker", 8074)
    stack.services.append(
        Service(
            "ticker",
            lambda: command,
            ready=health.ready,
            note=health.note,
            env=health.env,
            after=stack.running("kafka"),
        )
    )


def telemetry(stack: Stack) -> None:
    """The telemetry flow, in one process or several that share the shards. It compiles its kernels while Kafka starts,
    hence early."""
    count = stack.settings.number("telemetry_processes")
    command = (sys.executable, "-m", "flows.telemetry")
    for i in range(count):
        name = "telemetry" if count == 1 else f"telemetry-{i + 1}"
        health = Health(stack, name, 8061 + i, TWINFLOW_PROCESS=f"{i}/{count}")
        stack.services.append(
            Service(
                name,
                lambda: command,
                part="telemetry",
                ready=health.ready,
                note=health.note,
                env=health.env,
                after=stack.running("kafka"),
                early=True,
                grace_secs=20.0,
                ready_within_secs=240.0,
            )
        )


def commands(stack: Stack) -> None:
    """The command gate. Nobody asks before page and rules run, so it leaves the processor to the kernels first."""
    command = (sys.executable, "-m", "flows.commands")
    health = Health(stack, "commands", 8062)
    stack.services.append(
        Service(
            "commands",
            lambda: command,
            ready=health.ready,
            note=health.note,
            env=health.env,
            after=stack.running("kafka", "telemetry"),
            grace_secs=20.0,
        )
    )


def history_writer(stack: Stack) -> None:
    """Carries the result topics into the history; migrates the history first."""
    command = (sys.executable, "-m", "flows.history")

    def argv() -> Sequence[str]:
        from connectors.clickhouse import ClickHouse
        from infra.migrate import migrate

        store = ClickHouse(stack.secrets.get("TWINFLOW_CLICKHOUSE") or stack.endpoints["clickhouse"])
        migrate(store)
        store.close()
        return command

    health = Health(stack, "history-writer", 8073)
    stack.services.append(
        Service(
            "history-writer",
            argv,
            ready=health.ready,
            note=health.note,
            env=health.env,
            after=stack.running("kafka", "history"),
            grace_secs=20.0,
        )
    )


def page(stack: Stack) -> None:
    """The dashboard, the API and the live socket: one process, one port."""
    from infra.first_page import FirstPage

    port = stack.port("page")
    stack.url = f"http://{LOOPBACK}:{port}"
    command = (sys.executable, "-m", "dashboards.serve", "--port", str(port))
    first = FirstPage(port)
    stack.summaries.append(first.summary)
    stack.seen = first.seen

    def argv() -> Sequence[str]:
        first.start()
        return command

    told = ",".join(f"{name}={url}" for name, url in stack.told.items())
    reader = stack.secrets.get("TWINFLOW_CLICKHOUSE_READER") or stack.endpoints["clickhouse"]
    stack.services.append(
        Service(
            "page",
            argv,
            ready=lambda: http_answer(port),
            env={**stack.env(), "TWINFLOW_CLICKHOUSE": reader, **_asking(stack), "TWINFLOW_PROCESSES": told},
            after=stack.running("kafka"),
            early=True,
            stores=False,
        )
    )


def _asking(stack: Stack) -> dict[str, str]:
    """What tells the page that somebody decides about commands."""
    return {"TWINFLOW_COMMANDS": "1"} if stack.running("commands") else {}


def simulator(stack: Stack) -> None:
    """Simulated vehicles, machines and a pump, so that a first start shows something; `scenario=none` leaves it out."""
    scenario = stack.settings.text("scenario")
    if scenario == "none":
        return
    command = (sys.executable, "-m", "flows.simulate", "--kafka", stack.endpoints["kafka"], "--scenario", scenario)
    stack.services.append(
        Service(
            "simulator",
            lambda: command,
            ready=lambda: "",
            env=stack.env(),
            after=stack.running("kafka", "telemetry", "page"),
        )
    )


def recordings(stack: Stack) -> None:
    """Recordings that ship, over and over; they come after the first live value, so that it need not wait for them."""
    wanted = stack.settings.text("recordings")
    if wanted == "none" or stack.settings.text("scenario") == "none":
        return
    command = [sys.executable, "-m", "flows.recordings", "--kafka", stack.endpoints["kafka"]]
    for option in ("fleet", "types"):
        if chosen := stack.settings.text(option):
            command += [f"--{option}", chosen]
    command += [] if wanted == "all" else wanted.split(",")

    def argv() -> Sequence[str]:
        stack.seen.wait(FIRST_VALUE_SECS)
        return command

    stack.services.append(
        Service(
            "recordings",
            argv,
            ready=lambda: "",
            env=stack.env(),
            after=stack.running("kafka", "telemetry", "page", "simulator"),
        )
    )


PARTS: tuple[Callable[[Stack], None], ...] = (
    *(kafka, history, ticker, telemetry, commands, history_writer, page, simulator, recordings),
)
"""In this order, so that a later part finds the addresses of an earlier one in `endpoints`."""


def build(settings: Settings, folders: Folders) -> Stack:
    """The stack these settings ask for, its ports chosen; nothing is started.

    Raises:
        CannotStart: a port that was set on purpose is taken.
    """
    stack = Stack(settings, folders)
    for part in PARTS:
        part(stack)
    return stack


def http_answer(port: int, path: str = "/healthz") -> str:
    """ "" when a GET on loopback gives 200, else why not."""
    return http_said(port, path)[0]


def http_said(port: int, path: str) -> tuple[str, str]:
    """ "" when a GET on loopback gives 200, else why not; and the text of the answer, "" where none came."""
    return _asked(f"http://{LOOPBACK}:{port}", path)


def address_answer(url: str, path: str = "/ping") -> str:
    """ "" when a GET under this URL gives 200, else why not."""
    return _asked(url, path)[0]


def _asked(url: str, path: str) -> tuple[str, str]:
    """Goes there directly, past any proxy setting."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or LOOPBACK, parts.port, timeout=PROBE_SECS)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        answer = connection.getresponse()
        said = answer.read(MOST_SAID).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"{parts.hostname}:{parts.port}: {error}", ""
    finally:
        connection.close()
    return ("", said) if answer.status == 200 else (f"HTTP {answer.status} for {path}", said)


def kafka_answer(bootstrap: str) -> str:
    """ "" when the cluster answers metadata and has a controller, else why not."""
    from infra.kafka.ready import why_not_ready

    why = why_not_ready(bootstrap)
    return f"{bootstrap}: {why}" if why else ""
