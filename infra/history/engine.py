"""The one chDB engine of this process and its handles; every statement runs here and nowhere else.

A chDB handle is a session of the engine: database and settings stick to it, one statement at a time. Handles are kept
by what they were set up with, so a request pays for its settings only the first time. Never fork after this import: a
forked child that touches chDB hangs.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import chdb

from infra.history.errors import EngineError
from infra.history.room import Room

IDLE_HANDLES = 24
ONE_OFF = frozenset({"insert_deduplication_token", "log_comment"})
"""Settings that differ in each request: a handle that has one is not kept."""
READER_LIMITS = {"max_execution_time": "60", "max_result_bytes": "2000000000"}
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a handle is prepared with; equal setups share handles."""

    database: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    reader: bool = False

    @property
    def keeps(self) -> bool:
        return not any(name in ONE_OFF for name, _ in self.settings)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole result and what it took."""

    data: bytes
    read_rows: int = 0
    read_bytes: int = 0
    result_rows: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_secs: float = 0.0


def quote(text: str) -> str:
    r"""A ClickHouse string literal.

    >>> quote("it's")
    "'it\\'s'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Handle:
    """One session of the engine; used by one thread at a time."""

    def __init__(self, connection: chdb.Connection, version: str, room: Room) -> None:
        self.connection, self.version, self.room = connection, version, room

    def run(self, sql: bytes | str, fmt: str = "TabSeparated", params: Mapping[str, str] | None = None) -> Answer:
        """Run a statement to its end and return the whole result.

        Raises:
            EngineError: with ClickHouse's own code and text.
        """
        try:
            done = self.connection.query(sql, fmt, params=params)
        except (RuntimeError, ValueError) as error:
            raise EngineError.of(error, self.version) from None
        return Answer(
            data=done.bytes(),
            read_rows=done.storage_rows_read(),
            read_bytes=done.storage_bytes_read(),
            result_rows=done.rows_read(),
            written_rows=done.rows_written(),
            written_bytes=done.bytes_written(),
            elapsed_secs=done.elapsed(),
        )

    def stream(self, sql: bytes, fmt: str, params: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Run a SELECT and give its result block by block, each block encoded by itself.

        Raises:
            EngineError: at once, or after blocks have been handed out.
        """
        try:
            result = self.connection.send_query(sql, fmt, params=params)
        except (RuntimeError, ValueError) as error:
            raise EngineError.of(error, self.version) from None
        try:
            while (block := result.fetch()) is not None:
                yield block.bytes()
        except (RuntimeError, ValueError) as error:
            raise EngineError.of(error, self.version) from None
        finally:
            with suppress(RuntimeError):
                result.cancel()

    def insert(self, sql: bytes | str, fmt: str, data: Iterable[bytes]) -> Answer:
        """Insert encoded bytes as they come; returns once the engine holds all of them, raises when it took none.

        Raises:
            EngineError: the engine refused, or the disk has no room for it; or what `data` raised, after the insert was
                cancelled.
        """
        self.room.before()
        try:
            insert = self.connection.send_insert(sql, fmt)
        except (RuntimeError, ValueError) as error:
            raise EngineError.of(error, self.version) from None
        try:
            for part in data:
                insert.append(part)
            done = insert.finish()
        except (RuntimeError, ValueError) as error:
            raise EngineError.of(error, self.version) from None
        finally:
            with suppress(RuntimeError):
                insert.cancel()
        self.room.after()
        return Answer(b"", 0, 0, 0, done.rows_written, done.bytes_written, done.elapsed)

    def single_read(self, sql: bytes) -> bool | None:
        """Does the engine's own parser see exactly one statement that only reads? None: it cannot parse it."""
        found = self.connection._conn.classify_query(sql)
        if found["statement_count"] == 0:
            return None
        return bool(found["query_class"].name == "READ_ONLY" and found["statement_count"] == 1)

    def close(self) -> None:
        with suppress(RuntimeError):
            self.connection.close()


class Engine:
    """Owns the chDB path of this process.

    Args:
        path: folder of the engine, made when missing; one process at a time (`infra.history.front` holds its lock).
        memory_mb: what the engine may take for queries together.
    """

    def __init__(self, path: Path, *, memory_mb: int = 1500) -> None:
        path.mkdir(parents=True, exist_ok=True)
        options = {
            "implicit_select": "0",
            "allow_introspection_functions": "0",
            "max_server_memory_usage": str(memory_mb << 20),
            "mark_cache_size": str(64 << 20),
            "primary_index_cache_size": str(64 << 20),
            "uncompressed_cache_size": "0",
        }
        self._dsn = f"{path}?{urlencode(options)}"
        self._room = Room(path)
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, tuple[Setup, Handle]] = OrderedDict()
        self.version = ""
        control = self._connect()
        self.version = control.run("SELECT version()").data.decode().strip()
        control.version = self.version
        _seal(control, path)
        self.timezone = control.run("SELECT timezone()").data.decode().strip()
        self._control = control

    def _connect(self) -> Handle:
        try:
            return Handle(chdb.connect(self._dsn), self.version, self._room)
        except RuntimeError as error:
            raise EngineError.of(error, self.version) from None

    def open(self, setup: Setup) -> Handle:
        """A new handle, prepared.

        Raises:
            EngineError: unknown database or setting, or a setting the read-only user may not change.
        """
        handle = self._connect()
        try:
            if setup.database:
                handle.run(f"USE {identifier(setup.database)}")
            if setup.reader:
                apply(handle, {**READER_LIMITS, "readonly": "1"})
            apply(handle, dict(setup.settings))
        except EngineError:
            handle.close()
            raise
        return handle

    @contextmanager
    def handle(self, setup: Setup) -> Iterator[Handle]:
        """A handle with that setup for as long as the block runs."""
        handle = self._take(setup) or self.open(setup)
        try:
            yield handle
        finally:
            self._give(setup, handle)

    def _take(self, setup: Setup) -> Handle | None:
        with self._lock:
            for key, (kept, handle) in reversed(self._idle.items()):
                if kept == setup:
                    del self._idle[key]
                    return handle
        return None

    def _give(self, setup: Setup, handle: Handle) -> None:
        surplus: list[Handle] = []
        with self._lock:
            if setup.keeps:
                self._idle[id(handle)] = (setup, handle)
            else:
                surplus.append(handle)
            while len(self._idle) > IDLE_HANDLES:
                surplus.append(self._idle.popitem(last=False)[1][1])
        for old in surplus:
            old.close()

    def alive(self) -> bool:
        """Does the engine answer? Asked on a handle of its own."""
        with self.handle(Setup()) as handle:
            return handle.run("SELECT 1").data == b"1\n"

    def interrupt(self) -> None:
        """Tell running statements to end; they raise QUERY_WAS_CANCELLED."""
        with suppress(EngineError):
            self._control.run("KILL QUERY WHERE query NOT LIKE '%system.processes%' ASYNC")

    def close(self) -> None:
        """Close every idle handle; with the last one the engine writes what it holds and ends."""
        with self._lock:
            handles = [handle for _, handle in self._idle.values()]
            self._idle.clear()
        for handle in [*handles, self._control]:
            handle.close()


def apply(handle: Handle, settings: Mapping[str, str]) -> None:
    """SET settings on a handle.

    Raises:
        EngineError: unknown name (115), bad value, or not allowed (164).
    """
    for name in settings:
        if not _SETTING.fullmatch(name):
            raise EngineError.make(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}")
    if settings:
        handle.run("SET " + ", ".join(f"{name} = {quote(value)}" for name, value in settings.items()))


def _seal(control: Handle, path: Path) -> None:
    """Make `default` a plain Atomic database.

    chDB opens it as an overlay over the file system, where a table name is a path: `SELECT * FROM "/etc/passwd"`.
    """
    if os.path.lexists(path / "metadata" / "default"):  # made with its first table
        control.run("DETACH DATABASE default")
        control.run("ATTACH DATABASE default")
    elif not control.run("SHOW TABLES FROM default").data:
        control.run("DROP DATABASE default")
        control.run("CREATE DATABASE default ENGINE = Atomic")
    engine = control.run("SELECT engine FROM system.databases WHERE name = 'default'").data
    if engine != b"Atomic\n":
        raise EngineError.make(336, "UNKNOWN_DATABASE_ENGINE", f"default is {engine.decode().strip()}, not Atomic")
