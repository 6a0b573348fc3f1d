"""Eight bytes at a time tell what one at a time would, wherever in the buffer they lie."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.bytes_of_words import eight_digits, first_special, hash_bytes, same
from operators.compiled import kernel
from operators.decode_json_grammar import _key, _string
from operators.machine import load_word
from operators.types import I64, U8


@kernel
def _ask(text: U8, at: int, end: int, other: int, out: I64) -> None:
    h = hash_bytes(text, at, end)
    out[0], found = _string(text, at, end)
    out[1] = out[0] < 0 or found == hash_bytes(text, at, out[0])
    out[2], out[3] = _key(text, at, end)
    out[4] = same(text, at, text, other, end - at) if other + end - at <= text.size else -1
    out[5] = h == hash_bytes(text, other, other + end - at) if other + end - at <= text.size else -1
    out[6] = first_special(load_word(text, at)) if at + 8 <= text.size else -1
    out[7] = eight_digits(load_word(text, at)) if at + 8 <= text.size else -1


TEXT = st.lists(st.sampled_from(b'ab019:/"\\\x00\x1f\x20\x7f\x80\xa2\xff'), min_size=1, max_size=40).map(bytes)


@given(TEXT, st.integers(0, 39), st.integers(0, 39), st.integers(0, 39))
@settings(max_examples=300, deadline=None)
def test_words_say_what_bytes_say(text: bytes, at: int, end: int, other: int) -> None:
    at %= len(text)
    end = max(at, end % (len(text) + 1))
    out = np.zeros(8, np.int64)
    _ask(np.frombuffer(text, np.uint8).copy(), at, end, other, out)
    stop = re.match(rb'[^"\\\x00-\x1f]*', text[at:end])
    assert stop is not None
    closed = at + stop.end()
    assert out[0] == (closed if closed < end and text[closed : closed + 1] == b'"' else -1)
    assert out[1] == 1
    key = text[at : out[2]]
    quoted = closed < end and text[closed : closed + 1] == b'"' and closed - at < 8
    assert (out[2] == closed and out[3] == int.from_bytes(key, "little")) if quoted else out[2] < 0 or b'"' not in key
    if other + end - at <= len(text):
        equal = text[at:end] == text[other : other + end - at]
        assert out[4] == equal
        assert out[5] >= equal
    word = text[at : at + 8]
    if len(word) == 8:
        special = re.match(rb'[^"\\\x00-\x1f]*', word)
        assert special is not None and out[6] == special.end()
        assert out[7] == (int(word) if re.fullmatch(rb"[0-9]{8}", word) else -1)
