"""JSON topics as rows of the history: one Struct per topic says what a record must hold, and which cells it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, TypeAlias

import msgspec
import pyarrow as pa

Int = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Partition = Annotated[int, msgspec.Meta(ge=-1, le=(1 << 31) - 1)]
Cell: TypeAlias = "str | int | float | None"
_S, _I, _F = pa.string(), pa.int64(), pa.float64()


_NOTHING = msgspec.Raw()


def _text(raw: msgspec.Raw) -> str:
    """A nested value as it was written; "" where there is none."""
    text = bytes(raw).decode()
    return "" if text == "null" else text


class Record(msgspec.Struct, frozen=True):
    """Base of all: `schema` names the columns that `cells` fills, in order.

    Attributes:
        may_be_empty: a record without a value takes its key back, and becomes a row of empty cells.
    """

    schema: ClassVar[Mapping[str, pa.DataType]] = {}
    may_be_empty: ClassVar[bool] = False

    def cells(self, key: str, raw: str) -> tuple[Cell, ...]:
        """One row. `raw` is the whole record."""
        raise NotImplementedError

    @classmethod
    def read(cls, key: str, value: bytes | None) -> tuple[Cell, ...]:
        """One row of a record as it came.

        Raises:
            ValueError: it is not what the topic holds (msgspec and UTF-8 errors are of this kind).
        """
        if value is None:
            if not cls.may_be_empty:
                raise ValueError("the record has no value")
            return (key, *("" if kind == _S else 0 for kind in list(cls.schema.values())[1:]))
        return msgspec.json.decode(value, type=cls).cells(key, value.decode())


class Alert(Record, frozen=True):
    """Topic alerts."""

    id: str
    device: str
    state: str
    ts_ns: Int
    twin_type: str = ""
    signal: str | None = None
    rule: str | None = None
    detector: str | None = None
    severity: str = "warn"
    value: float | None = None
    limit: float | None = None
    score: float | None = None
    cause: str | None = None
    ranked: msgspec.Raw = _NOTHING
    offset: Int | None = None
    shard: str = ""
    source: str = ""
    schema = (
        dict.fromkeys(("id", "device", "twin_type", "signal", "rule", "detector", "state", "severity"), _S)
        | {"ts_ns": _I, "value": _F, "limit": _F, "score": _F, "cause": _S, "ranked": _S}
        | {"source_offset": _I, "shard": _S, "document": _S}
    )

    def cells(self, key: str, raw: str) -> tuple[Cell, ...]:
        offset = -1 if self.offset is None else self.offset
        rule, detector = self.rule or "", self.detector or ""
        if self.source == "detector" and not detector:
            rule, detector = "", rule
        names = self.id, self.device, self.twin_type, self.signal or "", rule, detector
        figures = self.ts_ns, self.value, self.limit, self.score
        rest = self.cause or "", _text(self.ranked), offset, self.shard, raw
        return (*names, self.state, self.severity, *figures, *rest)


class _Reported(msgspec.Struct, frozen=True):
    ts_ns: Int


class TwinStateRecord(Record, frozen=True):
    """Topic twin-states: the key names the twin."""

    twin_type: str = ""
    revision: Int = 0
    offset: Int = -1
    reported: dict[str, _Reported] = {}
    schema = {"device": _S, "twin_type": _S, "ts_ns": _I, "revision": _I, "source_offset": _I, "document": _S}
    may_be_empty = True

    def cells(self, key: str, raw: str) -> tuple[Cell, ...]:
        newest = max((r.ts_ns for r in self.reported.values()), default=0)
        return key, self.twin_type, newest, self.revision, self.offset, raw


class DeadLetter(Record, frozen=True):
    """Topic dead-letters."""

    reason: str
    detail: str = ""
    topic: str = ""
    partition: Partition = -1
    offset: Int = -1
    arrival_ns: Int = 0
    device: str | None = None
    key: str | None = None
    raw: str | None = None
    raw_base64: str | None = None
    schema = (
        {"reason": _S, "detail": _S, "topic": _S, "partition": pa.int32(), "offset": _I, "arrival_ns": _I}
        | dict.fromkeys(("device", "key", "raw", "raw_base64"), _S)
    )  # fmt: skip

    def cells(self, key: str, raw: str) -> tuple[Cell, ...]:
        where = self.topic, self.partition, self.offset, self.arrival_ns
        rest = self.device or "", self.key or "", self.raw or "", self.raw_base64 or ""
        return (self.reason, self.detail, *where, *rest)


class Gap(Record, frozen=True):
    """Topic gaps."""

    device: str
    from_seq: Int
    to_seq: Int
    missing: Int
    boot: str | int | None = None
    offset: Int = -1
    schema = {"device": _S, "boot": _S, "from_seq": _I, "to_seq": _I, "missing": _I, "source_offset": _I}

    def cells(self, key: str, raw: str) -> tuple[Cell, ...]:
        boot = "" if self.boot is None else str(self.boot)
        return self.device, boot, self.from_seq, self.to_seq, self.missing, self.offset


class LedgerEntry(Record, frozen=True):
    """Topic ledger."""

    partition: Partition
    from_offset: Int
    end_offset: Int
    ledger: msgspec.Raw
    shard: str = ""
    skipped: Int = 0
    at_ns: Int = 0
    schema = (
        {"shard": _S, "partition": pa.int32(), "from_offset": _I, "end_offset": _I, "skipped": _I, "at_ns": _I}
        | {"document": _S}
    )  # fmt: skip

    def cells(self, key: str, raw: str) -> tuple[Cell, ...]:
        span = self.from_offset, self.end_offset, self.skipped, self.at_ns
        return (self.shard, self.partition, *span, _text(self.ledger))


class CommandRequest(Record, frozen=True):
    """Topic command-requests."""

    id: str
    device: str
    verb: str
    ts_ns: Int
    arguments: msgspec.Raw = _NOTHING
    reason: str | None = None
    issuer: str | None = None
    schema = dict.fromkeys(("id", "device", "verb", "arguments", "reason", "issuer"), _S) | {
        "ts_ns": _I,
        "document": _S,
    }

    def cells(self, key: str, raw: str) -> tuple[Cell, ...]:
        words = _text(self.arguments), self.reason or "", self.issuer or ""
        return (self.id, self.device, self.verb, *words, self.ts_ns, raw)


class CommandEvent(Record, frozen=True):
    """Topics commands and command-events."""

    id: str
    device: str
    verb: str
    ts_ns: Int
    stage: str = ""
    arguments: msgspec.Raw = _NOTHING
    reason: str | None = None
    issuer: str | None = None
    detail: msgspec.Raw = _NOTHING
    schema = (
        dict.fromkeys(("id", "device", "verb", "arguments", "reason", "issuer", "stage", "detail"), _S)
        | {"ts_ns": _I, "document": _S}
    )  # fmt: skip

    def cells(self, key: str, raw: str) -> tuple[Cell, ...]:
        words = _text(self.arguments), self.reason or "", self.issuer or "", self.stage
        detail = _text(self.detail)
        if detail.startswith('"'):
            detail = msgspec.json.decode(detail, type=str)
        return (self.id, self.device, self.verb, *words, detail, self.ts_ns, raw)


class Definition(Record, frozen=True):
    """Topic definitions: any text, kept as it is."""

    schema = {"twin": _S, "document": _S}
    may_be_empty = True

    @classmethod
    def read(cls, key: str, value: bytes | None) -> tuple[Cell, ...]:
        return key, (value or b"").decode()


RECORDS: Mapping[str, type[Record]] = {
    "alerts": Alert,
    "twin-states": TwinStateRecord,
    "dead-letters": DeadLetter,
    "gaps": Gap,
    "ledger": LedgerEntry,
    "command-requests": CommandRequest,
    "commands": CommandEvent,
    "command-events": CommandEvent,
    "definitions": Definition,
}
"""The Struct of each JSON topic."""
