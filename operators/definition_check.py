"""Check of a parsed document against a JSON Schema, and typed access to it that remembers lines.

Messages are made of the schema: a schema that can fail carries `title` (what it is) and `examples` (how it looks).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from operators.definition_text import Node, Path, path_text
from operators.errors import DefinitionError

UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_DURATION = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?(?:[eE][-+]?[0-9]{1,2})?) *(ns|us|ms|s|min|h|d)?")
MAX_DURATION_NS = 3660 * 86_400 * 10**9


def nearest(name: str, known: Iterable[str], *, otherwise: str = "known") -> str:
    """What to write instead of an unknown name: the nearest known one, or the list of them.

    >>> nearest("presure", ["pressure", "flow"])
    "did you mean 'pressure'?"
    >>> nearest("zzz", ["pressure", "flow"])
    'known: pressure, flow'
    """
    names = list(known)
    lowered = {n.lower(): n for n in reversed(names)}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"{otherwise}: {shown or 'none'}"


def duration_ns(value: float | str) -> int:
    """Nanoseconds of a duration: text such as 100ms, 2s, 5min, 1h (or ns, us, d), or a number of seconds.

    Raises:
        ValueError: it is none, is negative, over ten years, or no whole number of nanoseconds.

    >>> duration_ns("100ms"), duration_ns(0.1), duration_ns("1.5h")
    (100000000, 100000000, 5400000000000)
    """
    match = _DURATION.fullmatch(str(value).strip())
    if match is None or isinstance(value, str) == (match[2] is None):
        raise ValueError("not a duration")
    ns = Decimal(match[1]) * UNITS_NS[match[2] or "s"]
    if ns > MAX_DURATION_NS or ns != int(ns):
        raise ValueError("not a duration in range")
    return int(ns)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a document that its schema has passed; the accessors are for the types the schema allows there."""

    source: str
    node: Node
    path: Path = ()

    def error(self, detail: str, fix: str) -> DefinitionError:
        """A refusal of this place."""
        key = path_text(self.path)
        return DefinitionError(source=self.source, line=self.node.line, key=key, detail=detail, fix=fix)

    def get(self, key: str) -> Cursor | None:
        """The entry of a map, None where the key is absent."""
        child = self.entries().get(key)
        return None if child is None else Cursor(self.source, child, (*self.path, key))

    def entries(self) -> Mapping[str, Node]:
        return self.node.value if isinstance(self.node.value, dict) else {}

    def items(self) -> Iterator[tuple[str, Cursor]]:
        """The entries of a map in file order."""
        for key, child in self.entries().items():
            yield key, Cursor(self.source, child, (*self.path, key))

    def __iter__(self) -> Iterator[Cursor]:
        """The items of a list; a lone value counts as a list of one."""
        if not isinstance(self.node.value, list):
            yield self
            return
        for i, child in enumerate(self.node.value):
            yield Cursor(self.source, child, (*self.path, i))

    def plain(self) -> Any:
        return self.node.plain()

    def text(self, key: str, default: str = "") -> str:
        child = self.entries().get(key)
        return default if child is None else str(child.value)

    def number(self, key: str, default: float) -> float:
        child = self.entries().get(key)
        return default if child is None else self._float(child)

    def whole(self, key: str, default: int) -> int:
        child = self.entries().get(key)
        return default if child is None else int(self._float(child))

    def flag(self, key: str) -> bool:
        child = self.entries().get(key)
        return child is not None and child.value is True

    def floats(self) -> tuple[float, ...]:
        """The numbers of a list."""
        return tuple(self._float(item.node) for item in self)

    def bounds(self) -> tuple[float, float]:
        """The two numbers of a range; an empty one is open."""
        low, high = self
        return (
            float("-inf") if low.node.value is None else self._float(low.node),
            float("inf") if high.node.value is None else self._float(high.node),
        )

    def is_map(self) -> bool:
        return isinstance(self.node.value, dict)

    def is_list(self) -> bool:
        return isinstance(self.node.value, list)

    def duration(self, key: str, default_ns: int, *, zero: bool = True) -> int:
        """The duration under the key, in ns."""
        child = self.get(key)
        return default_ns if child is None else child.as_duration(zero=zero)

    def as_duration(self, *, zero: bool = True) -> int:
        """This value as a duration, in ns."""
        value = self.node.value
        try:
            ns = duration_ns(value if isinstance(value, str | int | float) else "")
        except ValueError:
            wants = "write one like 100ms, 2s, 5min or 1h (at most ten years, whole nanoseconds)"
            raise self.error(f"{short(value)} is not a duration", wants) from None
        if ns == 0 and not zero:
            raise self.error("must be longer than 0", "write one like 100ms, 2s, 5min or 1h")
        return ns

    def _float(self, node: Node) -> float:
        assert isinstance(node.value, int | float)
        return float(node.value)


def short(value: object) -> str:
    """A value in at most about 40 characters, as it would stand in the file."""
    if isinstance(value, dict):
        return "a map" if value else "an empty map"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 40 else text[:30] + "..." + text[-5:]


def check(document: Cursor, validator: Draft202012Validator) -> None:
    """Refuse the document by the first line that breaks the schema.

    Raises:
        DefinitionError: names the line, the key, what is wrong and what to write.
    """
    root = document.node
    found = [_sharpest(e) for e in validator.iter_errors(root.plain())]
    faults = [fault for e in found for fault in _faults(document, e)]
    if faults:
        raise min(faults, key=lambda fault: (fault.line, fault.key, str(fault)))


def _sharpest(error: ValidationError) -> ValidationError:
    """Of an `anyOf`, the failure that says most: a misspelt word, or one deeper in the value than the choice itself."""
    while error.validator == "anyOf" and error.context:
        branches = list(reversed(error.context))
        here = [e for e in branches if not e.relative_path]
        words = [e for e in here if e.validator == "enum" and isinstance(e.instance, str)]
        deepest = max(branches, key=lambda e: len(e.relative_path))
        if words:
            error = words[0]
        elif deepest.relative_path and all(e.validator in ("type", "const", "enum") for e in here):
            error = deepest
        else:
            break
    return error


def _faults(document: Cursor, error: ValidationError) -> list[DefinitionError]:
    path: Path = tuple(error.absolute_path)
    place, value, schema = below(document, path), error.instance, error.schema
    assert isinstance(schema, Mapping)
    if error.validator == "additionalProperties" and isinstance(value, dict):
        known = list(schema.get("properties", {}))
        extra = [key for key in value if key not in known]
        return [below(document, (*path, key)).error("unknown key", nearest(key, known)) for key in extra]
    if error.validator == "required" and isinstance(value, dict):
        missing = [key for key in schema["required"] if key not in value]
        here = [(key, Cursor(place.source, place.node, (*place.path, key))) for key in missing]
        return [at.error("is missing", f"add '{key}: {_example(schema, key)}'") for key, at in here]
    if error.validator == "propertyNames" or "propertyNames" in error.absolute_schema_path:
        return [below(document, (*path, str(value))).error(f"is not {schema['title']}", "rename it")]
    if error.validator == "enum":
        return [place.error(f"{short(value)} is not allowed", nearest(str(value), map(str, schema["enum"])))]
    title = schema.get("title", "what belongs here")
    return [place.error(f"{short(value)} is not {title}", f"write e.g. {_example(schema)}")]


def below(document: Cursor, path: Path) -> Cursor:
    """The place at a path under this one; errors there name the whole path."""
    return Cursor(document.source, document.node.at(path), (*document.path, *path))


def _example(schema: Mapping[str, Any], key: str | None = None) -> str:
    part = schema if key is None else schema.get("properties", {}).get(key, {})
    examples = part.get("examples") or ["..."]
    return str(examples[0])
