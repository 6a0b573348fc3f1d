"""A real broker for tests: `running_broker` for the session, `BrokerProcess` for tests that stop and kill it."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.kafka.broker import Broker
from infra.kafka.jars import ensure_jars
from infra.kafka.ready import wait_ready
from infra.kafka.topics import ensure_topics
from infra.paths import Folders

START_SECS = 60.0


def free_ports(count: int) -> list[int]:
    """Different ports that nobody holds now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@dataclass(frozen=True, slots=True)
class ProxiedBroker(Broker):
    """A broker with a second port for whoever stands between it and its clients.

    Attributes:
        back_port: clients that come in here are told that the broker is at `proxy_port`.
        proxy_port: where somebody passes on what comes to `back_port`.
    """

    back_port: int = 0
    proxy_port: int = 0

    def properties(self) -> dict[str, str]:
        own = Broker.properties(self)
        return own | {
            "listeners": f"{own['listeners']},PROXIED://127.0.0.1:{self.back_port}",
            "advertised.listeners": f"{own['advertised.listeners']},PROXIED://127.0.0.1:{self.proxy_port}",
            "listener.security.protocol.map": f"{own['listener.security.protocol.map']},PROXIED:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }


class BrokerProcess:
    """One broker on free ports; it may be started again over the same folder."""

    def __init__(self, data_dir: Path, *, heap_mb: int = 320) -> None:
        port, controller_port, back_port, proxy_port = free_ports(4)
        jars = ensure_jars(Folders.of().cache)
        self.broker = ProxiedBroker(
            data_dir, port, controller_port, jars, heap_mb, back_port=back_port, proxy_port=proxy_port
        )
        self.log = data_dir.with_name(data_dir.name + ".log")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Returns the bootstrap address once the broker is ready."""
        self.broker.prepare()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.broker.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process = self.process
        try:
            wait_ready(self.broker.bootstrap, timeout_secs=START_SECS, running=lambda: process.poll() is None)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self.broker.bootstrap

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signals the process if it still runs, waits for its end, returns its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        try:
            return self.process.wait(START_SECS)
        finally:
            self.process.kill()
            self.process = None


@contextmanager
def running_broker(data_dir: Path) -> Iterator[str]:
    """A broker with all topics of infra/topics.yaml; gives its bootstrap address, stops it at the end."""
    server = BrokerProcess(data_dir)
    bootstrap = server.start()
    try:
        ensure_topics(bootstrap)
        yield bootstrap
    finally:
        server.stop()
