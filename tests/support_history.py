"""A history for a test: the real front in a process of its own, on a free port, awaited."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.history.users import Credentials, load

ROOT = Path(__file__).resolve().parent.parent
UP_WITHIN_SECS = 60.0


@dataclass
class HistoryHandle:
    """A running front.

    Attributes:
        url: `http://127.0.0.1:PORT`, without credentials.
        writer, reader: its two users.
        process: the front itself; `kill` and `stop` end it, `running_history` with the same folder starts the next.
    """

    url: str
    port: int
    data_dir: Path
    writer: Credentials
    reader: Credentials
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(30)

    def again(self) -> None:
        """Start the next front over the same folder, on the same port, and wait until it serves."""
        self.process = start_front(self.data_dir, self.port, ["--users", str(self.data_dir / "users.json")])
        await_healthy(self.url, self.process)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def running_history(data_dir: Path, *, options: Sequence[str] = ()) -> Iterator[HistoryHandle]:
    """Start a front over a folder and wait until it serves; stopped at the end unless the test did it."""
    port = free_port()
    process = start_front(data_dir, port, ["--users", str(data_dir / "users.json"), *options])
    handle: HistoryHandle | None = None
    try:
        await_healthy(f"http://127.0.0.1:{port}", process)
        users = load(data_dir / "users.json")
        handle = HistoryHandle(f"http://127.0.0.1:{port}", port, data_dir, users.writer, users.reader, process)
        yield handle
    finally:
        last = handle.process if handle else process
        if last.poll() is None:
            last.terminate()
            try:
                last.wait(60)
            except subprocess.TimeoutExpired:
                last.kill()
                last.wait(30)


def start_front(data_dir: Path, port: int, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """`python -m infra.history.front` on that folder; its words go to front.log beside the data."""
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "infra.history.front", "--data", str(data_dir), "--port", str(port), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (data_dir / "front.log").open("ab") as output:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)


def await_healthy(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Ask /healthz until it says yes."""
    deadline = time.monotonic() + UP_WITHIN_SECS
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the front ended with exit code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise AssertionError(f"{url} is not healthy after {UP_WITHIN_SECS:g} s")


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
