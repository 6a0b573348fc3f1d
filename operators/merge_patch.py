"""JSON merge patch (RFC 7396) on parsed documents: `merge` applies one, `diff` finds one that leads there."""

from __future__ import annotations

from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
"""A parsed JSON value; numbers are finite."""


def merge(target: Json, patch: Json) -> Json:
    """The target with the patch applied; neither is changed, the result may share parts with both.

    An object is merged key by key, null removes the key; anything else replaces the target whole, lists too
    (RFC 7396, section 2).

    >>> merge({"task": {"id": 7, "step": 1}, "zone": "A"}, {"task": {"step": 2}, "zone": None})
    {'task': {'id': 7, 'step': 2}}
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def diff(old: Json, new: Json) -> Json:
    """The patch with `merge(old, diff(old, new)) == new`; {} where two objects are the same.

    Objects in `new` must not hold null members: a merge patch has no way to write one (RFC 7396, section 1).

    >>> diff({"task": {"id": 7, "step": 1}, "zone": "A"}, {"task": {"id": 7, "step": 2}})
    {'task': {'step': 2}, 'zone': None}
    """
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch: dict[str, Json] = {key: diff(old.get(key), x) for key, x in new.items() if not same(old.get(key), x)}
    return patch | {key: None for key in old if key not in new}


def same(left: Json, right: Json) -> bool:
    """Equal as JSON: true is not 1 (1.0 is), and the order of keys does not count.

    >>> same({"a": [1, True]}, {"a": [1.0, True]}), same({"a": 1}, {"a": True})
    (True, False)
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(x, right[key]) for key, x in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(x, y) for x, y in zip(left, right, strict=True))
    return left == right
