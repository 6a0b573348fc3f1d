"""Every past version of the state restores and goes on; no layout changes without the next version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.publish import Fetch, live_records, settled_records
from flows.shard import Shard
from flows.shard_versions import FIELD, MIGRATIONS, VERSION, migrated, stamp, version_of
from operators.errors import StateError
from operators.state_log import anything
from operators.types import State
from tests.flows.state_versions import APPENDS, COUNT, fleet, frames, layout, layout_file, unpacked
from tests.flows.telling import told


def rest(shard: Shard, start: int) -> tuple[dict[str, list[str]], dict[str, list[object]]]:
    """What a shard says of the input from an offset on, and how its state looks then."""
    out = shard.push(frames(start, COUNT))
    records = settled_records("00bg", 0, [Fetch.of(out)]) + live_records(out, shard="00bg", partition=0)
    return told(records), layout(shard.snapshot())


def uninterrupted(start: int) -> tuple[dict[str, list[str]], dict[str, list[object]]]:
    shard = Shard(fleet().type_of)
    shard.push(frames(0, start))
    return rest(shard, start)


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_state_of_every_version_goes_on_as_if_it_had_never_stopped(version: int, tmp_path: Path) -> None:
    restored = unpacked(version, tmp_path).restore(anything)
    assert restored.state is not None
    assert version_of(restored.state) == version
    shard = Shard(fleet().type_of)
    shard.restore(restored.state)
    assert rest(shard, APPENDS[-1]) == uninterrupted(APPENDS[-1])


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_an_earlier_state_in_the_log_of_a_version_restores_too(version: int, tmp_path: Path) -> None:
    restored = unpacked(version, tmp_path).restore(lambda state: int(state["shard/next_offset"][0]) <= APPENDS[1])
    assert restored.state is not None
    shard = Shard(fleet().type_of)
    shard.restore(restored.state)
    assert rest(shard, APPENDS[1]) == uninterrupted(APPENDS[1])


def present() -> State:
    shard = Shard(fleet().type_of)
    shard.push(frames(0, APPENDS[-1]))
    return shard.snapshot()


def test_the_layout_is_the_one_that_is_kept_for_this_version() -> None:
    """Where it fails: raise VERSION, write the step in MIGRATIONS, run `python -m tests.flows.state_versions`."""
    assert layout(present()) == json.loads(layout_file(VERSION).read_text())


def test_every_version_but_the_last_has_a_step_to_the_next() -> None:
    assert sorted(MIGRATIONS) == list(range(1, VERSION))


def test_a_state_of_a_later_version_is_refused_in_words() -> None:
    state = present()
    assert migrated(state).keys() == state.keys()
    with pytest.raises(StateError, match=f"is of version {VERSION + 1}; this twinflow knows up to {VERSION}"):
        Shard(fleet().type_of).restore({**state, FIELD: stamp()[FIELD] + 1})
