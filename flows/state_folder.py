"""The state folder of a flow: one process per shard at a time, losses that were accepted, a fresh start."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from connectors.shards import SHARDS
from flows.shard_states import give_up
from operators.errors import TwinflowError

LOSSES = "accepted-losses.json"


class FlowRuns(TwinflowError):
    """Another process works in the folder."""

    def __init__(self, *, folder: Path, pid: str) -> None:
        super().__init__(f"{folder}: flow {folder.name} runs (pid {pid or 'unknown'}); stop it first: twinflow down")


class StateFolder:
    """TWINFLOW_DATA/state/<flow>: `shards/` (state logs), `checkpoints/`, `locks/` (one process each), accepted losses.

    >>> import tempfile
    >>> state = StateFolder(Path(tempfile.mkdtemp()) / "telemetry")
    >>> state.accept_loss(3, 120)
    >>> state.accept_loss(3, 90)
    >>> state.accepted_losses()
    {3: 120}
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.shards, self.locks = folder, folder / "shards", folder / "locks"
        self.checkpoints = folder / "checkpoints"

    @contextmanager
    def owned(self, shards: Sequence[str] = SHARDS) -> Iterator[None]:
        """Hold some shards, or all; the kernel lets go when the process ends, however it ends.

        Raises:
            FlowRuns: another process holds one of them.
        """
        self.locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ExitStack() as held:
            for name in shards:
                file = held.enter_context((self.locks / name).open("a+"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    file.seek(0)
                    raise FlowRuns(folder=self.folder, pid=file.read()) from error
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
            yield

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
        """Delete the state of all shards; each is marked, so that it may be rebuilt from what is left of its input."""
        if self.shards.exists():
            gone = self.shards.with_suffix(".old")
            shutil.rmtree(gone, ignore_errors=True)
            self.shards.rename(gone)
            shutil.rmtree(gone)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        give_up(self.shards)
        (self.folder / LOSSES).unlink(missing_ok=True)
