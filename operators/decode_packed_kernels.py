"""Plain packed blocks straight to columns, compiled. What is not plainly good is left to `decode_packed`, the judge.

A block is taken here only when its schema was prepared (`operators.block_plans`): timestamps, numbers and fixed-size
lists of numbers, every one a signal of the device's type. Layout: Arrow columnar format, "Encapsulated message format"
(a FlatBuffers Message holding a RecordBatch, then its buffers).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.arrow_guard import MOST_ROWS
from operators.byte_index import Table, find
from operators.bytes_of_words import hash_bytes
from operators.compiled import kernel, part
from operators.decode_json_grammar import ASK, DONE, GROW
from operators.decode_json_kernels import Facts, Known, Rows, Wire, fits
from operators.frames import PACKED, TRUSTED, Told
from operators.signal_plan import NORM_TOLERANCE, Columns
from operators.times import MAX_TIME_NS
from operators.types import F64, I32, I64, U8, Quality

_SENTINEL = int(Quality.SENTINEL)
_RECORD_BATCH, _V5 = 3, 4
# kinds of numbers, by name of their numpy type; unsigned 64 bits may not fit a float exactly and are judged
KINDS = ("float64", "float32", "int64", "int32", "int16", "int8", "uint32", "uint16", "uint8")
_SIZES = np.array([8, 4, 8, 4, 2, 1, 4, 2, 1])
# columns of BlockPlans.column
NODE, BUFFER, KIND, WIDTH, FIRST, NORM, UNIT = range(7)


class BlockPlans(NamedTuple):
    """Prepared pairs of a schema and a twin type.

    ids: schema ids by number. entry_of: int32[schemas, types], -1 where not prepared. head: int64[entries, 6]: first
    and past-the-last column, field nodes, buffers, buffer of ts (its node is always known by its place), ns per tick.
    ts_node: int64[entries]. column: int64[k, 7]: node, validity buffer (data follows), kind, list width (0: a number),
    first place in `signal`, whether a quaternion, whether a unit is converted. factor, offset: float64[k].
    """

    ids: Table
    entry_of: I32
    head: I64
    ts_node: I64
    column: I64
    factor: F64
    offset: F64
    signal: I64


class _Message(NamedTuple):
    """Places in the buffer: of the field nodes, of the buffer list and of the body; rows 0: no plain block."""

    rows: int
    nodes: int
    buffers: int
    body: int
    size: int


@part
def _little(text: U8, at: int, size: int) -> int:
    """A signed little-endian integer of 1, 2, 4 or 8 bytes."""
    value = np.uint64(0)
    for i in range(size):
        value |= np.uint64(text[at + i]) << np.uint64(8 * i)
    shift = np.uint64(64 - 8 * size)
    return int(np.int64(value << shift) >> np.int64(shift))


@part
def _field(text: U8, table: int, field: int, low: int, high: int) -> int:
    """Position of a field of a FlatBuffers table, 0 where it is absent, -1 where anything lies outside low..high."""
    if table < low or table + 4 > high:
        return -1
    vtable = table - _little(text, table, 4)
    if vtable < low or vtable + 4 > high:
        return -1
    size = _little(text, vtable, 2) & 0xFFFF
    if 4 + 2 * field + 2 > size:
        return 0
    if vtable + 4 + 2 * field + 2 > high:
        return -1
    offset = _little(text, vtable + 4 + 2 * field, 2) & 0xFFFF
    if offset == 0:
        return 0
    inline = _little(text, vtable + 2, 2) & 0xFFFF
    return table + offset if offset < inline and table + offset + 8 <= high else -1


@part
def _follow(text: U8, place: int, low: int, high: int) -> int:
    """Where a reference leads; -1 outside."""
    if place <= 0 or place + 4 > high:
        return -1
    target = place + (_little(text, place, 4) & 0xFFFFFFFF)
    return target if low <= target and target + 4 <= high else -1


@part
def _message(text: U8, start: int, end: int, nodes: int, buffers: int) -> _Message:
    none = _Message(0, 0, 0, 0, 0)
    if end - start < 16 or _little(text, start, 4) != -1:
        return none
    length = _little(text, start + 4, 4)
    low, body = start + 8, start + 8 + length
    if length < 8 or body > end:
        return none
    root = _follow(text, low, low, body)
    version, kind = _field(text, root, 0, low, body), _field(text, root, 1, low, body)
    size = _field(text, root, 3, low, body)
    if version <= 0 or kind <= 0 or size <= 0 or root < 0:
        return none
    if _little(text, version, 2) != _V5 or text[kind] != _RECORD_BATCH:
        return none
    if _little(text, size, 8) != end - body:
        return none
    batch = _follow(text, _field(text, root, 2, low, body), low, body)
    if batch < 0 or _field(text, batch, 3, low, body) != 0 or _field(text, batch, 4, low, body) != 0:
        return none
    rows = _field(text, batch, 0, low, body)
    node_list = _follow(text, _field(text, batch, 1, low, body), low, body)
    buffer_list = _follow(text, _field(text, batch, 2, low, body), low, body)
    if rows <= 0 or node_list < 0 or buffer_list < 0:
        return none
    if _little(text, node_list, 4) != nodes or _little(text, buffer_list, 4) != buffers:
        return none
    if node_list + 4 + 16 * nodes > body or buffer_list + 4 + 16 * buffers > body:
        return none
    count = _little(text, rows, 8)
    if not 1 <= count <= MOST_ROWS:
        return none
    return _Message(int(count), node_list + 4, buffer_list + 4, body, end - body)


@part
def _buffer(text: U8, m: _Message, number: int, least: int) -> int:
    """Where a buffer lies; -1: it is shorter than `least` bytes or lies outside."""
    at, size = _little(text, m.buffers + 16 * number, 8), _little(text, m.buffers + 16 * number + 8, 8)
    if at < 0 or size < least or size > m.size or at > m.size - size:
        return -1
    return m.body + int(at)


@part
def _bit(text: U8, at: int, i: int) -> bool:
    return bool((text[at + (i >> 3)] >> np.uint8(i & 7)) & 1)


@part
def _validity(text: U8, m: _Message, node: int, number: int, length: int) -> int:
    """Where the validity bits lie, 0 where all are valid, -1: contradictions."""
    nulls = _little(text, m.nodes + 16 * node + 8, 8)
    if _little(text, m.nodes + 16 * node, 8) != length or not 0 <= nulls <= length:
        return -1
    size = _little(text, m.buffers + 16 * number + 8, 8)
    if size == 0:
        return 0 if nulls == 0 else -1
    at = _buffer(text, m, number, (length + 7) >> 3)
    if at < 0:
        return -1
    found = 0
    for i in range(length):
        found += not _bit(text, at, i)
    if found != nulls:
        return -1
    return at if nulls > 0 else 0


@part
def _number(text: U8, at: int, kind: int) -> float:
    if kind == 0:
        return float(np.uint64(_little(text, at, 8)).view(np.float64))
    if kind == 1:
        return float(np.uint32(_little(text, at, 4)).view(np.float32))
    if kind == 2:
        return float(_little(text, at, 8))
    if kind == 3:
        return float(_little(text, at, 4))
    if kind == 4:
        return float(_little(text, at, 2))
    if kind == 5:
        return float(_little(text, at, 1))
    if kind == 6:
        return float(_little(text, at, 4) & 0xFFFFFFFF)
    if kind == 7:
        return float(_little(text, at, 2) & 0xFFFF)
    return float(text[at])


@part
def _column(
    text: U8, m: _Message, plans: BlockPlans, c: int, columns: Columns, base: int, out: Rows, fill: int, stride: int
) -> bool:
    """Values of one column into out[fill + row * stride + element]; a missing one gets series -1."""
    spec = plans.column[c]
    width, kind = max(int(spec[WIDTH]), 1), int(spec[KIND])
    node, number = int(spec[NODE]), int(spec[BUFFER])
    length = m.rows * width
    valid = _validity(text, m, node, number, m.rows)
    inner = 0
    if spec[WIDTH] > 0:
        node, number = node + 1, number + 1
        inner = _validity(text, m, node, number, length)
    data = _buffer(text, m, number + 1, length * _SIZES[kind])
    if valid < 0 or inner < 0 or data < 0:
        return False
    first, size = int(spec[FIRST]), int(_SIZES[kind])
    for row in range(m.rows):
        there = valid == 0 or _bit(text, valid, row)
        total = 0.0
        for j in range(width):
            to = fill + row * stride + j
            if not there:
                out.series[to] = -1
                continue
            i = row * width + j
            if inner != 0 and not _bit(text, inner, i):
                return False
            value = _number(text, data + i * size, kind)
            if not np.isfinite(value):
                return False
            signal = plans.signal[first + j]
            good = fits(columns, base + signal, value)
            if good != 2 and spec[UNIT] != 0:
                value = value * plans.factor[c] + plans.offset[c]
                good = 1 if columns.low[base + signal] <= value <= columns.high[base + signal] else 0
            if good == 0 or (good == 2 and spec[NORM] != 0):
                return False
            out.series[to] = signal
            out.value[to] = value
            out.quality[to] = _SENTINEL if good == 2 else 0
            total += value * value
        if there and spec[NORM] != 0 and not abs(np.sqrt(total) - 1.0) <= NORM_TOLERANCE:
            return False
    return True


@part
def _times(text: U8, m: _Message, plans: BlockPlans, entry: int, out: Rows, fill: int, stride: int) -> bool:
    number, tick = int(plans.head[entry, 4]), plans.head[entry, 5]
    if _validity(text, m, int(plans.ts_node[entry]), number, m.rows) != 0:
        return False
    data = _buffer(text, m, number + 1, 8 * m.rows)
    if data < 0:
        return False
    for row in range(m.rows):
        raw = _little(text, data + 8 * row, 8)
        if raw <= 0 or raw >= MAX_TIME_NS // tick:
            return False
        for j in range(stride):
            out.ts[fill + row * stride + j] = raw * tick
    return True


@part
def _close_up(out: Rows, fill: int, end: int) -> int:
    """Take out the places that hold nothing; the fill after it."""
    to = fill
    for at in range(fill, end):
        if out.series[at] >= 0:
            out.series[to], out.ts[to], out.value[to] = out.series[at], out.ts[at], out.value[at]
            out.quality[to] = out.quality[at]
            to += 1
    return to


@part
def _take(
    wire: Wire, told: Told, known: Known, columns: Columns, plans: BlockPlans, row: int, out: Rows, fill: int,
    facts: Facts,
) -> int:  # fmt: skip
    """Write the rows of one block; the fill after it, -1: ask the judge, -2: `out` is full."""
    text = wire.buffer
    start, end = wire.key_start[row], wire.key_end[row]
    if start < 0:
        return -1
    device = find(known.devices, 0, text, start, end, hash_bytes(text, start, end))
    schema = find(
        plans.ids, 0, text, told.schema_start[row], told.schema_end[row],
        hash_bytes(text, told.schema_start[row], told.schema_end[row]),
    )  # fmt: skip
    if device < 0 or schema < 0:
        return -1
    type_number = known.type_numbers[device]
    if type_number >= plans.entry_of.shape[1] or plans.entry_of[schema, type_number] < 0:
        return -1
    entry = plans.entry_of[schema, type_number]
    boot = 0
    if told.boot_start[row] < told.boot_end[row]:
        at, stop = told.boot_start[row], told.boot_end[row]
        place = find(known.boots, device, text, at, stop, hash_bytes(text, at, stop))
        if place < 0 or known.boot_ids[place] <= known.newest[device] - known.remembered:
            return -1
        boot = int(known.boot_ids[place])
    m = _message(text, wire.start[row], wire.end[row], int(plans.head[entry, 2]), int(plans.head[entry, 3]))
    if m.rows == 0:
        return -1
    first, last = int(plans.head[entry, 0]), int(plans.head[entry, 1])
    stride = 0
    for c in range(first, last):
        stride += max(int(plans.column[c, WIDTH]), 1)
    stop = fill + m.rows * stride
    if stop > out.ts.size:
        return -2
    base = columns.base[type_number]
    if not _times(text, m, plans, entry, out, fill, stride):
        return -1
    at = fill
    for c in range(first, last):
        if not _column(text, m, plans, c, columns, base, out, at, stride):
            return -1
        at += max(int(plans.column[c, WIDTH]), 1)
    filled = _close_up(out, fill, stop)
    if filled == fill:
        return -1
    clock = wire.notes[row] - PACKED
    trusted = columns.trusted[type_number] if clock == 0 else np.uint8(clock == TRUSTED)
    arrival, series = wire.arrival[row], known.ids[device] * columns.width[type_number]
    for at in range(fill, filled):
        out.type[at] = type_number
        out.series[at] += series
        out.arrival[at] = arrival if arrival > 0 else out.ts[at]
        out.seq[at], out.boot[at], out.offset[at] = told.seq[row], boot, wire.offset[row]
    facts.kind[row], facts.type[row], facts.device[row] = 1, type_number, known.ids[device]
    facts.rows[row], facts.seq[row], facts.boot[row] = filled - fill, told.seq[row], boot
    facts.trusted[row] = trusted
    return filled


@kernel
def scan_blocks(
    wire: Wire, told: Told, known: Known, columns: Columns, plans: BlockPlans, row: int, out: Rows, fill: int,
    facts: Facts,
) -> tuple[int, int, int]:  # fmt: skip
    """Blocks from `row` on, until one needs something or a message is none: that row, the fill before it, and DONE,
    ASK or GROW."""
    while row < wire.start.size and wire.notes[row] >= PACKED:
        filled = _take(wire, told, known, columns, plans, row, out, fill, facts)
        if filled < 0:
            return row, fill, ASK if filled == -1 else GROW
        fill = filled
        row += 1
    return row, fill, DONE
