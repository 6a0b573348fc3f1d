"""`twinflow savepoint`: a named copy of the state of the telemetry flow; put back, the flow goes on from there."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from connectors.shards import SHARDS
from flows.shard_states import offset_of
from flows.state_folder import StateFolder
from infra.errors import ExitCode, UsageFault
from infra.paths import Folders
from operators.state_log import StateLog, anything

FLOW = "telemetry"
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")
MANIFEST = "savepoint.json"


@dataclass(frozen=True, slots=True)
class Savepoints:
    """The savepoints of one data folder."""

    state: StateFolder
    folder: Path

    @staticmethod
    def of(folders: Folders) -> Savepoints:
        """Those of a data folder."""
        return Savepoints(StateFolder(folders.data / "state" / FLOW), folders.data / "savepoints")

    def make(self, name: str) -> dict[str, object]:
        """Copy the state, whole or not at all; what was copied.

        Raises:
            FlowRuns: the flow runs.
            UsageFault: the name is taken or no name.
        """
        place = self._place(name)
        if place.exists():
            raise UsageFault(what=f"savepoint {name}", why="there is one of this name", fix="take another name")
        with self.state.owned():
            made = place.with_suffix(".new")
            shutil.rmtree(made, ignore_errors=True)
            shutil.copytree(self.state.shards, made / "shards")
            told = {"name": name, "made_ns": time.time_ns(), "offsets": _offsets(made / "shards")}
            (made / MANIFEST).write_text(json.dumps(told, indent=2) + "\n")
            made.rename(place)
        return told

    def restore(self, name: str) -> dict[str, object]:
        """Put a savepoint in the place of the state there is.

        Raises:
            FlowRuns: the flow runs.
            UsageFault: there is none of this name.
        """
        place = self._place(name)
        if not (place / MANIFEST).exists():
            known = ", ".join(str(one["name"]) for one in self.listed()) or "none"
            raise UsageFault(what=f"savepoint {name}", why="there is no such savepoint", fix=f"there are: {known}")
        with self.state.owned():
            new, old = self.state.shards.with_suffix(".new"), self.state.shards.with_suffix(".old")
            for folder in (new, old):
                shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(place / "shards", new)
            if self.state.shards.exists():
                self.state.shards.rename(old)
            new.rename(self.state.shards)
            shutil.rmtree(old, ignore_errors=True)
        return dict(json.loads((place / MANIFEST).read_text()))

    def listed(self) -> list[dict[str, object]]:
        """All of them, oldest first."""
        found = [json.loads(p.read_text()) for p in self.folder.glob(f"*/{MANIFEST}") if p.parent.suffix != ".new"]
        return sorted(found, key=lambda one: int(one["made_ns"]))

    def _place(self, name: str) -> Path:
        if not NAME.fullmatch(name) or name.endswith((".new", ".old")):
            raise UsageFault(what=f"savepoint {name!r}", why="is no name", fix="use letters, digits, dot, dash")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.folder / name


def _offsets(shards: Path) -> dict[str, int]:
    """Offset of samples at which each shard's state ends."""
    found = {}
    for name in SHARDS:
        log = StateLog(shards, name)
        restored = log.restore(anything)
        log.close()
        if restored.state is not None:
            found[name] = offset_of(restored.state)
    return found


def savepoint(folders: Folders, name: str | None, *, restore: bool, as_json: bool) -> ExitCode:
    """Make, restore or list.

    Raises:
        FlowRuns: the flow runs: stop it first, so that its last state is on disk.
        UsageFault: the name does not do.
    """
    points = Savepoints.of(folders)
    if name is None:
        told: object = points.listed()
        words = [f"{one['name']}  {len(list(_of(one)))} shards" for one in points.listed()] or ["no savepoint"]
    else:
        one = points.restore(name) if restore else points.make(name)
        told = one
        does = "is the state now; the flow goes on from there" if restore else "holds the state"
        words = [f"savepoint {name} {does}: {len(list(_of(one)))} shards"]
    sys.stdout.write(json.dumps(told, indent=2) + "\n" if as_json else "\n".join(words) + "\n")
    return ExitCode.OK


def _of(one: dict[str, object]) -> list[str]:
    offsets = one["offsets"]
    return list(offsets) if isinstance(offsets, dict) else []
