"""Requests and answers from bytes: whatever comes, there is a verdict that can be told, or a reason to set it aside."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.command_reading import LONGEST, read_answer, read_request
from operators.command_records import ENDS, Event
from operators.definition import SECOND
from operators.errors import ContractError
from operators.gate import Gate
from tests.operators.gate_cases import T0, type_of

GOOD: dict[str, Any] = {
    "id": "c-1",
    "device": "v1",
    "verb": "set",
    "arguments": {"share": 0.5},
    "issuer": "person:ann",
    "ts_ns": T0,
}


def fault(key: bytes | None = b"v1", text: str = "", **changed: Any) -> str:
    """Reason and what is wrong with GOOD after a change."""
    text = text or json.dumps(GOOD | changed)
    return read_request(key, text.encode(), where="0@1").fault


def reason(value: bytes | None) -> str:
    with pytest.raises(ContractError) as caught:
        read_request(b"v1", value, where="0@1")
    with pytest.raises(ContractError):
        read_answer(b"v1", value, where="0@1")
    return caught.value.reason


def test_a_good_request_is_read_as_it_was_written_and_expires_after_30_s() -> None:
    asked = read_request(b"v1", json.dumps(GOOD).encode(), where="0@1")
    assert (asked.fault, bytes(asked.arguments), asked.expires_ns) == ("", b'{"share":0.5}', T0 + 30 * SECOND)
    assert read_request(b"v1", json.dumps(GOOD | {"expires_ns": T0 + 5}).encode(), where="").expires_ns == T0 + 5


def test_what_is_wrong_with_a_request_that_names_itself_is_said() -> None:
    assert fault(b"v2") == "wrong_key: the record's key is b'v2'"
    assert fault(None) == "wrong_key: the record's key is None"
    assert fault(text=json.dumps(GOOD).replace("0.5", "NaN")) == "bad_value: NaN is no finite number"
    assert fault(text=json.dumps(GOOD).replace("0.5", "1e999")) == "bad_value: 1e999 is no finite number"
    assert fault(text=json.dumps(GOOD).replace("0.5", '1,"share":2')) == "duplicate_key: an object has a key twice"
    assert fault(arguments=[]) == "bad_shape: Expected `object`, got `array` - at `$.arguments`"
    assert fault(ts_ns=True) == "bad_shape: Expected `int`, got `bool` - at `$.ts_ns`"
    assert fault(reason="\ud800").startswith("bad_shape: ")
    assert fault(reason="x" * LONGEST).startswith("too_large: ")
    long = json.dumps(GOOD | {"verb": "set"}).replace("0.5", "[" + "1e15," * 10_000 + "1]")
    assert len(long) < LONGEST
    assert fault(text=long).startswith("too_large: arguments of ")
    for key in ("verb", "issuer", "ts_ns"):
        text = json.dumps({k: v for k, v in GOOD.items() if k != key})
        assert fault(text=text) == f"bad_shape: Object missing required field `{key}`"


def test_what_does_not_name_itself_is_set_aside_with_a_reason() -> None:
    assert reason(None) == "empty"
    assert reason(b"\xff") == "bad_utf8"
    assert reason(b"{") == "bad_json"
    assert reason(b"[" * 100_000) == "too_deep"
    assert reason(b'"x"') == "bad_shape"
    for changed, why in (({"id": 7}, "bad_id"), ({"id": "\ud800"}, "bad_id"), ({"device": "a/b"}, "bad_device")):
        assert reason(json.dumps(GOOD | changed).encode()) == why


def test_an_answer_is_taken_only_whole_and_its_words_are_cut() -> None:
    good = {"id": "c-1", "device": "v1", "status": "done", "ts_ns": 1, "detail": "x" * 2000}
    assert read_answer(b"v1", json.dumps(good).encode(), where="").detail == "x" * 1000
    wrong = ({"status": "maybe"}, {"ts_ns": "now"}, {"detail": 7}, {"detail": "\ud800"})
    for changed in wrong:
        with pytest.raises(ContractError, match=r"^bad_shape: 0@1: "):
            read_answer(b"v1", json.dumps(good | changed).encode(), where="0@1")
    with pytest.raises(ContractError, match=r"^wrong_key: "):
        read_answer(b"v2", json.dumps(good).encode(), where="0@1")


TEXTS = st.text(st.characters(codec=None), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from((*GOOD, "reason", "expires_ns")), JSON, max_size=3)


@settings(max_examples=200)
@given(FIELDS | st.just({}), st.binary(max_size=20), st.booleans())
def test_any_input_gets_a_verdict_that_can_be_told_or_a_reason(
    changed: dict[str, Any], junk: bytes, whole: bool
) -> None:
    value = json.dumps(GOOD | changed).encode() + (b"" if whole else junk)
    try:
        asked = read_request(b"v1", value, where="0@1")
    except ContractError as error:
        assert error.reason in ("bad_utf8", "bad_json", "bad_shape", "bad_id", "bad_device")
        return
    told = Gate(type_of).request(asked, T0)
    written = [msgspec.json.encode(event) for event in told.events]
    assert [msgspec.json.decode(raw, type=Event) for raw in written] == told.events
    assert told.events[-1].stage in (*ENDS, "dispatched")
    assert [msgspec.json.decode(msgspec.json.encode(d))["id"] for d in told.dispatches] == [asked.id] * len(
        told.dispatches
    )


def test_arguments_nested_too_deeply_are_refused() -> None:
    for levels, why in ((30, ""), (31, "too_deep: nested over 32 levels"), (900, "too_deep: nested over 32 levels")):
        deep = json.dumps(GOOD).replace("0.5", "[" * levels + "]" * levels)
        assert fault(text=deep) == why
