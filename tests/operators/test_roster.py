"""Devices get dense ids per type, in order of appearance, within a bound, and keep them over a restart."""

import numpy as np
import pytest

from operators.boots import REMEMBERED, Boots
from operators.byte_index import ByteIndex
from operators.definition import Signal, TwinType
from operators.errors import ContractError, StateError
from operators.roster import Roster
from tests.operators.wire_cases import ARM, type_of


def test_ids_are_dense_within_each_type_in_order_of_appearance() -> None:
    roster = Roster(type_of)
    for name in ("arm-b", "pump-x", "arm-a", "ärm-ü"):
        roster.add(name)
    assert [roster.place(n) for n in ("arm-b", "pump-x", "arm-a", "ärm-ü", "arm-?")] == [
        (0, 0),
        (1, 0),
        (0, 1),
        (0, 2),
        None,
    ]
    assert roster.names(0) == ["arm-b", "arm-a", "ärm-ü"]


@pytest.mark.parametrize(("name", "reason"), [("valve", "unknown_type"), ("arm-3", "too_many_devices")])
def test_a_device_that_cannot_be_taken_in_says_why(name: str, reason: str) -> None:
    roster = Roster(type_of, max_devices=2)
    roster.add("arm-1")
    roster.add("arm-2")
    with pytest.raises(ContractError) as error:
        roster.add(name)
    assert error.value.reason == reason
    assert len(roster) == 2


def test_a_restored_roster_goes_on_like_the_first() -> None:
    first, second = Roster(type_of), Roster(type_of)
    for i in range(50):
        first.add(f"{'arm' if i % 3 else 'pump'}-{i}")
    second.restore(first.snapshot())
    for roster in (first, second):
        roster.add("arm-new")
    assert [first.place(n) for n in first.names(0)] == [second.place(n) for n in second.names(0)]
    assert first.names(1) == second.names(1)


def test_a_type_that_changed_its_signals_cannot_take_over_the_state() -> None:
    first = Roster(type_of)
    first.add("arm-1")
    other = Roster(lambda name: TwinType("arm", 2, (Signal("temp"),)))
    with pytest.raises(StateError, match="'arm' has changed its signals"):
        other.restore(first.snapshot())


def test_texts_of_one_hash_slot_stay_apart() -> None:
    index = ByteIndex()
    texts = [f"{i}".encode() for i in range(3000)] + [b""]
    numbers = [index.add(t, owner=i % 2) for i, t in enumerate(texts)]
    assert [index.number(t, owner=i % 2) for i, t in enumerate(texts)] == numbers
    assert all(index.number(t, owner=1 - i % 2) == -1 for i, t in enumerate(texts))
    again = ByteIndex()
    again.restore(index.snapshot())
    assert [again.number(t, owner=i % 2) for i, t in enumerate(texts)] == numbers


def test_a_device_remembers_its_newest_boots_only() -> None:
    boots = Boots()
    for i in range(500):
        assert boots.number(i % 7, f"b{i}".encode()) == -1
        boots.add(i % 7, f"b{i}".encode())
    assert sum(boots.number(499 % 7, f"b{i}".encode()) > 0 for i in range(500)) == REMEMBERED
    assert boots.index.count <= 2 * 7 * REMEMBERED + 64
    again = Boots()
    again.restore(boots.snapshot())
    assert again.number(499 % 7, b"b499") == boots.number(499 % 7, b"b499") == 500 // 7 + 1
    assert np.array_equal(again.newest[:7], boots.newest[:7])
    assert len(ARM.signals) == 9
