"""A flow as a process of its own: started with variables, killed at the end if it still runs, drained as `up` does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DRAIN_SECS = 30.0


def start_flow(module: str, variables: Mapping[str, str], log: Path, *, append: bool = True) -> subprocess.Popen[bytes]:
    """`python -m MODULE`; what it says goes to `log`."""
    with log.open("ab" if append else "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module], cwd=ROOT, env=os.environ | variables, stdout=output, stderr=output
        )


@contextmanager
def running_flow(
    module: str, variables: Mapping[str, str], log: Path, *, append: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """As `start_flow`; killed at the end if it still runs."""
    process = start_flow(module, variables, log, append=append)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def drain(process: subprocess.Popen[bytes], log: Path) -> None:
    """Stop a flow as `up` does; it must end well."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(DRAIN_SECS) == 0, log.read_text()
