"""A start that cannot be says why in its last line, whatever it was."""

from __future__ import annotations

from pathlib import Path

from infra.errors import ExitCode
from tests.support_flow import start_flow


def test_a_folder_that_cannot_be_written_ends_the_process_which_names_it(tmp_path: Path) -> None:
    taken, log = tmp_path / "taken", tmp_path / "flow.log"
    taken.touch()
    process = start_flow("flows.telemetry", {"TWINFLOW_KAFKA": "127.0.0.1:1", "TWINFLOW_DATA": str(taken)}, log)
    assert process.wait(60) == ExitCode.FAILED
    last = log.read_text().splitlines()[-1]
    assert " ERROR twinflow.telemetry: stopped: " in last
    assert str(taken) in last
