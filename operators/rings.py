"""Samples of many series, each sorted by time, in one shared arena: what align and twin_state remember.

A series owns one block of 2^k slots, used as a ring; a full block is exchanged for one of twice the size and goes to
the free list of its size. So memory follows what each series holds, and dropping the oldest sample moves nothing.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np

from operators.compiled import kernel, part
from operators.errors import StateError
from operators.types import F64, I32, I64, U8, State

FIRST_BLOCK = 4
TS, SEQ = 0, 1
BASE, SIZE, HEAD, HELD = 0, 1, 2, 3
_TOP = 63

Column = TypeVar("Column", I32, I64, F64, U8)


class Rings(NamedTuple):
    """Arena columns and, per series, where its samples lie.

    Attributes:
        key: int64[slots, 2], TS and SEQ of each sample.
        value: float64[slots].
        block: int64[series, 4], BASE, SIZE, HEAD, HELD; sample i lies in slot BASE + ((HEAD + i) & (SIZE - 1)).
        free: int64[64], first free block per log2 of its size (-1: none), chained through TS; the last is the top.
    """

    key: I64
    value: F64
    block: I64
    free: I64


def plain(column: Column) -> Column:
    """The same column, contiguous and writable: each other kind would make the kernel compile once more."""
    flags = column.flags
    return column if flags.c_contiguous and flags.writeable else column.copy()


def new_rings(series: int, slots: int = 0) -> Rings:
    """Rings without any sample."""
    free = np.full(64, -1, dtype=np.int64)
    free[_TOP] = 0
    return Rings(np.empty((slots, 2), np.int64), np.empty(slots, np.float64), np.zeros((series, 4), np.int64), free)


def more_series(rings: Rings, series: int) -> Rings:
    """The same rings with room for that many series."""
    missing = series - len(rings.block)
    if missing <= 0:
        return rings
    return rings._replace(block=np.concatenate((rings.block, np.zeros((missing, 4), np.int64))))


def more_slots(rings: Rings) -> Rings:
    """The same rings in an arena of at least twice the size, so that any block fits that was too large before."""
    old = len(rings.key)
    wanted = max(2 * old + 2 * int(rings.block[:, SIZE].max(initial=0)), 256)
    key, value = np.empty((wanted, 2), np.int64), np.empty(wanted, np.float64)
    key[:old], value[:old] = rings.key, rings.value
    return rings._replace(key=key, value=value)


def rings_state(rings: Rings, series: int) -> State:
    """The samples of the first so many series, packed in order: ring_count, ring_key, ring_value."""
    count = rings.block[:series, HELD].copy()
    key, value = np.empty((int(count.sum()), 2), np.int64), np.empty(int(count.sum()), np.float64)
    _pack(rings.key, rings.value, rings.block, count, key, value)
    return {"ring_count": count, "ring_key": key, "ring_value": value}


def rings_from_state(state: State) -> Rings:
    """Rings that hold what `rings_state` gave.

    Raises:
        StateError: the columns do not fit each other.
    """
    count = state["ring_count"].astype(np.int64)
    held = int(count.sum())
    if state["ring_key"].shape != (held, 2) or state["ring_value"].shape != (held,):
        raise StateError(where="rings", detail=f"ring_count promises {held} samples", fix="restore an older snapshot")
    size = np.where(count > 0, FIRST_BLOCK, 0)
    while (short := size < count).any():
        size[short] *= 2
    slots = int(size.sum())
    rings = new_rings(count.size, slots)
    rings.block[:, SIZE], rings.block[:, HELD] = size, count
    rings.block[1:, BASE] = np.cumsum(size)[:-1]
    rings.free[_TOP] = slots
    _unpack(rings.key, rings.value, rings.block, state["ring_key"], state["ring_value"])
    return rings


@kernel
def _pack(key: I64, value: F64, block: I64, count: I64, to_key: I64, to_value: F64) -> None:
    k = 0
    for s in range(count.size):
        for i in range(count[s]):
            slot = _slot(block, s, i)
            to_key[k, TS], to_key[k, SEQ], to_value[k] = key[slot, TS], key[slot, SEQ], value[slot]
            k += 1


@kernel
def _unpack(key: I64, value: F64, block: I64, from_key: I64, from_value: F64) -> None:
    k = 0
    for s in range(len(block)):
        for i in range(block[s, HELD]):
            _put(key, value, _slot(block, s, i), from_key[k, TS], from_value[k], from_key[k, SEQ])
            k += 1


@part
def _slot(block: I64, s: int, i: int) -> int:
    return int(block[s, BASE] + ((block[s, HEAD] + i) & (block[s, SIZE] - 1)))


@part
def _put(key: I64, value: F64, slot: int, ts: int, x: float, seq: int) -> None:
    key[slot, TS], key[slot, SEQ], value[slot] = ts, seq, x


@part
def _grow(key: I64, value: F64, block: I64, free: I64, s: int) -> bool:
    """Moves series s into a block of twice the size; False when the arena has no room for it."""
    old = block[s, SIZE]
    size = FIRST_BLOCK if old == 0 else 2 * old
    level = 0
    while (1 << level) < size:
        level += 1
    base = free[level]
    if base >= 0:
        free[level] = key[base, TS]
    else:
        base = free[_TOP]
        if base + size > len(key):
            return False
        free[_TOP] = base + size
    for i in range(block[s, HELD]):
        slot = _slot(block, s, i)
        _put(key, value, base + i, key[slot, TS], value[slot], key[slot, SEQ])
    if old > 0:
        key[block[s, BASE], TS] = free[level - 1]
        free[level - 1] = block[s, BASE]
    block[s, BASE], block[s, SIZE], block[s, HEAD] = base, size, 0
    return True


@part
def _insert(key: I64, value: F64, block: I64, free: I64, s: int, ts: int, x: float, seq: int, cell: int) -> bool:
    """Puts a sample in its place by time; of equal times the larger seq stays, else the later call.

    With cell > 0 only the first and the last sample in each (k - 1) * cell < ts <= k * cell are kept, as no grid
    instant k * cell can see those between. False when the arena has no room; then nothing has changed.
    """
    held = block[s, HELD]
    at = held
    while at > 0 and key[_slot(block, s, at - 1), TS] > ts:
        at -= 1
    if at > 0:
        slot = _slot(block, s, at - 1)
        if key[slot, TS] == ts:
            if seq >= key[slot, SEQ]:
                _put(key, value, slot, ts, x, seq)
            return True
    if cell > 0 and held > 1:
        high = -(-ts // cell) * cell
        low = high - cell
        if at > 0 and key[_slot(block, s, at - 1), TS] > low:
            if at < held and key[_slot(block, s, at), TS] <= high:
                return True
            if at > 1 and key[_slot(block, s, at - 2), TS] > low:
                _put(key, value, _slot(block, s, at - 1), ts, x, seq)
                return True
        elif at + 1 < held and key[_slot(block, s, at + 1), TS] <= high:
            _put(key, value, _slot(block, s, at), ts, x, seq)
            return True
    if held == block[s, SIZE] and not _grow(key, value, block, free, s):
        return False
    for i in range(held, at, -1):
        below = _slot(block, s, i - 1)
        _put(key, value, _slot(block, s, i), key[below, TS], value[below], key[below, SEQ])
    _put(key, value, _slot(block, s, at), ts, x, seq)
    block[s, HELD] = held + 1
    return True


@part
def _drop_before(key: I64, block: I64, s: int, ts: int) -> None:
    """Forgets the samples of a series older than ts."""
    while block[s, HELD] > 0 and key[_slot(block, s, 0), TS] < ts:
        block[s, HEAD] += 1
        block[s, HELD] -= 1


@part
def _drop_hidden(key: I64, block: I64, s: int, ts: int) -> None:
    """Forgets what lies before the newest sample at or before ts."""
    while block[s, HELD] > 1 and key[_slot(block, s, 1), TS] <= ts:
        block[s, HEAD] += 1
        block[s, HELD] -= 1
