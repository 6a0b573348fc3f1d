"""One entry of a state log as bytes: a header of columns, then of each column all of it, rows of it, or nothing."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from operators.types import Rows, State

Part: TypeAlias = bytes | memoryview


def encode(state: State, changed: Mapping[str, Rows | None]) -> list[Part]:
    """The body of an entry, in parts; of each column the rows that changed, None for all of it."""
    header: list[tuple[str, str, tuple[int, ...], str]] = []
    parts: list[Part] = []
    for name, column in state.items():
        rows = changed[name]
        how = "full" if rows is None else "rows" if rows.size else "same"
        header.append((name, column.dtype.str, column.shape, how))
        if rows is None:
            parts.append(_bytes_of(column))
        elif rows.size:
            parts += [rows.size.to_bytes(8, "little"), rows.astype("<i8").tobytes(), _bytes_of(column[rows])]
    text = json.dumps(header).encode()
    return [len(text).to_bytes(4, "little"), text, *parts]


def _bytes_of(column: NDArray[Any]) -> Part:
    return np.ascontiguousarray(column).reshape(-1).view(np.uint8).data


def applied(data: mmap.mmap | bytes, start: int, end: int, image: State) -> State:
    """The state that an entry makes of the one before it, whose arrays it takes over."""
    at = start + 4 + int.from_bytes(data[start : start + 4], "little")
    state: State = {}
    for name, dtype_text, shape, how in json.loads(data[start + 4 : at]):
        if how == "same":
            state[name] = image[name]
            continue
        dtype, rows = np.dtype(dtype_text), np.zeros(0, np.int64)
        if how == "full":
            column, count = np.empty(shape, dtype), math.prod(shape)
        else:
            held = int.from_bytes(data[at : at + 8], "little")
            rows = np.frombuffer(data, "<i8", held, at + 8).copy()
            at += 8 + 8 * held
            column, count = _longer(image[name], shape), held * math.prod(shape[1:])
        values = np.frombuffer(data, dtype, count, at)
        at += count * dtype.itemsize
        if how == "full":
            column[...] = values.reshape(shape)
        else:
            column[rows] = values.reshape(rows.size, *shape[1:])
        state[name] = column
    assert at == end, "an entry that is sound holds what its header says"
    return state


def _longer(column: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """The same column with room for more rows."""
    if column.shape[0] == shape[0]:
        return column
    made = np.empty(tuple(shape), column.dtype)
    made[: column.shape[0]] = column
    return made
