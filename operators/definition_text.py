"""YAML as plain values with the line of each: no tags, no code, no duplicate keys, and nothing that grows on reading.

Values are resolved as in YAML 1.2 core (so `on`, `yes` and `1:30` are text); JSON is read by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from operators.errors import DefinitionError

MAX_BYTES = 1_048_576
MAX_NODES = 50_000
MAX_DEPTH = 32
MAX_DIGITS = 30

Scalar: TypeAlias = bool | int | float | str | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"
Path: TypeAlias = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_WORDS: Mapping[str, bool | None] = {"": None, "~": None} | {
    cased: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for cased in (word, word.capitalize(), word.upper())
}


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line its key (or, in a list, itself) stands on; `size` counts the values in it, aliases too."""

    value: Scalar | list[Node] | dict[str, Node]
    line: int
    size: int = 1
    depth: int = 1

    def plain(self) -> Plain:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def at(self, path: Path) -> Node:
        """The node at the end of the path, or the last one on the way that exists."""
        node = self
        for step in path:
            child = None
            if isinstance(node.value, dict) and isinstance(step, str):
                child = node.value.get(step)
            elif isinstance(node.value, list) and isinstance(step, int):
                child = node.value[step]
            if child is None:
                break
            node = child
        return node


def path_text(path: Path) -> str:
    """A path as people write it.

    >>> path_text(("rules", 2, "signal"))
    'rules[2].signal'
    """
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "document"


def parse(text: str, *, source: str) -> Node:
    """The one document in the text.

    Raises:
        DefinitionError: it is no YAML, is empty, too large or too deep, has a tag, a duplicate key, or more than
            MAX_NODES values once its aliases are followed.

    >>> parse("a: {b: 1}", source="x.yaml").plain()
    {'a': {'b': 1}}
    """
    if len(text) > MAX_BYTES:
        raise DefinitionError(
            source=source,
            line=1,
            key="document",
            detail=f"is over {MAX_BYTES} characters long",
            fix="split it into several types",
        )
    reader = _Reader(source)
    try:
        return reader.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as e:
        line = text.count("\n", 0, e.position) + 1
        raise reader.error(line, f"character {e.character!r} is not allowed", "remove it") from None
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        what = " ".join(part for part in (e.context, e.problem) if part)
        line = mark.line + 1 if mark else 1
        raise reader.error(line, f"no valid YAML: {what}", "check indentation, colons and quotes") from None
    except (ValueError, OverflowError):
        raise reader.error(reader.line, "no valid YAML: an escape names no character", "correct the escape") from None


class _Reader:
    """Builds nodes from parse events, so that every limit holds before anything is built."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.line = 1
        self.anchors: dict[str, Node] = {}

    def error(self, line: int, detail: str, fix: str, key: str = "document") -> DefinitionError:
        return DefinitionError(source=self.source, line=line, key=key, detail=detail, fix=fix)

    def document(self, events: Iterator[yaml.Event]) -> Node:
        root: Node | None = None
        for event in events:
            self.line = _line(event)
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self.error(self.line, "holds a second document", "keep one document per file")
                root = self.node(next(events), events, 1)
        if root is None or root.value is None:
            raise self.error(1, "is empty", "start with 'twin_type: NAME'")
        return root

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], level: int) -> Node:
        self.line = line = _line(event)
        if level > MAX_DEPTH:
            raise self.error(line, f"is nested deeper than {MAX_DEPTH} levels", "flatten it")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event.anchor, line, level)
        assert isinstance(event, yaml.NodeEvent)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self.error(line, f"tag {tag!r} is not allowed", "write the plain value")
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self.scalar(event), line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(events, line, level)
        else:
            node = self.mapping(events, line, level)
        if node.size > MAX_NODES:
            raise self.error(line, f"holds over {MAX_NODES} values once its aliases are followed", "write less")
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def alias(self, name: str | None, line: int, level: int) -> Node:
        known = self.anchors.get(name or "")
        if known is None:
            raise self.error(line, f"alias '*{name}' has no finished anchor before it", f"define '&{name}' above")
        if level + known.depth - 1 > MAX_DEPTH:
            raise self.error(line, f"is nested deeper than {MAX_DEPTH} levels", "flatten it")
        return Node(known.value, line, known.size, known.depth)

    def sequence(self, events: Iterator[yaml.Event], line: int, level: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.node(event, events, level + 1))
        return _sized(items, items, line)

    def mapping(self, events: Iterator[yaml.Event], line: int, level: int) -> Node:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key_line = _line(event)
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise self.error(key_line, "a key is not plain text", "use a plain name as key")
            key = event.value
            self.checked(key, key_line)
            if key in entries:
                fix = f"it stands on line {entries[key].line} already; keep one of them"
                raise self.error(key_line, "duplicate key", fix, key)
            value = self.node(next(events), events, level + 1)
            entries[key] = Node(value.value, key_line, value.size, value.depth)
        return _sized(entries, list(entries.values()), line)

    def scalar(self, event: yaml.ScalarEvent) -> Scalar:
        text: str = event.value
        self.checked(text, self.line)
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if infinite := _INF.fullmatch(text):
            return float(infinite[1] + "inf")
        if not _FLOAT.fullmatch(text):
            return text
        if len(text) > MAX_DIGITS:
            raise self.error(self.line, f"a number of {len(text)} characters is too long", "round it")
        if _INT.fullmatch(text):
            return int(text)
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise self.error(self.line, f"{text} is too large for a number", "write a smaller one, or .inf")
        return number

    def checked(self, text: str, line: int) -> None:
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise self.error(line, "text holds half of a surrogate pair", "correct the escape")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _sized(value: list[Node] | dict[str, Node], children: list[Node], line: int) -> Node:
    size = 1 + sum(child.size for child in children)
    return Node(value, line, size, 1 + max((child.depth for child in children), default=0))
