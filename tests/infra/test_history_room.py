"""A disk that is nearly full refuses inserts in words, before the engine could lose one; free space ends that."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.history.errors import EngineError
from infra.history.room import NOT_ENOUGH_SPACE, Room

ROOT = Path(__file__).parents[2]
SCRIPT = """
import shutil, sys
from dataclasses import replace
from pathlib import Path
from infra.history.engine import Engine, Setup
from infra.history.errors import EngineError

folder = Path(sys.argv[1])
engine = Engine(folder)
handle = engine.open(Setup())
handle.run("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
whole = handle.room
said = []
for room in (whole, replace(whole, least=1 << 60), replace(whole, left=1 << 60), whole):
    handle.room = room
    try:
        handle.insert("INSERT INTO t (a)", "CSV", [b"1\\n"])
        said.append("stored")
    except EngineError as error:
        said.append(f"{error.code} {'MB are needed' in error.text} {str(folder) in error.text}")
print(said, handle.run("SELECT count() FROM t").data.decode().strip())
"""


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    yield Room(tmp_path)


def test_an_insert_begins_only_where_enough_is_free_and_says_what_is_missing(room: Room) -> None:
    room.before()
    room.after()
    free = shutil.disk_usage(room.folder).free
    with pytest.raises(EngineError, match=f"{room.folder}.*MB are free") as caught:
        replace(room, least=2 * free).before()
    assert caught.value.code == NOT_ENOUGH_SPACE
    with pytest.raises(EngineError, match="free some space"):
        replace(room, left=2 * free).after()


def test_the_engine_refuses_goes_on_when_there_is_room_and_doubts_what_came_too_close(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "engine")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    refused = "243 True True"
    assert done.stdout.strip() == f"['stored', '{refused}', '{refused}', 'stored'] 3", done.stderr
