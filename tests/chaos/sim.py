"""`twinflow chaos sim`: the cores, the worker, the state log and the delivery of telemetry in one thread, with a
virtual clock, broker and network and a disk that loses what was not synced. One seed is one trace; after every commit
the results are those of an uninterrupted run up to the committed offset, and so is the state.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from connectors.kafka_commit import CommitError, Record
from flows.publish import Fetch, live_records, settled_records
from flows.shard import Shard
from operators.definition import Fleet
from operators.definition_yaml import loads
from tests.chaos.checker import differing
from tests.chaos.sim_broker import Crash, Dice, SimBroker
from tests.chaos.sim_process import Process, SimClock, after_power_cut, copied
from tests.flows.telling import once, rows, told

TYPE = """\
twin_type: probe
version: 1
signals: {a: {range: [-100, 100]}}
window: {length: 1s, lateness: 1s}
idle_timeout: 3s
rules: [{id: high, signal: a, above: 8}]
"""
FLEET = Fleet(patterns=(("probe-*", "probe"),), types={"probe": loads(TYPE)})
START_NS = 1_700_000_000 * 10**9
STEPS = 14
_MEMORY = Path("/dev/shm")
LIVE = ("alerts", "command-requests")


class Violation(AssertionError):
    """What must never be."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one seed: the hash of its trace, what was wrong ("" for nothing), and what happened how often."""

    seed: int
    trace: str
    wrong: str
    happened: Mapping[str, int]


class World:
    """Everything of one seed.

    Args:
        seed: of all choices.
        folder: an empty one.
        process_class: of the processes; another one only to see that its bug is noticed.
        fences: as `SimBroker.fences`.
    """

    def __init__(self, seed: int, folder: Path, process_class: type[Process] = Process, *, fences: bool = True) -> None:
        self.dice = Dice(random.Random(seed), fault=0.06)
        self.broker = SimBroker(self.dice)
        self.broker.fences, self.broker.on_commit = fences, self._committed
        self.folder, self.process_class = folder, process_class
        self.home, self.moves = folder / "0", 0
        self.process: Process | None = None
        self.zombie: Process | None = None
        self.oracle, self.oracle_live, self.at, self.seen = Shard(FLEET.type_of), list[Record](), 0, 0
        self.sent, self.now_ns = 0, START_NS

    def run(self) -> None:
        """Mishaps, then rest: all input worked off, everything compared.

        Raises:
            Violation: something is not as it must be.
        """
        for _ in range(STEPS):
            self._devices()
            self._step()
        self.dice.fault = 0.0
        self._step_of(self.zombie)
        for _ in range(200):
            self._live_on()
            if self.broker.offset == self.broker.end:
                break
        else:
            raise Violation(f"stands at {self.broker.offset} of {self.broker.end}")
        self._compare_live()
        self._kill(cut=False)

    def _devices(self) -> None:
        """A few messages: repeats by the client, by the device, gaps, late and bad ones, ticks."""
        dice = self.dice.random
        for _ in range(dice.randint(0, 8)):
            self.now_ns += dice.randint(1, 400) * 10**6
            value, arrival = self._message(dice), self.now_ns
            for _ in range(1 + (dice.random() < 0.1)):  # a retry that the broker knows
                self.broker.append(1, self.sent, value, arrival)
            self.sent += 1
            if dice.random() < 0.05:
                self.broker.skip()

    def _message(self, dice: random.Random) -> bytes:
        draw = dice.random()
        if draw < 0.06:
            return b"{"
        if draw < 0.16:
            return json.dumps({"tick": self.now_ns}).encode()
        late = dice.choice((0, 0, 0, 0, 500, 5000)) * 10**6
        device = dice.randint(1, 3)
        seq = self.sent - (dice.random() < 0.1)
        head = {"device": f"probe-{device}", "ts": self.now_ns - late, "boot": "b", "seq": seq}
        return json.dumps({**head, "signals": {"a": dice.randint(-10, 10)}}).encode()

    def _step(self) -> None:
        draw = self.dice.random.random()
        if draw < 0.06 and self.process is not None and self.zombie is None:
            self._abandon()
        elif draw < 0.12:
            self._step_of(self.zombie)
        elif draw < 0.22:
            self._lose_state()
        else:
            self._live_on()

    def _live_on(self) -> None:
        """Start where nothing runs, then a few turns and the end of an epoch."""
        try:
            if self.process is None:
                self.process = self.process_class(self.home, FLEET, self.broker, self.dice)
            for _ in range(self.dice.random.randint(1, 3)):
                self.process.turn()
            self.process.end_epoch()
        except (Crash, CommitError) as end:
            self.dice.note("ended", end)
            self._kill(cut=isinstance(end, Crash) and self.dice.random.random() < 0.4)

    def _kill(self, *, cut: bool) -> None:
        if self.process is not None:
            self.process.close()
            if cut:
                after_power_cut(self.process, self.dice)
        self.process = None

    def _abandon(self) -> None:
        """The process hangs; another goes on with a copy of its state elsewhere, and fences it."""
        assert self.process is not None
        self.moves += 1
        self.home = copied(self.process.folder, self.folder / str(self.moves))
        self.dice.note("hangs")
        self.zombie, self.process = self.process, None
        self._live_on()

    def _step_of(self, zombie: Process | None) -> None:
        """What hung goes on where it stood."""
        if zombie is None:
            return
        self.dice.note("zombie")
        self.zombie = None
        try:
            zombie.turn()
            zombie.end_epoch()
        except (Crash, CommitError) as end:
            self.dice.note("zombie ended", end)
        zombie.close()

    def _lose_state(self) -> None:
        """The folder is gone, or an older copy of it is put back."""
        self._kill(cut=False)
        backup = self.folder / "backup"
        if not backup.exists():
            copied(self.home, backup)
        elif self.dice.random.random() < 0.6:
            copied(backup, self.home)
            self.dice.note("older state")
        else:
            copied(self.folder / "none", self.home)
            self.dice.note("no state")

    def _committed(self) -> None:
        """Readers see more: it must be what an uninterrupted run says of the input up to the offset, and no more."""
        offset, records = self.broker.committed[-1]
        said = told(records)
        frames = self.broker.fetch(self.at, 1 << 20)
        due: dict[str, list[str]] = {}
        if frames is not None and offset > self.at:
            part, _ = frames.split(offset)
            out = self.oracle.push(part)
            self.oracle_live += [r for r in live_records(out, shard="00bg", partition=0) if r.topic in LIVE]
            due = told(settled_records("00bg", 0, [Fetch.of(out)]))
        if said != due:
            missing = {k: v for k, v in due.items() if said.get(k) != v}
            more = {k: v for k, v in said.items() if due.get(k) != v}
            raise Violation(f"committed up to {offset}, from {self.at}: due {missing}, said {more}")
        for ledger in (row for r in records if r.topic == "ledger" for row in rows(r)):
            if (ledger["from_offset"], ledger["end_offset"]) != (max(self.at, 0), offset) and self.at:
                raise Violation(f"ledger {ledger['from_offset']} to {ledger['end_offset']}, not {self.at} to {offset}")
            if ledger["ledger"]["balance"] != 0:
                raise Violation(f"ledger {ledger}")
        self.at = max(self.at, offset)
        self._compare_state(offset)
        self.dice.note("committed", offset, len(records))

    def _compare_state(self, offset: int) -> None:
        """The state that was logged before the commit stands at the offset and is equal to the byte."""
        if self.process is None:
            return
        state = self.process.logged.get(offset)
        if state is None:
            raise Violation(f"committed {offset}, and states were logged at {sorted(self.process.logged)} alone")
        wrong = differing(state, self.oracle.view())
        if wrong:
            raise Violation(f"state at {offset}: {wrong} differ")

    def _compare_live(self) -> None:
        """At least once: nothing is missing, and a repeat says the same."""
        said = set(once([r for r in self.broker.live if r.topic in LIVE]))
        due = set(once(self.oracle_live))
        if said != due:
            raise Violation(f"live: {len(due - said)} missing, {len(said - due)} unexpected")


def run(seed: int, process_class: type[Process] = Process, *, fences: bool = True) -> Outcome:
    """One seed in a world of its own."""
    clock = SimClock()
    with (
        tempfile.TemporaryDirectory(prefix="twinflow-sim-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
        patch("connectors.kafka_flow.time", clock),
        patch("flows.telemetry.time", clock),
    ):
        world = World(seed, Path(folder), process_class, fences=fences)

        def bounds(_kafka: str, _topic: str, partitions: list[int]) -> dict[int, tuple[int, int]]:
            return dict.fromkeys(partitions, (world.broker.first, world.broker.end))

        wrong = ""
        with patch("connectors.kafka_flow.offset_bounds", bounds):
            try:
                world.run()
            except Exception as error:  # whatever a process does not survive or the checks refuse
                wrong = f"seed {seed}: {type(error).__name__}: {str(error)[:600]}"
    text = "\n".join([*world.dice.trace, wrong.replace(folder, "")])
    words = [line.split()[0] for line in world.dice.trace]
    happened = {word: words.count(word) for word in sorted(set(words))}
    return Outcome(seed, hashlib.sha256(text.encode()).hexdigest(), wrong, happened)


def main(argv: list[str]) -> int:
    """Run seeds and tell; exit 1 where one is violated, or two runs of a seed differ."""
    parser = argparse.ArgumentParser(prog="twinflow chaos sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    started = time.monotonic()
    outcomes = [run(seed) for seed in range(options.seed, options.seed + options.seeds)]
    again = [run(outcome.seed).trace == outcome.trace for outcome in outcomes[:: max(1, options.seeds // 20)]]
    wrong = [outcome.wrong for outcome in outcomes if outcome.wrong]
    total: dict[str, int] = {}
    for outcome in outcomes:
        for word, count in outcome.happened.items():
            total[word] = total.get(word, 0) + count
    figures = {
        "seeds": options.seeds,
        "violations": len(wrong),
        "examples": wrong[:5],
        "trace": hashlib.sha256("".join(outcome.trace for outcome in outcomes).encode()).hexdigest(),
        "repeated": len(again),
        "equal": all(again),
        "happened": total,
        "seconds": round(time.monotonic() - started, 1),
    }
    sys.stdout.write(json.dumps(figures, indent=None if options.json else 2) + "\n")
    return 0 if not wrong and all(again) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
