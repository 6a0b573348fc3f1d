"""Runs the command as people do: another process, its own folders, nothing inherited from this shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra import stack
from infra.paths import Folders
from tests.infra.supervised import until

ROOT = Path(__file__).resolve().parents[2]
READY_SECS = 300.0
"""A first start compiles all kernels, beside whatever else the machine does."""


@dataclass
class Command:
    """`module` is the command to run; `data` its folder."""

    data: Path
    module: str = "infra.cli"
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TWINFLOW_", "PYTHON"))}
        cache = os.environ.get("TWINFLOW_CACHE") or str(Path.home() / ".cache" / "twinflow")
        ours = {"PYTHONPATH": str(ROOT), "TWINFLOW_DATA": str(self.data), "TWINFLOW_CACHE": cache}
        return {**kept, **ours, **self.env}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", self.module, *arguments],
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self(*arguments, "--json").stdout)
        return answer

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """`up` in the background, drained (or, if that fails, killed) at the end."""
        process = subprocess.Popen(
            [sys.executable, "-m", self.module, "up", "--no-browser", *arguments],
            env=self.environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=60)
            except (subprocess.TimeoutExpired, ValueError):
                process.kill()

    def await_ready(self) -> dict[str, Any]:
        def ready() -> bool:
            state = stack.running(Folders(self.data, self.data))
            return state is not None and state.ready

        until(ready, "a ready stack", within_secs=READY_SECS)
        assert self("status").returncode == 0
        return self.json("status")

    def row(self, name: str) -> dict[str, Any]:
        rows = {row["name"]: row for row in self.json("status")["processes"]}
        found: dict[str, Any] = rows[name]
        return found
