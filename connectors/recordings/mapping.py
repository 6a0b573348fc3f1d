"""Mapping files: which column or message field is which signal of which device, in which unit. Keys: docs/replay.md.

Signals are listed one by one and nothing else of a recording is sent; what is listed under `labels` (the answers of a
benchmark) can never be a signal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn
from zoneinfo import ZoneInfo

import msgspec
import yaml

from connectors.recordings.faults import MappingError
from operators.units import UnitError, unit

MAX_BYTES = 1_048_576
LABEL_NAMES = re.compile(r"(is_?)?anomal(y|ies|ous)|change_?points?|labels?|ground_?truth|targets?|outliers?", re.I)
"""Column names that are answers, not readings, whatever the mapping says."""
UNIX_NS = {"unix_s": 10**9, "unix_ms": 10**6, "unix_us": 10**3, "unix_ns": 1}


class Csv(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a CSV is written; nothing of it counts for Parquet."""

    separator: str = ","
    decimal: Literal[".", ","] = "."
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the time of a row or message stands.

    `column`: of a table. `field`: of an MCAP message, or its log_time or publish_time. `format`: iso, unix_s, unix_ms,
    unix_us, unix_ns, or a strptime pattern; `zone`: of times that name none. `start`: first instant, with `every` for
    rows without any time, with unix_* for times that count from there.
    """

    column: str = ""
    field: str = ""
    format: str = "iso"
    zone: str = "UTC"
    start: str = ""
    every: str = ""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one signal stands: a number (`column`, `field`) or a vector (`columns`, `fields`); `topic` in MCAP.

    `unit`: of the recorded values; converted to that of the twin type. `optional`: it may be absent.
    """

    column: str = ""
    columns: tuple[str, ...] = ()
    topic: str = ""
    field: str = ""
    fields: tuple[str, ...] = ()
    unit: str = "1"
    optional: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Columns or fields, one per element."""
        return self.columns or self.fields or (self.column or self.field,)

    @property
    def vector(self) -> bool:
        return bool(self.columns or self.fields)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    recording: str
    kind: Literal["table", "mcap"]
    time: Time
    signals: dict[str, Source]
    device: str = "{name}"
    device_column: str = ""
    about: str = ""
    labels: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    csv: Csv = Csv()


class Mapping(_Document, frozen=True):
    """A mapping that holds together. `device` may hold {name}, {folder}, {number} of the file.

    >>> text = "{recording: r, kind: table, time: {column: t}, signals: {a: {column: A, unit: bar}}}"
    >>> m = parse_mapping(text)
    >>> m.columns, m.device_of(Path("runs/pump-3.csv.gz"))
    (['t', 'A'], 'pump-3')
    """

    source: str = "<memory>"
    lines: dict[str, int] = {}

    @property
    def columns(self) -> list[str]:
        """Columns that must be there, in order of mention."""
        wanted = [self.time.column, self.device_column]
        wanted += [c for s in self.signals.values() if not s.optional for c in s.names]
        return list(dict.fromkeys(c for c in wanted if c))

    @property
    def known_columns(self) -> set[str]:
        """Every column this mapping has a word on."""
        optional = [c for s in self.signals.values() for c in s.names]
        return {*self.columns, *optional, *self.labels, *self.ignored}

    @property
    def topics(self) -> list[str]:
        """MCAP topics that must be there."""
        return list(dict.fromkeys(s.topic for s in self.signals.values() if not s.optional))

    def device_of(self, path: Path) -> str:
        """Name of the device of a recording at this path."""
        name = re.sub(r"(\.(csv|tsv|txt|parquet|mcap))?(\.gz)?$", "", path.name, flags=re.I)
        numbers = re.findall(r"\d+", name)
        return self.device.format(name=name, folder=path.absolute().parent.name, number=numbers[-1] if numbers else "1")

    def error(self, key: str, detail: str, fix: str) -> MappingError:
        """A refusal of one key, with its line."""
        parts = key.split(".")
        paths = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        line = next((self.lines[p] for p in paths if p in self.lines), 1)
        return MappingError(source=self.source, line=line, key=key, detail=detail, fix=fix)


def load_mapping(path: Path) -> Mapping:
    """The mapping in a file.

    Raises:
        MappingError: it cannot be read or does not hold together.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_BYTES:
            raise ValueError(f"is over {MAX_BYTES} bytes long")
        return parse_mapping(raw.decode("utf-8-sig"), source=str(path))
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise MappingError(source=str(path), line=1, key="document", detail=detail, fix="check the file") from None


def parse_mapping(text: str, *, source: str = "<memory>") -> Mapping:
    """The mapping in a text; `source` is what errors call it.

    Raises:
        MappingError: what it says does not hold together.
    """
    lines: dict[str, int] = {}

    def refuse(line: int, key: str, detail: str, fix: str) -> NoReturn:
        raise MappingError(source=source, line=line, key=key, detail=detail, fix=fix)

    try:
        tree = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        refuse(line, "document", f"no valid YAML: {error.problem}", "check indentation, colons and quotes")
    except yaml.YAMLError as error:
        refuse(1, "document", f"no valid YAML: {error}", "check the file")
    plain = _plain(tree, "", lines, refuse) if tree is not None else None
    try:
        document = msgspec.convert(plain, _Document, strict=False)
    except msgspec.ValidationError as error:
        key, what = _place(error, plain)
        at = next((k for k in (key, key.rpartition(".")[0]) if k in lines), "")
        refuse(lines.get(at, 1), key or "document", what, "docs/replay.md lists the keys")
    mapping = Mapping(**{f: getattr(document, f) for f in _Document.__struct_fields__}, source=source, lines=lines)
    _check(mapping)
    return mapping


def _place(error: msgspec.ValidationError, plain: object, prefix: str = "") -> tuple[str, str]:
    """Key and sentence of a refusal; entries of `signals` are tried one by one, since their names are not told."""
    what, _, path = str(error).partition(" - at `$")
    signals = plain.get("signals") if isinstance(plain, dict) else None
    if path.startswith(".signals[") and isinstance(signals, dict):
        for name, entry in signals.items():
            try:
                msgspec.convert(entry, Source, strict=False)
            except msgspec.ValidationError as inner:
                return _place(inner, entry, f"signals.{name}")
    unknown = re.search(r"unknown field `(.*)`", what)
    path = re.sub(r"\[[^]]*\]", "", path.rstrip("`")).strip(".")
    return ".".join(filter(None, (prefix, path, unknown[1] if unknown else ""))), what


def _plain(
    node: yaml.Node, path: str, lines: dict[str, int], refuse: Callable[..., NoReturn], depth: int = 0
) -> object:
    line = node.start_mark.line + 1 if node.start_mark else 1
    if depth > 8:
        refuse(line, path, "is nested too deep", "flatten it")
    if isinstance(node, yaml.MappingNode):
        made: dict[str, object] = {}
        for key_node, value in node.value:
            key = str(key_node.value)
            inside = f"{path}.{key}".strip(".")
            lines[inside] = key_node.start_mark.line + 1
            if key in made:
                refuse(lines[inside], inside, "stands twice", "keep one of them")
            made[key] = _plain(value, inside, lines, refuse, depth + 1)
        return made
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, path, lines, refuse, depth + 1) for item in node.value]
    return str(node.value)


def _check(m: Mapping) -> None:
    if not m.signals:
        raise m.error("signals", "names no signal", "list at least one")
    if len(m.csv.separator.encode()) != 1 or m.csv.separator in '\r\n"' + m.csv.decimal:
        raise m.error("csv.separator", f"{m.csv.separator!r} cannot separate", "give one character, such as ; or ,")
    try:
        m.device_of(Path("folder/name.csv"))
    except (KeyError, ValueError, IndexError):
        fix = "use {name}, {folder}, {number}"
        raise m.error("device", f"{m.device!r} cannot be filled in", fix) from None
    _check_time(m)
    labels = set(m.labels)
    for name, source in m.signals.items():
        key = f"signals.{name}"
        if not name.isprintable():
            raise m.error("signals", f"{name[:80]!r} holds what cannot be printed", "name it with plain characters")
        given = [k for k in ("column", "columns", "field", "fields") if getattr(source, k)]
        wanted = ("column", "columns") if m.kind == "table" else ("field", "fields")
        if len(given) != 1 or given[0] not in wanted or (m.kind == "mcap") != bool(source.topic):
            fix = f"give {'a topic and ' if m.kind == 'mcap' else ''}exactly one of {' and '.join(wanted)}"
            raise m.error(key, f"has {', '.join(given) or 'no source'}{', topic' if source.topic else ''}", fix)
        for column in source.names if m.kind == "table" else ():
            if column in labels or LABEL_NAMES.fullmatch(column):
                raise m.error(key, f"column {column!r} is a label, not a reading", "take it out of signals")
        try:
            unit(source.unit)
        except UnitError as error:
            raise m.error(f"{key}.unit", str(error), "see docs/twin-types.md") from None


def _check_time(m: Mapping) -> None:
    t = m.time
    given = [k for k in ("column", "field", "every") if getattr(t, k)]
    if given not in ([["column"], ["every"]] if m.kind == "table" else [["field"]]):
        fix = "a table has a column, or start and every; an MCAP has a field"
        raise m.error("time", f"is given by {' and '.join(given) or 'nothing'}", fix)
    if t.every and not t.start:
        raise m.error("time", "every without start", "say when the first row was")
    if t.start and not t.every and t.format not in UNIX_NS:
        raise m.error("time.start", f"means nothing with format {t.format!r}", "use unix_s, or take it out")
    if t.format != "iso" and t.format not in UNIX_NS and "%" not in t.format:
        fix = f"use iso, {', '.join(UNIX_NS)} or a pattern such as %d.%m.%Y %H:%M:%S"
        raise m.error("time.format", f"{t.format!r} is no format", fix)
    try:
        ZoneInfo(t.zone)
    except (KeyError, ValueError, OSError):
        raise m.error("time.zone", f"{t.zone!r} is no zone", "use a name such as UTC or Europe/Berlin") from None
