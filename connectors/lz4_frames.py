"""Record batches of a fetch unpacked in one compiled call: LZ4 frames, and what is not compressed, into one arena.

Formats: LZ4 Frame Format 1.6 and LZ4 Block Format, as Kafka writes them. Checksums of a frame are passed over, the
record batch has its own. A frame that is not plainly good is left to the library (`connectors.decompress`).
"""

from __future__ import annotations

from operators.compiled import kernel, part
from operators.machine import load_byte, load_word, store_word
from operators.types import I64, U8, Mask

DONE, ASK, GROW = range(3)
SLACK = 32
"""Bytes that stay free behind what was written: copies go by words and may write a little further."""
_CODEC, _NONE, _LZ4 = 7, 0, 3
_BAD, _FULL = -1, -2


@part
def _copy(src: U8, p: int, out: U8, q: int, count: int) -> None:
    """Copy bytes that do not overlap; up to 15 more are written behind them. Most are few: then without a loop."""
    if count <= 16 and p + 16 <= src.size:
        store_word(out, q, load_word(src, p))
        store_word(out, q + 8, load_word(src, p + 8))
        return
    k = 0
    while k < count and p + k + 8 <= src.size:
        store_word(out, q + k, load_word(src, p + k))
        k += 8
    while k < count:
        out[q + k] = src[p + k]
        k += 1


@part
def _repeat(out: U8, q: int, p: int, count: int) -> None:
    """Copy bytes from before q, which they may reach into; up to 23 more are written behind them."""
    k = 0
    if q - p < 8:
        while k < count:
            out[q + k] = out[p + k]
            k += 1
        return
    store_word(out, q, load_word(out, p))
    store_word(out, q + 8, load_word(out, p + 8))
    store_word(out, q + 16, load_word(out, p + 16))
    k = 24
    while k < count:
        store_word(out, q + k, load_word(out, p + k))
        k += 8


@part
def _length(src: U8, p: int, end: int, first: int) -> tuple[int, int]:
    """A length whose first 4 bits are known, and the place after it; that is beyond `end` where it did not fit."""
    n = first
    if n == 15:
        more = 255
        while more == 255 and p < end:
            more = load_byte(src, p)
            n += more
            p += 1
        if more == 255:
            return n, end + 1
    return n, p


@part
def _block(src: U8, p: int, end: int, out: U8, q: int, base: int) -> int:
    """One block to `out` from q on, which may refer back to `base`: the place after it, or BAD, or FULL."""
    room = out.size - SLACK
    while p < end:
        token = load_byte(src, p)
        n, p = _length(src, p + 1, end, token >> 4)
        if n > end - p:
            return _BAD
        if n > room - q:
            return _FULL
        _copy(src, p, out, q, n)
        p, q = p + n, q + n
        if p == end:
            return q
        if p + 2 > end:
            return _BAD
        offset = load_byte(src, p) | (load_byte(src, p + 1) << 8)
        n, p = _length(src, p + 2, end, token & 15)
        n += 4
        if p > end or offset == 0 or q - offset < base:
            return _BAD
        if n > room - q:
            return _FULL
        _repeat(out, q, q - offset, n)
        q += n
    return _BAD


@part
def _frame(src: U8, p: int, end: int, out: U8, q: int) -> int:
    """One frame that is all of src[p:end]: the place after what it holds, or BAD, or FULL."""
    base = q
    if end - p < 7 or src[p] != 0x04 or src[p + 1] != 0x22 or src[p + 2] != 0x4D or src[p + 3] != 0x18:
        return _BAD
    flags = src[p + 4]
    if flags >> 6 != 1 or flags & 3 != 0:  # another version, a reserved bit, a dictionary
        return _BAD
    linked, summed, told, closed = flags & 32 == 0, flags & 16 != 0, flags & 8 != 0, flags & 4 != 0
    p += 15 if told else 7
    while p + 4 <= end:
        size = 0
        for k in range(4):
            size |= load_byte(src, p + k) << (8 * k)
        p += 4
        if size == 0:
            return q if p + (4 if closed else 0) == end else _BAD
        plain, size = size >> 31 != 0, size & 0x7FFFFFFF
        if size > end - p:
            return _BAD
        if plain:
            if size > out.size - SLACK - q:
                return _FULL
            _copy(src, p, out, q, size)
            q += size
        else:
            q = _block(src, p, p + size, out, q, base if linked else q)
            if q < 0:
                return q
        p += size + (4 if summed else 0)
    return _BAD


@kernel
def unpack(
    buffer: U8, start: I64, end: I64, attributes: I64, count: I64, take: Mask, most: int, i: int, arena: U8, fill: int,
    bounds: I64,
) -> tuple[int, int, int]:  # fmt: skip
    """Records of the batches from `i` on, until one needs something: that batch, the fill before it, DONE, ASK or GROW.

    Args:
        take: bool[m], the batches to unpack.
        most: more records in one compressed batch are left to the caller.
        arena: written from `fill` on.
        bounds: int64[2, m], written: where the records of each batch start and end.
    """
    while i < start.size:
        bounds[0, i], bounds[1, i] = fill, fill
        codec = attributes[i] & _CODEC
        if not take[i] or (count[i] == 0 and codec != _NONE):
            i += 1
            continue
        filled = fill
        if codec == _NONE:
            size = end[i] - start[i]
            if size > arena.size - SLACK - fill:
                return i, fill, GROW
            _copy(buffer, start[i], arena, fill, size)
            filled = fill + size
        elif codec == _LZ4 and count[i] <= most:
            filled = _frame(buffer, start[i], end[i], arena, fill)
        else:
            return i, fill, ASK
        if filled < 0:
            return i, fill, ASK if filled == _BAD else GROW
        bounds[1, i], fill = filled, filled
        i += 1
    return i, fill, DONE
