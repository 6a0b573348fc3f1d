"""ClickHouse through clickhouse-connect: embedded history and real server by the same calls; only the URL differs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import numpy as np
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from numpy.typing import NDArray

from operators.errors import TwinflowError

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

Parameters: TypeAlias = Mapping[str, Any]
TimeUnit: TypeAlias = Literal["s", "ms", "us", "ns"]
_UNITS: dict[int, TimeUnit] = {0: "s", 3: "ms", 6: "us", 9: "ns"}
_UNIT = re.compile(r"(?:Nullable\()?DateTime64\(([0369])\b")
Columns: TypeAlias = Mapping[str, "Sequence[Any] | NDArray[Any]"]


class HistoryError(TwinflowError):
    """ClickHouse refused a statement; `code` and `name` are its own (60, UNKNOWN_TABLE), 0 and "" without an answer.

    >>> str(HistoryError(url="http://h:8123", what="INSERT INTO t", code=60, name="UNKNOWN_TABLE", detail="no t"))
    'history http://h:8123: INSERT INTO t: 60 UNKNOWN_TABLE: no t'
    """

    def __init__(self, *, url: str, what: str, code: int, name: str, detail: str) -> None:
        self.code, self.name = code, name
        reason = f"{code} {name}: {detail}" if code else detail
        super().__init__(f"history {url}: {what}: {reason}")


class HistoryUnavailable(HistoryError):
    """Nobody answers, or the connection broke: the statement may or may not have run; try again."""


class ClickHouse:
    """One connection, for one thread at a time; many may be open. Statements share no session.

    Args:
        url: `http://HOST:PORT[/DATABASE]`, also `https`; may hold `user:password@`.
        user, password, database: override what the URL says.
        settings: ClickHouse settings sent with every statement.
        timeout_secs: longest wait for an answer.

    Raises:
        HistoryUnavailable: nobody answers there.
        HistoryError: the user is not accepted, the database does not exist.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        password: str = "",
        database: str = "",
        settings: Parameters | None = None,
        timeout_secs: float = 60.0,
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or "127.0.0.1"
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._units: dict[str, dict[str, TimeUnit]] = {}
        with self._translated("connect"):
            self._client: Client = clickhouse_connect.get_client(
                interface=parts.scheme,
                host=host,
                port=parts.port or (8443 if parts.scheme == "https" else 8123),
                username=user or unquote(parts.username or "default"),
                password=password or unquote(parts.password or ""),
                database=database or parts.path.strip("/") or None,
                compress=False if _is_near(host) else "lz4",
                connect_timeout=5,
                send_receive_timeout=int(max(1.0, timeout_secs)),
                settings=dict(settings or {}),
                autogenerate_session_id=False,
                show_clickhouse_errors="scrub",
            )

    @property
    def version(self) -> str:
        """Of the engine."""
        return str(self._client.server_version)

    def run(self, statement: str, parameters: Parameters | None = None, *, settings: Parameters | None = None) -> None:
        """A statement without result; `{name:Type}` in it are filled by the server."""
        with self._translated(statement):
            self._client.command(statement, parameters=_dict(parameters), settings=_dict(settings))

    def rows(
        self, query: str, parameters: Parameters | None = None, *, settings: Parameters | None = None
    ) -> list[tuple[Any, ...]]:
        """The whole result as Python values."""
        with self._translated(query):
            result = self._client.query(query, parameters=_dict(parameters), settings=_dict(settings))
            return [tuple(row) for row in result.result_rows]

    def arrow(
        self, query: str, parameters: Parameters | None = None, *, settings: Parameters | None = None
    ) -> pa.Table:
        """The whole result as an Arrow table; also an empty one has its columns."""
        with self._translated(query):
            return self._client.query_arrow(
                query, parameters=_dict(parameters), settings=_dict(settings), use_strings=True
            )

    def arrow_batches(
        self, query: str, parameters: Parameters | None = None, *, settings: Parameters | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The result batch by batch, in bounded memory on both sides. Use the connection for nothing else meanwhile."""
        with (
            self._translated(query),
            self._client.query_arrow_stream(
                query, parameters=_dict(parameters), settings=_dict(settings), use_strings=True
            ) as stream,
        ):
            yield from stream

    def insert(self, table: str, columns: Columns, *, token: str = "") -> int:
        """Append rows given by column; returns how many. Once it returns they survive the death of the history.

        Args:
            table: its name, with or without database.
            columns: all of one length. int64 for a DateTime64 column counts its own unit: nanoseconds for
                DateTime64(9). Text is taken for String, LowCardinality, Enum and UUID, None for NULL.
            token: `insert_deduplication_token`: the same token twice writes once where the table keeps a
                deduplication window.
        """
        import pyarrow as pa

        units = self._time_units(table)
        arrays = {name: _times(values, units[name]) if name in units else values for name, values in columns.items()}
        return self.insert_arrow(table, pa.table(arrays), token=token)

    def insert_arrow(self, table: str, rows: pa.Table, *, token: str = "") -> int:
        """Append an Arrow table; its columns go to those of the same name. As `insert` otherwise.

        A time column must be an Arrow timestamp: ClickHouse reads bare integers as seconds.
        """
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        body = sink.getvalue().to_pybytes()
        settings = {"insert_deduplication_token": token} if token else None
        try:
            with self._translated(f"INSERT INTO {table}"):
                done = self._client.raw_insert(table, rows.column_names, body, settings=settings, fmt="ArrowStream")
        except HistoryError:
            self._units.pop(table, None)  # the table may have changed
            raise
        return int(done.written_rows)

    def _time_units(self, table: str) -> dict[str, TimeUnit]:
        """Unit of each DateTime64 column; asked once per table."""
        if table not in self._units:
            described = {str(row[0]): _UNIT.match(str(row[1])) for row in self.rows(f"DESCRIBE TABLE {table}")}
            self._units[table] = {name: _UNITS[int(found[1])] for name, found in described.items() if found}
        return self._units[table]

    def alive(self) -> bool:
        """Does it answer now?"""
        return bool(self._client.ping())

    def close(self) -> None:
        """Give back the connection."""
        self._client.close()

    def __enter__(self) -> ClickHouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _translated(self, statement: str) -> Iterator[None]:
        what = " ".join(statement.split())[:120]
        try:
            yield
        except ClickHouseError as error:
            code, name = getattr(error, "code", None) or 0, getattr(error, "name", None) or ""
            kind = HistoryUnavailable if isinstance(error, OperationalError) else HistoryError
            detail = str(error).partition("server response: ")[2] or str(error)
            raise kind(url=self.url, what=what, code=int(code), name=name, detail=detail) from error


def _times(values: Sequence[Any] | NDArray[Any], unit: TimeUnit) -> Sequence[Any] | NDArray[Any]:
    """Integers as times; whatever else is left to Arrow."""
    array = np.asarray(values)
    return array.astype(np.int64, copy=False).view(f"datetime64[{unit}]") if array.dtype.kind in "iu" else values


def _dict(values: Parameters | None) -> dict[str, Any] | None:
    return dict(values) if values else None


def _is_near(host: str) -> bool:
    """On loopback packing costs more than it saves."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
