"""The hand-written Rust peer: built once by cargo from the source of the baselines and the versions locked here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

from infra.paths import Folders
from tests.bench.jobs import BASELINES, LOCKS, Absent

SOURCE = BASELINES / "jobs" / "rust_hand"
BUILD_SECS = 1200
NEEDS = "cargo, cmake, a C compiler and the headers of libcurl (Debian: cargo cmake gcc libcurl4-openssl-dev)"


def command() -> list[str]:
    """The command that runs the peer.

    Raises:
        Absent: it cannot be built here.
    """
    if shutil.which("cargo") is None or shutil.which("cmake") is None:
        raise Absent(f"needs {NEEDS}")
    lock = LOCKS / "Cargo.lock"
    state = hashlib.sha256((SOURCE / "src" / "main.rs").read_bytes() + lock.read_bytes()).hexdigest()
    built = Folders.of().cache / "bench" / f"rust-{state[:16]}"
    program = built / "target" / "release" / "rust_hand"
    if not program.exists():
        shutil.rmtree(built, ignore_errors=True)
        shutil.copytree(SOURCE, built)
        shutil.copy(lock, built)
        environment = {**os.environ, "RUSTFLAGS": "-C target-cpu=native", "CARGO_TARGET_DIR": str(built / "target")}
        done = subprocess.run(
            ["cargo", "build", "--release", "--locked", "--quiet"],
            cwd=built,
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECS,
        )
        if done.returncode:
            raise Absent(f"does not build (needs {NEEDS}): {done.stderr[-300:]}")
    return [str(program)]
