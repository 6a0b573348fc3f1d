"""State logs of every version of the layout (tests/golden/state), the input that made them, and how to add one.

`python -m tests.flows.state_versions` writes the log and the layout of this version, after VERSION was raised.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

from flows.shard import Shard
from flows.shard_versions import VERSION
from operators.definition import Fleet
from operators.definition_yaml import load
from operators.frames import Frames
from operators.state_log import StateLog
from operators.types import State

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "state"
NAME = "00bg"
APPENDS = (100, 400, 440, 450)
"""Offsets at which the state was appended; the last is where a later version goes on."""
COUNT = 900


def fleet() -> Fleet:
    """The twin types of the logs; they never change."""
    types = {name: load(GOLDEN / f"{name}.yaml") for name in ("pump", "probe")}
    return Fleet(patterns=(("pump-*", "pump"), ("probe-*", "probe")), types=types)


def frames(start: int, stop: int) -> Frames:
    """The messages of some offsets."""
    told = json.loads(gzip.decompress((GOLDEN / "input.json.gz").read_bytes()))[start:stop]
    values, arrivals = [value.encode() for value, _ in told], [arrival for _, arrival in told]
    return Frames.of(values, arrival=arrivals, first_offset=start)


def unpacked(version: int, folder: Path) -> StateLog:
    """The log of a version, in a folder of its own."""
    packed = (GOLDEN / str(version) / f"{NAME}.log.gz").read_bytes()
    (folder / f"{NAME}.1.log").write_bytes(gzip.decompress(packed))
    return StateLog(folder, NAME)


def layout(state: State) -> dict[str, list[object]]:
    """Kind and row shape of every column."""
    return {name: [column.dtype.str, *column.shape[1:]] for name, column in sorted(state.items())}


def layout_file(version: int) -> Path:
    """Where the layout of a version is kept."""
    return GOLDEN / str(version) / "layout.json"


def main() -> None:
    """Write what a new version keeps."""
    (GOLDEN / str(VERSION)).mkdir(exist_ok=True)
    shard, at = Shard(fleet().type_of), 0
    with tempfile.TemporaryDirectory() as name:
        log = StateLog(Path(name), NAME)
        for stop in APPENDS:
            shard.push(frames(at, stop))
            log.append(shard.view(), shard.changed())
            at = stop
        log.close()
        packed = gzip.compress((Path(name) / f"{NAME}.1.log").read_bytes(), mtime=0)
    (GOLDEN / str(VERSION) / f"{NAME}.log.gz").write_bytes(packed)
    lines = (f"  {json.dumps(name)}: {json.dumps(kind)}" for name, kind in layout(shard.snapshot()).items())
    layout_file(VERSION).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
