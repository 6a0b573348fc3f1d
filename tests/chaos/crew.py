"""Processes of telemetry that share the shards of a world, killed and started again as `up` would."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

from connectors.shards import SHARDS
from tests.connectors.brokers import until
from tests.flows.live_world import World
from tests.support_flow import drain, start_flow

AWAIT_SECS = 90.0
STARTUP_SECS = 3.0


class Crew:
    """Context of `count` processes; those that still run are killed at the end.

    Attributes:
        kills: processes killed by `kill`.
        ends: last words of processes that ended by themselves; unsaid: of those that did not say why.
    """

    def __init__(self, world: World, count: int, **variables: str) -> None:
        self._world, self._count, self._variables = world, count, variables
        self.processes: list[subprocess.Popen[bytes]] = []
        self.kills = 0
        self.ends: list[str] = []
        self.unsaid: list[str] = []

    def __enter__(self) -> Crew:
        self.processes = [self._start(i) for i in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        share = {"TWINFLOW_PROCESS": f"{number}/{self._count}"}
        return start_flow("flows.telemetry", self._world.variables() | share | self._variables, self.log(number))

    def log(self, number: int) -> Path:
        """What a process of this number said."""
        return self._world.folder / f"flow-{number}-of-{self._count}.log"

    @property
    def silent(self) -> int:
        """How many ended without saying why."""
        return len(self.unsaid)

    def shards(self, number: int) -> range:
        """Partitions of a process."""
        return range(number, len(SHARDS), self._count)

    def kill(self, number: int) -> None:
        """SIGKILL, and start the next."""
        process = self.processes[number]
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            self._ended(number)
        self.kills += 1
        self.processes[number] = self._start(number)

    def signal(self, sign: signal.Signals) -> None:
        """To all of them."""
        for process in self.processes:
            process.send_signal(sign)

    def revive(self) -> None:
        """Start again what has ended by itself; it must have said why."""
        for number, process in enumerate(self.processes):
            if process.poll() is not None:
                self._ended(number)
                self.processes[number] = self._start(number)

    def _ended(self, number: int) -> None:
        last = self.log(number).read_text().splitlines()[-1:]
        self.ends += last
        if self.processes[number].returncode != 1 or " ERROR " not in "".join(last):
            self.unsaid.append(f"exit code {self.processes[number].returncode}: {''.join(last)}")

    def await_progress(self, number: int, records: int) -> None:
        """Wait until a process has committed so many more records; whoever ends meanwhile is started again."""
        goal = self._world.done(self.shards(number)) + records

        def there() -> bool:
            self.revive()
            return self._world.done(self.shards(number)) >= goal

        until(there, f"{records} more records of process {number} of {self._count}", AWAIT_SECS)

    def await_moment(self, number: int, dice: random.Random) -> None:
        """Wait for a moment to strike: while it starts; or after some commits the next one, the next snapshot of state,
        or the middle of an epoch."""
        if dice.random() < 0.25:
            time.sleep(dice.uniform(0, STARTUP_SECS))
            return
        self.await_progress(number, dice.randrange(1, 100))
        sign = dice.choice((self._world.committed, self._world.state_bytes, self._world.live_ends))
        before = sign()
        until(lambda: sign() != before, f"a change of {sign.__name__}", AWAIT_SECS)

    def figures(self) -> dict[str, object]:
        """How often processes ended by themselves, how often in silence, and what they said."""
        return {
            "restarts": len(self.ends),
            "silent_ends": self.silent,
            "last_words": [*self.ends[-2:], *self.unsaid[-2:]],
        }

    def drain(self, number: int) -> None:
        """Stop one as `up` does."""
        drain(self.processes[number], self.log(number))
