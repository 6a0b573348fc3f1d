"""The jars: a full cache needs no network, and nothing but the locked bytes ever lies in it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pytest import raises

from infra.kafka.errors import JarError
from infra.kafka.jars import Jar, ensure_jars, locked_jars
from infra.kafka.resolve import ROOTS, write_lock
from infra.paths import Folders

NOWHERE = "http://127.0.0.1:9"


class Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Says nothing."""

    def log_error(self, *args: object) -> None:
        """Says nothing."""


@contextmanager
def repository(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def published(folder: Path, *names: str) -> tuple[Path, list[Jar]]:
    """A repository folder with small files in it, and the lock that names them."""
    jars = []
    for name in names:
        content = f"content of {name}".encode() * 100
        jar = Jar("org.example", name, "1.0", len(content), hashlib.sha256(content).hexdigest(), "MIT")
        (folder / "repository" / jar.file).parent.mkdir(parents=True)
        (folder / "repository" / jar.file).write_bytes(content)
        jars.append(jar)
    write_lock(jars, folder / "jars.lock")
    return folder / "jars.lock", jars


def test_missing_jars_are_fetched_in_class_path_order_and_progress_ends_at_the_total(tmp_path: Path) -> None:
    lock, jars = published(tmp_path, "b", "a", "c")
    seen: list[tuple[int, int]] = []
    with repository(tmp_path / "repository") as mirror:
        paths = ensure_jars(tmp_path / "cache", lambda *p: seen.append(p), lock=lock, mirror=mirror)
    assert [path.name for path in paths] == ["b-1.0.jar", "a-1.0.jar", "c-1.0.jar"]
    total = sum(jar.size for jar in jars)
    assert len(seen) == 3
    assert seen[-1] == (total, total)
    assert not list((tmp_path / "cache" / "jars").glob(".partial-*"))


def test_a_full_cache_opens_no_connection(tmp_path: Path) -> None:
    lock, _ = published(tmp_path, "a")
    with repository(tmp_path / "repository") as mirror:
        first = ensure_jars(tmp_path / "cache", lock=lock, mirror=mirror)
    assert ensure_jars(tmp_path / "cache", lock=lock, mirror=NOWHERE) == first


def test_a_jar_cut_short_is_fetched_again(tmp_path: Path) -> None:
    lock, jars = published(tmp_path, "a")
    with repository(tmp_path / "repository") as mirror:
        (path,) = ensure_jars(tmp_path / "cache", lock=lock, mirror=mirror)
        path.write_bytes(b"half")
        ensure_jars(tmp_path / "cache", lock=lock, mirror=mirror)
    assert path.stat().st_size == jars[0].size


def test_other_bytes_than_the_locked_ones_are_refused_and_removed(tmp_path: Path) -> None:
    lock, (jar,) = published(tmp_path, "a")
    (tmp_path / "repository" / jar.file).write_bytes(b"x" * jar.size)
    with repository(tmp_path / "repository") as mirror, raises(JarError) as caught:
        ensure_jars(tmp_path / "cache", lock=lock, mirror=mirror)
    assert str(caught.value).startswith("org.example:a:1.0: sha256 is ")
    assert "the file was removed; start again" in str(caught.value)
    assert list((tmp_path / "cache").rglob("*.jar")) == []


@pytest.mark.parametrize("there", [True, False])
def test_a_download_that_fails_is_one_line(tmp_path: Path, there: bool) -> None:
    lock, (jar,) = published(tmp_path, "a")
    (tmp_path / "repository" / jar.file).unlink()
    with repository(tmp_path / "repository") as mirror, raises(JarError, match=r"^org.example:a:1.0: download failed"):
        ensure_jars(tmp_path / "cache", lock=lock, mirror=mirror if there else NOWHERE)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    lock, _ = published(tmp_path, "a")
    (tmp_path / "cache").write_text("a file, not a folder")
    with raises(JarError, match=r"^jar cache .*: Not a directory; free space or set TWINFLOW_CACHE$"):
        ensure_jars(tmp_path / "cache", lock=lock, mirror=NOWHERE)


def test_a_damaged_lock_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "jars.lock").write_text("# head\norg.example:a 12\n")
    with raises(JarError, match=r"^jars.lock:2: not 'group:artifact:version"):
        locked_jars(tmp_path / "jars.lock")


def test_the_lock_holds_every_root_once_with_the_same_kafka_everywhere() -> None:
    jars = locked_jars()
    coordinates = [jar.coordinate for jar in jars]
    assert set(ROOTS) <= set(coordinates)
    assert len({(jar.group, jar.artifact) for jar in jars}) == len(jars)
    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.1.1"}
    assert {jar.version for jar in jars if jar.group == "org.slf4j"} == {"1.7.36"}


def test_the_cached_jars_are_the_locked_bytes() -> None:
    for jar, path in zip(locked_jars(), ensure_jars(Folders.of().cache), strict=True):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256, jar.coordinate
