"""JSON Schemas inside a twin type (`report`, `arguments`): valid, closed in themselves, and sure to come to an end."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from operators.definition_check import Cursor, below, short
from operators.definition_text import Node

_OUTSIDE = ("$id", "$schema", "$anchor", "$dynamicAnchor", "$dynamicRef", "$vocabulary")
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")


def check_schema(document: Cursor) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that stands here.

    Raises:
        DefinitionError: it is no valid schema, refers to something outside of it or to itself without end.
    """
    schema: dict[str, Any] = document.plain()
    try:
        Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    except SchemaError as e:
        place = below(document, tuple(e.absolute_path))
        message = e.message if len(e.message) <= 100 else e.message[:97] + "..."
        raise place.error(f"is no valid JSON Schema: {message}", "see JSON Schema, draft 2020-12") from None
    _check_references(document, document)
    return schema


def _check_references(root: Cursor, place: Cursor) -> None:
    for key, child in place.items():
        if key in _OUTSIDE:
            raise child.error("is not supported in a twin type", "remove it")
        if key == "$ref" and isinstance(child.node.value, str):
            if _target(root.node, child.node.value) is None:
                raise child.error(f"{short(child.node.value)} is not in this schema", "point to '#/$defs/NAME'")
            if _loops(root.node, place.node, frozenset(), set()):
                raise child.error("refers to itself without end", "break the circle")
        _check_references(root, child)
    if place.is_list():
        for item in place:
            _check_references(root, item)


def _target(root: Node, reference: str) -> Node | None:
    """What a local reference points to."""
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return None
    node = root
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        child = node.value.get(name) if isinstance(node.value, dict) else None
        if child is None:
            return None
        node = child
    return node


def _loops(root: Node, node: Node, way: frozenset[int], done: set[int]) -> bool:
    """Whether a schema applies itself again to the very same value; `done` holds what is known not to."""
    here = id(node.value)
    if here in way:
        return True
    if here in done:
        return False
    circle = any(_loops(root, child, way | {here}, done) for child in _applied(root, node))
    done.add(here)
    return circle


def _applied(root: Node, node: Node) -> list[Node]:
    """The schemas that one schema applies to the same value as itself."""
    applied: list[Node] = []
    for key, child in node.value.items() if isinstance(node.value, dict) else ():
        if key == "$ref" and isinstance(child.value, str) and (target := _target(root, child.value)):
            applied.append(target)
        elif key in _IN_PLACE:
            applied += child.value if isinstance(child.value, list) else [child]
        elif key == "dependentSchemas" and isinstance(child.value, dict):
            applied += child.value.values()
    return applied
