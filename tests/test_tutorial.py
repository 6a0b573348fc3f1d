"""The tutorial runs as it is written: every sh block, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_block_of_the_tutorial_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "tutorial.md").read_text(), re.M | re.S)
    assert len(blocks) == 5
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, arguments in (("python3", ""), ("twinflow", "-m infra.cli")):
        (bin_folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (bin_folder / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    (work / "run.sh").write_text("set -eu\n" + "\n".join(blocks))
    done = subprocess.run(
        ["sh", "run.sh"],
        cwd=work,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{bin_folder}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "expected" in done.stdout
