"""What the processes say of themselves, read from their `/metrics` while somebody looks: shares, rates, what waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from urllib.request import ProxyHandler, build_opener

from prometheus_client.parser import text_string_to_metric_families

OVER = 6
"""Shares and rates are taken over this many answers."""
EVERY_SECS = 1.0
LOOKED_SECS = 10.0
"""So long after the last look it goes on asking: nobody is asked while no page is open."""
ANSWER_SECS = 2.0

Figures = Mapping[tuple[str, tuple[str, ...]], float]
"""By name and label values."""
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Step:
    """A step over the last seconds: rows per second, share of the time at work and waiting for what comes after."""

    name: str
    rows_in: float
    rows_out: float
    busy: float
    blocked: float


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    Attributes:
        flow: what it runs, "" where it tells no steps.
        behind_secs: age of the oldest record that waits for it.
        age_secs: of the oldest of these records, by its labels: (shard,), or (topic, shard).
    """

    name: str
    flow: str
    steps: list[Step]
    behind_secs: float
    age_secs: dict[tuple[str, ...], float]

    @property
    def busy(self) -> float:
        """Share of the time at work: of its one worker, or of the busiest of its threads, which are its steps."""
        shares = [step.busy for step in self.steps] or [0.0]
        return min(1.0, max(shares) if self.flow == "history" else sum(shares))

    @property
    def blocked(self) -> float:
        """Share of the time spent waiting for what comes after."""
        shares = [step.blocked for step in self.steps] or [0.0]
        return min(1.0, max(shares) if self.flow == "history" else sum(shares))


class Processes:
    """A thread that asks every second, while somebody has looked lately.

    Args:
        addresses: URL of each process by name.
        clock: monotonic seconds.
    """

    def __init__(self, addresses: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._addresses, self._clock = dict(addresses), clock
        self._answers: dict[str, deque[tuple[float, Figures]]] = {name: deque(maxlen=OVER) for name in addresses}
        self._looked = threading.Event()
        self._looked_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="processes", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._addresses:
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        self._looked.set()
        if self._thread.is_alive():
            self._thread.join(2 * ANSWER_SECS)

    def now(self) -> list[Process]:
        """All that answered at least twice in a row, as they are now."""
        self._looked_at = self._clock()
        self._looked.set()
        found = [(name, list(answers)) for name, answers in self._answers.items()]
        return [process(name, answers) for name, answers in found if len(answers) > 1]

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._looked.clear()
            if self._clock() - self._looked_at > LOOKED_SECS:
                for answers in self._answers.values():
                    answers.clear()
                self._looked.wait()
                continue
            for name, url in self._addresses.items():
                self._ask(name, url)
            self._stopping.wait(EVERY_SECS)

    def _ask(self, name: str, url: str) -> None:
        answers = self._answers[name]
        try:
            with _opener.open(url + "/metrics", timeout=ANSWER_SECS) as answer:
                found = read(answer.read().decode())
        except (OSError, HTTPException, ValueError):
            answers.clear()
            return
        started = ("process_start_time_seconds", ())
        if answers and answers[-1][1].get(started) != found.get(started):
            answers.clear()
        answers.append((self._clock(), found))


def read(text: str) -> Figures:
    """Samples of Prometheus' text format; histograms are left out.

    >>> read('# TYPE a counter\\na_total{x="1"} 2\\n')
    {('a_total', ('1',)): 2.0}
    """
    families = (f for f in text_string_to_metric_families(text) if f.type != "histogram")
    return {(s.name, tuple(s.labels.values())): float(s.value) for family in families for s in family.samples}


def process(name: str, answers: Sequence[tuple[float, Figures]]) -> Process:
    """What several answers of one process come to."""
    (first_at, first), (last_at, last) = answers[0], answers[-1]
    secs = max(last_at - first_at, 1e-3)

    def rate(figure: str, labels: tuple[str, ...]) -> float:
        key = (f"twinflow_step_{figure}_total", labels)
        return max(0.0, last[key] - first.get(key, 0.0)) / secs

    places = [labels for figure, labels in last if figure == "twinflow_step_rows_in_total"]
    names = ("rows_in", "rows_out", "busy_seconds", "blocked_seconds")
    return Process(
        name=name,
        flow=places[0][0] if places else "",
        steps=[Step(labels[1], *(rate(figure, labels) for figure in names)) for labels in places],
        behind_secs=last.get(("twinflow_behind_seconds", ()), 0.0),
        age_secs={key: x for (figure, key), x in last.items() if figure == "twinflow_input_oldest_age_seconds"},
    )
