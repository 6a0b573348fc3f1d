"""The SDK is a wheel of its own that needs kafka-python alone and runs on Python 3.9 to 3.13."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SDK = ROOT / "connectors" / "device"
VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
MAY_IMPORT = {"kafka", "pyarrow"}


def interpreters() -> list[str]:
    """Those of the versions that are here: on the PATH, or as pyenv keeps them."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = []
    for wanted in VERSIONS:
        here = [str(p / "bin" / "python") for p in sorted(kept.glob(f"{wanted}.*"))]
        named = shutil.which(f"python{wanted}")
        works = [p for p in (*here, *([named] if named else [])) if subprocess.run([p, "-V"]).returncode == 0]
        found += works[:1]
    return found or [sys.executable]


def test_the_wheel_holds_the_package_its_marker_and_its_licence_and_names_what_it_needs(target: Path) -> None:
    packed = {str(p.relative_to(target)) for p in (target / "twinflow_device").rglob("*")}
    sources = {f"twinflow_device/{p.name}" for p in SDK.glob("*.py")}
    assert packed == sources | {"twinflow_device/py.typed", "twinflow_device/LICENSE"}
    [about] = target.glob("twinflow_device-*.dist-info")
    told = (about / "METADATA").read_text()
    assert "Name: twinflow-device\n" in told
    assert "Requires-Python: >=3.9\n" in told
    needs = [line for line in told.splitlines() if line.startswith("Requires-Dist: ")]
    assert needs == ["Requires-Dist: kafka-python==3.0.12", "Requires-Dist: pyarrow>=15; extra == 'packed'"]
    assert f"kafka-python=={version('kafka-python')}" in needs[0]
    assert "License-Expression: Apache-2.0\n" in told


@pytest.mark.parametrize("python", interpreters())
def test_it_compiles_and_works_without_a_broker_on_every_python_that_is_here(
    target: Path, tmp_path: Path, python: str
) -> None:
    program = f"""
import compileall, sys
sys.path[:0] = [{str(target)!r}]
assert compileall.compile_dir({str(target / "twinflow_device")!r}, quiet=1, force=True)
import importlib, pkgutil, twinflow_device
for module in pkgutil.iter_modules(twinflow_device.__path__):
    importlib.import_module("twinflow_device." + module.name)
from twinflow_device import Device
import kafka.producer.kafka
pump = Device("pump-7", "127.0.0.1:1", spool={str(tmp_path)!r})
pump.on("stop")(lambda command: None)
with pump:
    pump.send({{"pressure": 2.1, "position": [1, 2, 3]}})
    pump.report({{"task": "lift"}})
    left = pump.close(0)
again = Device("pump-7", "127.0.0.1:1", spool={str(tmp_path)!r})
print(left, again.counts["waiting"])
"""
    theirs = [f"-Wignore:{name}_text is deprecated:DeprecationWarning" for name in ("read", "open")]  # kafka-python's
    told = [python, "-I", "-Werror", *theirs, "-c", program]
    done = subprocess.run(told, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("2 2\n", 0), done.stderr


def test_its_sources_are_held_to_python_39_by_the_linter_everywhere() -> None:
    told = tomllib.loads((SDK / "pyproject.toml").read_text())
    assert told["tool"]["ruff"]["target-version"] == "py39"
    check = [sys.executable, "-m", "ruff", "check", "--select", "E9,F,UP", "--target-version", "py39", str(SDK)]
    assert subprocess.run(check, cwd=ROOT).returncode == 0
    for path in SDK.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_it_imports_kafka_python_and_the_standard_library_alone() -> None:
    found = set()
    for path in SDK.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.level == 0 and node.module), path
                if node.level == 0 and node.module:
                    found.add(node.module.split(".")[0])
    assert found - set(sys.stdlib_module_names) == MAY_IMPORT
