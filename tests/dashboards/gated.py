"""The page over a real broker and the real gate, a pump that answers commands by the SDK, and its alarms."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.device.commands import Command
from connectors.device.errors import Refused
from connectors.device.gateway import Gateway
from operators.definition_yaml import load
from tests.api.serving import alert, live, send
from tests.dashboards.conftest import ROOT, START_SECS, Site
from tests.support_kafka import running_broker

PUMP = load(ROOT / "models" / "twins" / "pump.yaml")
NAME = "pump-1"
BEAT_SECS = 0.2


class Plant(Site):
    """Page server and gate as processes of their own; `restart` starts the page server again."""

    def __init__(self, kafka: str, folder: Path) -> None:
        super().__init__(TWINFLOW_KAFKA=kafka, TWINFLOW_COMMANDS="1", TWINFLOW_DATA=str(folder))
        self.kafka, self.gate = kafka, self._run("flows.commands")

    def _run(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        env = {**self.environ, "TWINFLOW_PORT": str(self.port)}
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, env=env, stdout=quiet, stderr=quiet
        )

    def start(self) -> None:
        self.process = self._run("dashboards.serve", "--port", str(self.port))
        deadline = time.monotonic() + START_SECS
        while not self.answers():
            assert self.process.poll() is None, "the page server ended"
            assert time.monotonic() < deadline, "the page server did not start"
            time.sleep(0.05)

    def restart(self) -> None:
        self.kill()
        self.start()

    def mode(self, name: str) -> None:
        """The real page has no modes."""

    def get(self, path: str) -> Any:
        """The JSON of GET /api/PATH."""
        with urllib.request.urlopen(f"{self.url}/api/{path}", timeout=10) as answer:
            return json.load(answer)

    def raised(self, name: str) -> None:
        """A new alarm of the pump."""
        now = time.time_ns()
        send(self.kafka, [alert(name, NAME, "raised", now, signal="pressure", limit=6.0, value=6.4, cause="Too high")])

    def close(self) -> None:
        self.kill()
        self.gate.send_signal(signal.SIGTERM)
        self.gate.wait(60)


@contextmanager
def pump(kafka: str) -> Iterator[Gateway]:
    """Samples twice a second, and answers: `stop` and `set_speed` are done, `start` is refused."""
    gateway, over = Gateway(kafka, [NAME]), threading.Event()

    @gateway.on("*")
    def act(command: Command) -> str:
        if command.verb == "start":
            raise Refused("no water")
        return f"{command.verb} is done"

    def speak() -> None:
        while not over.wait(BEAT_SECS):
            send(
                kafka, live(NAME, [("pressure", time.time_ns(), 6.4), ("speed_rpm", time.time_ns(), 2610.0)], twin=PUMP)
            )

    voice = threading.Thread(target=speak, daemon=True)
    with gateway:
        voice.start()
        assert gateway.wait_ready(START_SECS)
        yield gateway
        over.set()
        voice.join(10)


@contextmanager
def gated(folder: Path) -> Iterator[Plant]:
    """All of it."""
    with running_broker(folder / "kafka") as kafka, pump(kafka):
        plant = Plant(kafka, folder)
        try:
            plant.start()
            yield plant
        finally:
            plant.close()
