"""The commands flow killed again and again while people ask, repeat themselves and devices answer."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

from tests.connectors.brokers import until
from tests.flows.command_world import AWAIT_SECS, ENDS, Valves, fresh

KILLS = 10
PAUSE_SECS = 0.02


class Crowd:
    """Asks some 50 times a second, every fifth time for what it asked before; answers every command it hears of, twice.

    Attributes:
        asked: ids, in order.
    """

    def __init__(self, valves: Valves, seed: int) -> None:
        self.asked: list[str] = []
        self._valves, self._dice = valves, random.Random(seed)
        self._devices = [f"valve-{fresh()}" for _ in range(12)]
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._answered = 0
        self._threads = [threading.Thread(target=self._ask), threading.Thread(target=self._serve)]

    def _ask(self) -> None:
        asked: list[tuple[str, str]] = []
        while not self._stop.wait(PAUSE_SECS):
            if asked and self._dice.random() < 0.2:
                command, device = self._dice.choice(asked)
                self._valves.ask(device, "open", id=command)
                continue
            device = self._dice.choice(self._devices)
            asked.append((self._valves.ask(device, "open"), device))
            self.asked.append(asked[-1][0])

    def _serve(self) -> None:
        while not self._stop.is_set():
            self.serve()

    def serve(self) -> bool:
        """Read what has come, and answer new commands; True."""
        with self._lock:
            self._valves.read()
            new = self._valves.commands[self._answered :]
            self._answered += len(new)
        for command in new:
            for status in ("accepted", "done", "done"):
                self._valves.answer(command["id"], command["device"], status)
        return True

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_after_ten_kills_every_command_was_sent_once_and_has_one_end(broker: str, tmp_path: Path) -> None:
    valves, dice = Valves(broker, tmp_path), random.Random(7)
    with Crowd(valves, seed=7) as crowd:
        for _ in range(KILLS):
            with valves.flow() as flow:
                kill_after(valves, flow, events=dice.randrange(1, 120))
    with valves.flow() as flow:
        until(lambda: crowd.serve() and ended(valves) >= set(crowd.asked), "an end of each", 2 * AWAIT_SECS)
        valves.drain(flow)
    assert ended(valves) == set(crowd.asked)
    sent = Counter(c["id"] for c in valves.commands)
    assert set(sent.values()) == {1}
    for command in crowd.asked:
        told = valves.stages(command)
        if told[-1] == "refused":  # the flow was away for 30 s: a machine that is very busy
            assert valves.last(command, "refused")["detail"][-1]["check"] == "deadline"
            assert command not in sent
            continue
        assert told == ["requested", "authorised", "dispatched", "acknowledged", "effect"], command
        assert sent[command] == 1
    assert len(sent) > KILLS
    assert valves.letters == []
    valves.close()


def kill_after(valves: Valves, flow: subprocess.Popen[bytes], *, events: int) -> None:
    """Kill once so many more events were told."""
    goal = len(valves.events) + events
    until(lambda: len(valves.events) >= goal, f"{events} events", AWAIT_SECS)
    flow.send_signal(signal.SIGKILL)
    assert flow.wait() == -signal.SIGKILL


def ended(valves: Valves) -> set[str]:
    """Ids that have an end; each has only one."""
    found = [e["id"] for e in valves.events if e["stage"] in ENDS and not e["again"]]
    assert len(found) == len(set(found))
    return set(found)
