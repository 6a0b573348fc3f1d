"""CRC-32C by instruction and by tables are one sum."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.crc32c import TABLES, _by_tables, _step
from operators.compiled import kernel


@kernel
def _both(crc: int, word: int, out: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> None:
    out[0] = _by_tables(np.uint64(crc), np.uint64(word), TABLES)
    out[1] = _step(np.uint64(crc), np.uint64(word), TABLES)


@given(st.integers(0, 2**32 - 1), st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_the_instruction_of_this_machine_and_the_tables_agree(crc: int, word: int) -> None:
    out = np.zeros(2, np.uint64)
    _both(crc, word, out)
    assert out[0] == out[1]
