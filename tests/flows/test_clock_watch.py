"""A process that stands on the clock of the machine ends when that goes back; ahead it may go as far as it likes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from infra.errors import ExitCode
from tests.chaos.machine_clock import jumping
from tests.support_flow import ROOT

WATCHED = """
import logging, time
from flows.clock_watch import EVERY_SECS, end_when_the_clock_goes_back
logging.basicConfig()
end_when_the_clock_goes_back()
while True:
    time.sleep(2 * EVERY_SECS)
    print(time.time(), flush=True)
"""


def test_a_clock_that_goes_back_ends_the_process_which_says_by_how_much(tmp_path: Path) -> None:
    with jumping(tmp_path) as clock:
        command = [sys.executable, "-c", WATCHED]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert float(process.stdout.readline()) < time.time()
            clock.ahead_secs = 3600
            assert float(process.stdout.readline()) > time.time() + 3000  # one that had been watched for a while
            clock.ahead_secs = 0
            _, said = process.communicate(timeout=60)
    assert process.returncode == ExitCode.FAILED
    assert "the clock of the machine went back by 3600.0 s" in said
    assert "nothing is lost" in said
