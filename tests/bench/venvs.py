"""The Python peers: an environment each, from locked requirements, made once by uv; hashes for what always runs.

`python -m tests.bench.venvs --lock` resolves them afresh.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from infra.paths import Folders
from tests.bench.jobs import LOCKS, Absent

WANTED = {
    "bytewax": ("bytewax==0.21.1", "confluent-kafka==2.13.2", "fastavro", "numpy", "orjson", "requests"),
    "quix": ("quixstreams==3.28.1", "numpy", "orjson"),
    "faust": ("faust-streaming==0.15.3", "numpy", "orjson"),
    "pathway": ("pathway==0.33.0", "numpy", "orjson"),
    "pyflink": ("apache-flink==2.3.0", "orjson"),
}
INSTALL_SECS = 600


def uv() -> str:
    """The uv of our environment, else that of the machine.

    Raises:
        Absent: there is none.
    """
    own = Path(sys.executable).parent / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise Absent("needs uv")
    return found


def python(name: str) -> str:
    """The interpreter of a peer's environment, which is made where it is not there.

    Raises:
        Absent: its packages cannot be installed here.
    """
    lock = LOCKS / f"{name}.txt"
    if not lock.exists():
        raise Absent("its packages are not locked: they did not resolve")
    state = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder = Folders.of().cache / "bench" / f"venv-{name}-{state}"
    if not (folder / "ready").exists():
        _run([uv(), "venv", "--quiet", "--no-project", "--python", sys.executable, "--clear", str(folder)])
        _run(
            [
                *(uv(), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")),
                *("--only-binary", ":all:", "-r", str(lock)),
            ]
        )
        (folder / "ready").touch()
    return str(folder / "bin" / "python")


def lock(name: str) -> None:
    """Resolve the packages of a peer and write their lock, without the address they came from.

    Raises:
        Absent: they do not resolve.
    """
    command = [
        *(uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
        *(("--generate-hashes",) if name == "bytewax" else ()),  # uv checks them wherever a list has them
        *("--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11", "-"),
    ]
    text = _run(command, given="\n".join(WANTED[name]) + "\n")
    (LOCKS / f"{name}.txt").write_text(f"# made by: python -m tests.bench.venvs --lock\n{text}")


def _run(command: list[str], given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=INSTALL_SECS)
    if done.returncode:
        raise Absent(f"cannot be installed: {done.stderr.strip()[-300:]}")
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.venvs", description=__doc__)
    parser.add_argument("--lock", action="store_true", required=True)
    parser.parse_args(arguments)
    for name in WANTED:
        try:
            lock(name)
        except Absent as why:
            sys.stderr.write(f"{name}: {why}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
