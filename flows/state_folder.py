"""The state folder of a flow: one process at a time, its checkpoints, losses that were accepted, a fresh start."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bytewax.recovery import init_db_dir

from operators.errors import TwinflowError

LOSSES = "accepted-losses.json"


class FlowRuns(TwinflowError):
    """Another process works in the folder."""

    def __init__(self, *, folder: Path, pid: str) -> None:
        super().__init__(f"{folder}: flow {folder.name} runs (pid {pid or 'unknown'}); stop it first: twinflow down")


class StateFolder:
    """TWINFLOW_DATA/state/<flow>: `recovery/` (Bytewax), `shards/` (state logs), `lock`, accepted losses.

    >>> import tempfile
    >>> state = StateFolder(Path(tempfile.mkdtemp()) / "telemetry")
    >>> state.accept_loss(3, 120)
    >>> state.accept_loss(3, 90)
    >>> state.accepted_losses()
    {3: 120}
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.recovery, self.shards = folder, folder / "recovery", folder / "shards"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the folder; the kernel lets go when the process ends, however it ends.

        Raises:
            FlowRuns: another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise FlowRuns(folder=self.folder, pid=file.read()) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def prepare(self) -> Path:
        """The folder of Bytewax's checkpoints, made whole or not at all."""
        if not self.recovery.exists():
            made = self.folder / "recovery.new"
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(mode=0o700)
            init_db_dir(made, 1)
            made.rename(self.recovery)
        return self.recovery

    def accepted_losses(self) -> Mapping[int, int]:
        """By partition, the offset before which input may be missing."""
        file = self.folder / LOSSES
        if not file.exists():
            return {}
        return {int(partition): int(offset) for partition, offset in json.loads(file.read_text()).items()}

    def accept_loss(self, partition: int, offset: int) -> None:
        """From the next start on the flow reads this partition from `offset` on, if it had not come so far."""
        losses = dict(self.accepted_losses())
        losses[partition] = max(offset, losses.get(partition, 0))
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.folder / f"{LOSSES}.new"
        new.write_text(json.dumps({str(p): o for p, o in sorted(losses.items())}) + "\n")
        new.replace(self.folder / LOSSES)

    def forget(self) -> None:
        """Delete checkpoints and state, the checkpoints first: without them nothing else is looked at."""
        for folder in (self.recovery, self.shards):
            if folder.exists():
                gone = folder.with_suffix(".old")
                shutil.rmtree(gone, ignore_errors=True)
                folder.rename(gone)
                shutil.rmtree(gone)
        (self.folder / LOSSES).unlink(missing_ok=True)
