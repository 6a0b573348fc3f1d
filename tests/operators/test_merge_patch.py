from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.merge_patch import Json, diff, merge, same

KEYS = st.sampled_from(["a", "b", "c", "ü"])
SCALARS = st.booleans() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0]) | st.text(max_size=2)
WITHOUT_NULL: st.SearchStrategy[Json] = st.recursive(
    SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(KEYS, x, max_size=3), max_leaves=12
)
ANY: st.SearchStrategy[Json] = st.recursive(
    SCALARS | st.none(), lambda x: st.lists(x, max_size=3) | st.dictionaries(KEYS, x, max_size=3), max_leaves=12
)

# the test cases of RFC 7396, appendix A: original, patch, result
RFC_7396 = [
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]


@pytest.mark.parametrize(("original", "patch", "result"), RFC_7396)
def test_the_cases_of_the_standard_hold(original: str, patch: str, result: str) -> None:
    assert merge(json.loads(original), json.loads(patch)) == json.loads(result)


@settings(max_examples=60, deadline=None)
@given(old=WITHOUT_NULL, new=WITHOUT_NULL)
def test_merging_the_difference_leads_to_the_new_document(old: Json, new: Json) -> None:
    before = copy.deepcopy((old, new))
    assert same(merge(old, diff(old, new)), new)
    assert (old, new) == before


@settings(max_examples=60, deadline=None)
@given(target=ANY, patch=ANY)
def test_a_patch_applied_twice_is_as_good_as_once_and_changes_no_input(target: Json, patch: Json) -> None:
    before = copy.deepcopy((target, patch))
    once = merge(target, patch)
    assert same(merge(once, patch), once)
    assert (target, patch) == before


def test_equal_documents_differ_by_nothing_but_true_is_not_one() -> None:
    assert diff({"a": {"b": 1}, "c": [1]}, {"c": [1], "a": {"b": 1.0}}) == {}
    assert diff({"a": 1}, {"a": True}) == {"a": True}
