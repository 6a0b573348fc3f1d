"""One HTTP request to ClickHouse's interface, answered by the engine: which user, which session, which statement."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain

from infra.history import bodies, codings, sql
from infra.history.engine import Answer, Engine, Handle, Setup, apply, identifier
from infra.history.errors import SYNTAX, EngineError
from infra.history.external import External
from infra.history.formats import STREAMED, joined
from infra.history.readonly import ReadOnly
from infra.history.sessions import Session, Sessions, lent
from infra.history.users import Role, Users, presented

AT_ONCE = {Role.WRITER: 32, Role.READER: 24}
"""Statements at the same time; readers have their own count, so they never keep a writer out."""
QUEUE_SECS = 30.0
HELD_BACK = 64 << 20
"""With wait_end_of_query a result up to this size is held until it is known to be good; a longer one is streamed."""
LONGEST_HEAD = 1 << 20
TRANSPORT = frozenset(
    {"user", "password", "query", "database", "default_format", "query_id", "quota_key", "role", "stacktrace"}
    | {"session_id", "session_timeout", "session_check", "close_session", "client_protocol_version", "buffer_size"}
    | {"compress", "decompress", "wait_end_of_query", "enable_http_compression", "http_zlib_compression_level"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms"}
    | {"cancel_http_readonly_queries_on_client_close", "add_http_cors_header"}
)
"""URL parameters that are no settings of the engine, or that only steer its own HTTP server."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the wire gave; `body` is read while the statement runs."""

    method: str
    params: dict[str, str]
    headers: bodies.Headers
    body: Iterator[bytes]


@dataclass(slots=True)
class Reply:
    """A body to send: `answer` when all of it is known, else `parts` as they come."""

    format: str = ""
    answer: Answer | None = None
    parts: Iterator[bytes] = field(default_factory=lambda: iter(()))

    def summary(self) -> str:
        """Value of X-ClickHouse-Summary."""
        answer = self.answer or Answer(b"")
        counts = {
            "read_rows": answer.read_rows,
            "read_bytes": answer.read_bytes,
            "written_rows": answer.written_rows,
            "written_bytes": answer.written_bytes,
            "total_rows_to_read": answer.read_rows,
            "result_rows": answer.result_rows or answer.written_rows,
            "result_bytes": len(answer.data) or answer.written_bytes,
            "elapsed_ns": int(answer.elapsed_secs * 1e9),
        }
        return json.dumps({name: str(count) for name, count in counts.items()}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _Call:
    """A request after its parts were sorted."""

    setup: Setup
    binds: dict[str, str]
    files: tuple[External, ...]
    session: Session | None
    may_write: bool


class Service:
    """Answers requests; any number of threads at once."""

    def __init__(self, engine: Engine, users: Users) -> None:
        self.engine, self.users = engine, users
        self.sessions = Sessions()
        self._places = {role: threading.BoundedSemaphore(most) for role, most in AT_ONCE.items()}
        with engine.handle(Setup()) as handle:
            self._rule = ReadOnly(handle)

    def answer(self, request: Request, until_sent: ExitStack) -> Reply:
        """Run what is asked. `until_sent` is closed by the caller after the last part: it holds handle and session.

        Raises:
            EngineError: before anything was answered; later ones come out of `Reply.parts`.
        """
        user, password = presented(request.headers, request.params)
        role = self.users.role(user, password)
        if not self._places[role].acquire(timeout=QUEUE_SECS):
            message = f"Too many simultaneous queries. Maximum: {AT_ONCE[role]}"
            raise EngineError.make(202, "TOO_MANY_SIMULTANEOUS_QUERIES", message)
        until_sent.callback(self._places[role].release)
        for name in ("compress", "decompress"):
            if request.params.get(name, "0") not in ("0", ""):
                raise EngineError.unsupported(f"{name}=1 (ClickHouse's own block compression over HTTP)")
        parts = codings.decoded(request.body, request.headers.get("Content-Encoding") or "")
        params, files = request.params, {}
        content_type = request.headers.get("Content-Type") or ""
        if content_type.lower().startswith("multipart/form-data"):
            form = bodies.form(content_type, bodies.whole(parts))
            params, files, parts = {**params, **form.values}, form.files, iter(())
        call = self._call(request, role, user, params, files, until_sent)
        start, head = _split(params.get("query", ""), parts)
        if isinstance(head, sql.InsertHead):
            return self._insert(call, head, chain([start[head.data_at :]], parts), until_sent)
        return self._query(call, params, request, bodies.whole(parts, start).strip(), until_sent)

    def _call(
        self,
        request: Request,
        role: Role,
        user: str,
        params: dict[str, str],
        files: dict[str, bytes],
        until_sent: ExitStack,
    ) -> _Call:
        tables = tuple(f"{name}_" for name in files)
        binds = {name[6:]: value for name, value in params.items() if name.startswith("param_")}
        settings = {
            name: value
            for name, value in params.items()
            if name not in TRANSPORT and not name.startswith("param_") and not (tables and name.startswith(tables))
        }
        session: Session | None = None
        if name := params.get("session_id"):
            timeout, check = params.get("session_timeout", "60"), params.get("session_check", "0") == "1"
            seconds = float(timeout) if timeout.replace(".", "", 1).isdigit() else -1.0
            session = until_sent.enter_context(
                self.sessions.use(user, name, timeout_secs=seconds, must_exist=check),
            )
            if params.get("close_session") == "1":
                until_sent.callback(session.end)
        database = params.get("database") or request.headers.get("X-ClickHouse-Database") or ""
        setup = Setup(database, tuple(sorted(settings.items())), role is Role.READER)
        if files and role is Role.READER:
            raise EngineError.refused("external data is not allowed")
        sent = tuple(External.of(name, params, data) for name, data in files.items())
        return _Call(setup, binds, sent, session, role is Role.WRITER and request.method != "GET")

    def _handle(self, call: _Call, until_sent: ExitStack, *, lasting: bool = False, alone: bool = False) -> Handle:
        """A handle for one request.

        Args:
            lasting: the statement changes its session: it gets the session's own handle, or one that dies with it.
            alone: the statement needs a handle nobody used before, and leaves nothing.
        """
        session = call.session
        if session is not None and not alone and (lasting or session.handle is not None):
            if session.handle is None:
                session.handle = self.engine.open(Setup(reader=call.setup.reader))
            until_sent.enter_context(lent(session.handle, call.setup))
            return session.handle
        if lasting or alone:
            return until_sent.enter_context(closing(self.engine.open(call.setup)))
        return until_sent.enter_context(self.engine.handle(call.setup))

    def _insert(self, call: _Call, head: sql.InsertHead, data: Iterator[bytes], until_sent: ExitStack) -> Reply:
        if not call.may_write:
            raise EngineError.refused("INSERT is not allowed")
        handle = self._handle(call, until_sent, alone=bool(call.binds))
        if call.binds:
            apply(handle, {f"param_{name}": value for name, value in call.binds.items()})
        return Reply(answer=handle.insert(head.sql, head.format, data))

    def _query(
        self, call: _Call, params: Mapping[str, str], request: Request, text: bytes, until_sent: ExitStack
    ) -> Reply:
        statement = sql.read(text)
        fmt = statement.format or params.get("default_format") or request.headers.get("X-ClickHouse-Format")
        fmt = fmt or "TabSeparated"
        if not text:
            raise EngineError.make(SYNTAX, "SYNTAX_ERROR", "Syntax error: Empty query")
        if not call.may_write:
            with self.engine.handle(Setup(call.setup.database, (), reader=True)) as checker:
                self._rule.check(checker, text, statement, call.binds)
        _refuse(statement, text)
        handle = self._handle(call, until_sent, lasting=statement.of_session, alone=bool(call.files))
        for table in call.files:
            handle.run(table.create)
            handle.insert(f"INSERT INTO {identifier(table.name)}", table.format, [table.data])
        extremes = any(name == "extremes" for name, _ in call.setup.settings)
        if not statement.streams or statement.totals or extremes or fmt.lower() not in STREAMED:
            return Reply(fmt, answer=handle.run(text, fmt, call.binds))
        return _streamed(handle, text, fmt, call.binds, until_sent, hold=params.get("wait_end_of_query") == "1")


def _refuse(statement: sql.Statement, text: bytes) -> None:
    """What chDB would do and a server does not."""
    if statement.several:
        raise EngineError.make(SYNTAX, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
    if statement.outfile:
        raise EngineError.make(1, "UNSUPPORTED_METHOD", "INTO OUTFILE is not allowed")
    if statement.verb == "INSERT" and b"infile" in text.lower():
        raise EngineError.unsupported("INSERT ... FROM INFILE over HTTP")


def _split(query: str, parts: Iterator[bytes]) -> tuple[bytes, sql.InsertHead | bool]:
    """Read as much of the body as is needed to tell an INSERT with data from any other statement."""
    start = query.encode("utf-8", "surrogateescape")
    if start:
        start += b"\n"
    head = sql.insert_head(start, whole=False) if start else True
    while head is True:
        part = next(parts, None)
        if part is None or len(start) > LONGEST_HEAD:
            start = bodies.whole(parts, start + (part or b""))
            return start, sql.insert_head(start, whole=True)
        start = bodies.whole(iter([part]), start)
        head = sql.insert_head(start, whole=False)
    return start, head


def _streamed(
    handle: Handle, text: bytes, fmt: str, binds: Mapping[str, str], until_sent: ExitStack, *, hold: bool
) -> Reply:
    """First block at once, so an error in it still gets its status; with `hold` as much as may be held."""
    blocks = handle.stream(text, fmt, binds)
    until_sent.callback(lambda: getattr(blocks, "close", lambda: None)())
    body = joined(fmt, blocks)
    held: list[bytes] = []
    size = 0
    for block in body:
        held.append(block)
        size += len(block)
        if not hold or size > HELD_BACK:
            return Reply(fmt, parts=chain(held, body))
    if not held and fmt.lower() == "arrowstream":  # no block, no schema: the engine writes it for a whole result
        return Reply(fmt, answer=handle.run(text, fmt, binds))
    return Reply(fmt, answer=Answer(b"".join(held)))


def new_query_id(params: Mapping[str, str]) -> str:
    """The client's id, or a fresh one."""
    return params.get("query_id") or str(uuid.uuid4())
