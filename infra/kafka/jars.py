"""Kafka's jars: locked by coordinate, size and sha256, fetched once into the cache, never resolved again.

`python -m infra.kafka.jars --lock` resolves all coordinates afresh and rewrites the lock;
`python -m infra.kafka.jars` fetches what the cache lacks and prints where the jars lie.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.kafka.errors import JarError
from infra.paths import Folders

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK = Path(__file__).with_name("jars.lock")
DOWNLOADS_AT_ONCE = 4
TIMEOUT_SECS = 30

Progress = Callable[[int, int], None]
"""Called with (bytes fetched so far, bytes to fetch in all) after every jar."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock.

    >>> jar = Jar("org.slf4j", "slf4j-api", "1.7.36", 41125, "00", "MIT")
    >>> jar.file.as_posix()
    'org/slf4j/slf4j-api/1.7.36/slf4j-api-1.7.36.jar'
    """

    group: str
    artifact: str
    version: str
    size: int
    sha256: str
    licence: str

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def file(self) -> Path:
        """Where a Maven repository keeps it, relative to the repository's root."""
        return Path(*self.group.split("."), self.artifact, self.version, f"{self.artifact}-{self.version}.jar")


def locked_jars(path: Path = LOCK) -> tuple[Jar, ...]:
    """The locked jars, in class-path order.

    Raises:
        JarError: a line is not `group:artifact:version size sha256 licence`.
    """
    jars = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        try:
            coordinate, size, sha256, licence = line.split(maxsplit=3)
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, int(size), sha256, licence))
        except ValueError:
            raise JarError(
                what=f"{path.name}:{number}",
                why="not 'group:artifact:version size sha256 licence'",
                fix="make the lock again with python -m infra.kafka.jars --lock",
            ) from None
    return tuple(jars)


def ensure_jars(
    cache_dir: Path, progress: Progress | None = None, *, lock: Path = LOCK, mirror: str | None = None
) -> list[Path]:
    """The jars of the lock, fetched where the cache lacks them; a full cache opens no connection.

    A jar lies in the cache only after its sha256 was found right, so presence and size are all that is checked
    when it is already there.

    Args:
        cache_dir: caches of twinflow; the jars go to `cache_dir/jars`, laid out as a Maven repository.
        progress: told of the bytes fetched, once per jar; never called when nothing is missing.
        lock: the lock to follow.
        mirror: URL of a Maven repository; None for the public one.

    Returns:
        One path per jar, in class-path order.

    Raises:
        JarError: a jar cannot be fetched, or is not the file that was locked (it is removed).
    """
    jars = locked_jars(lock)
    root = cache_dir / "jars"
    missing = [jar for jar in jars if not _held(root / jar.file, jar.size)]
    if missing:
        _fetch_all(missing, root, progress, mirror)
    return [root / jar.file for jar in jars]


def _held(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _fetch_all(missing: list[Jar], root: Path, progress: Progress | None, mirror: str | None) -> None:
    total, done = sum(jar.size for jar in missing), 0
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".partial-") as staging:
            context = maven(Path(staging), mirror)
            with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
                for jar in pool.map(lambda jar: _fetch(jar, context, root), missing):
                    done += jar.size
                    if progress is not None:
                        progress(done, total)
    except OSError as error:
        raise JarError(
            what=f"jar cache {root}", why=error.strerror or str(error), fix="free space or set TWINFLOW_CACHE"
        ) from error


def _fetch(jar: Jar, context: MavenContext, root: Path) -> Jar:
    """Downloads into the staging repository, checks, then renames into place: no half jar is ever seen."""
    try:
        staged = context.create_dependency(jar.coordinate).artifact.resolve()
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's fault; network errors carry no errno
            raise
        why = f"download failed ({type(error).__name__})"
        raise JarError(what=jar.coordinate, why=why, fix="check the internet connection, then start again") from error
    found = sha256_of(staged)
    if found != jar.sha256:
        staged.unlink()
        raise JarError(
            what=jar.coordinate,
            why=f"sha256 is {found[:12]}…, locked is {jar.sha256[:12]}…; the file was removed",
            fix="start again; if it stays, something between here and the repository alters files",
        )
    target = root / jar.file
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(target)
    return jar


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def maven(local: Path, mirror: str | None) -> MavenContext:
    """Maven without Java, its local repository in `local`."""
    from jgo.maven import MavenContext, PythonResolver  # slow to import: only when something is to be fetched

    remote = {"mirror": mirror} if mirror else None
    return MavenContext(resolver=PythonResolver(), repo_cache=local, remote_repos=remote, timeout=TIMEOUT_SECS)


def main(arguments: list[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.kafka.jars", description=__doc__.splitlines()[0])
    parser.add_argument("--lock", action="store_true", help="resolve afresh and rewrite jars.lock")
    parser.add_argument("--cache", type=Path, default=Folders.of().cache, help="cache folder (default: %(default)s)")
    parser.add_argument("--mirror", help="URL of a Maven repository to fetch from instead of the public one")
    options = parser.parse_args(arguments)
    try:
        if options.lock:
            from infra.kafka.resolve import resolve, write_lock

            write_lock(resolve(mirror=options.mirror))
        else:
            sys.stdout.writelines(f"{path}\n" for path in ensure_jars(options.cache, mirror=options.mirror))
    except JarError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
