"""CRC-32C (Castagnoli, RFC 3720 appendix B.4) in compiled loops: by the processor's own instruction where it has one
(x86-64 with SSE 4.2, arm64 with CRC), else by tables, slicing by 8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.compiled import kernel, part
from operators.machine import CRC32C, crc32c_word, load_word
from operators.types import U8

U32 = NDArray[np.uint32]


def _tables() -> U32:
    """Slicing-by-8 tables of the reflected polynomial 0x82F63B78."""
    table = np.zeros((8, 256), np.uint32)
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
        table[0, i] = c
    for i in range(256):
        for k in range(1, 8):
            table[k, i] = (int(table[k - 1, i]) >> 8) ^ int(table[0, int(table[k - 1, i]) & 255])
    return table


TABLES = _tables()
_LOW = np.uint64(255)


@part
def _by_tables(c: np.uint64, word: np.uint64, tables: U32) -> np.uint64:
    """The sum after 8 more bytes, the first in the lowest bits of `word`."""
    a = c ^ word
    r = tables[7, a & _LOW] ^ tables[6, (a >> np.uint64(8)) & _LOW]
    r ^= tables[5, (a >> np.uint64(16)) & _LOW] ^ tables[4, (a >> np.uint64(24)) & _LOW]
    r ^= tables[3, (a >> np.uint64(32)) & _LOW] ^ tables[2, (a >> np.uint64(40)) & _LOW]
    r ^= tables[1, (a >> np.uint64(48)) & _LOW] ^ tables[0, a >> np.uint64(56)]
    return np.uint64(r)


@part
def _with_instruction(c: np.uint64, word: np.uint64, _tables: U32) -> np.uint64:
    return np.uint64(crc32c_word(c, word))


_step = _with_instruction if CRC32C else _by_tables


@part
def crc32c(buffer: U8, start: int, end: int, tables: U32) -> int:
    """CRC-32C of buffer[start:end]."""
    c = np.uint64(0xFFFFFFFF)
    p = start
    while p + 8 <= end:
        c = _step(c, load_word(buffer, p), tables)
        p += 8
    while p < end:
        c = (c >> np.uint64(8)) ^ np.uint64(tables[0, (c ^ np.uint64(buffer[p])) & _LOW])
        p += 1
    return int(c ^ np.uint64(0xFFFFFFFF))


@kernel
def _of(buffer: U8, tables: U32) -> int:
    return crc32c(buffer, 0, buffer.size, tables)


def checksum(data: bytes) -> int:
    """CRC-32C of some bytes.

    >>> hex(checksum(b"123456789"))
    '0xe3069283'
    """
    return int(_of(np.frombuffer(data or b"\0", np.uint8)[: len(data)], TABLES))
