"""Devices meet brokers that are away in many of these tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import kafka
import pytest

SDK = Path(__file__).parents[3] / "connectors" / "device"


@pytest.fixture(autouse=True, scope="module")
def closed(sockets_closed: None) -> None:
    """For every test here."""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the unpacked wheel and kafka-python."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    done = subprocess.run(build, cwd=SDK, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [wheel] = (folder / "dist").glob("*.whl")
    target = folder / "target"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(target)
    shutil.copytree(Path(kafka.__file__).parent, target / "kafka", ignore=shutil.ignore_patterns("__pycache__"))
    return target
