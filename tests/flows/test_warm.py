"""The kernels of a first start: what the helpers compile is all that the flow needs, each kind once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flows.settings import TWINS

ROOT = Path(__file__).resolve().parent.parent.parent
LOADS_ALL = """
from numba.core import event
from flows.warm import warm
from operators.definition_yaml import load_fleet
with event.install_recorder("numba:compile") as compiled:
    warm(load_fleet({fleet!r}, {types!r}).types.values())
print(*{{str(e.data["dispatcher"]) for _, e in compiled.buffer}})
"""


def python(*arguments: str, cache: Path) -> str:
    env = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def kinds(cache: Path) -> dict[str, int]:
    """Compiled kinds of each kernel, by its name."""
    names = [p.name.rpartition(".py3")[0] for p in cache.rglob("*.nbc")]
    return {name: names.count(name) for name in names}


def test_what_the_helpers_compile_is_all_that_a_fleet_needs_each_in_one_kind(tmp_path: Path) -> None:
    fleet, types = str(TWINS / "fleet.yaml"), str(TWINS)
    for part in ("bytes", "lane"):
        python("-m", "flows.warm", fleet, types, part, cache=tmp_path)
    assert python("-c", LOADS_ALL.format(fleet=fleet, types=types), cache=tmp_path) == ""
    python("-m", "flows.warm", fleet, types, "later", cache=tmp_path)
    assert {name.partition("-")[0] for name in kinds(tmp_path)} > {"clock_correct._correct", "decode_json_kernels.scan"}
    twice = {name.partition("-")[0] for name, count in kinds(tmp_path).items() if count > 1}
    assert twice == {"state_log._differing"}, "it compares words and single bytes"
    assert max(kinds(tmp_path).values()) == 2
