"""Did a world come through: every input accounted for, every result there once, in order, and the state the same."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise

import numpy as np

from connectors.kafka_commit import Record
from connectors.shards import SHARDS
from infra.cli_ledger import Since, examine
from operators.state_log import StateLog, anything
from operators.types import State
from tests.chaos.oracle import Oracle, uninterrupted
from tests.flows.live_world import World
from tests.flows.telling import last_states, once, told

LIVE = ("alerts", "command-requests")
CUT_SECS = 10.0
EXAMPLES = 5


@dataclass(slots=True)
class Verdict:
    """How many of what went wrong; all but `inputs` and `repeats` must be 0.

    Attributes:
        inputs: records of `samples`, by the ledger that lies in the broker.
        lost: inputs that were acknowledged and are not there; results that are due and are not there.
        duplicates: settled results that are there more than once.
        unexpected: results that an uninterrupted run does not give.
        order_violations: results of one device that stand before an earlier one.
        state_mismatches: columns of the kept state, and states told last, that differ from an uninterrupted run.
        ledger_balance: records and samples without an outcome, or with two; ledger_findings: what else does not add up.
        repeats: alerts and requests told again under their id, as the live path may.
        examples: some of it in words.
    """

    inputs: int = 0
    lost: int = 0
    duplicates: int = 0
    unexpected: int = 0
    order_violations: int = 0
    state_mismatches: int = 0
    ledger_balance: int = 0
    ledger_findings: int = 0
    repeats: int = 0
    examples: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """As plain data."""
        return asdict(self)

    def note(self, what: str) -> None:
        """Keep the first few."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(what[:300])


def check(world: World, oracle: Oracle | None = None) -> Verdict:
    """Compare a world at rest, all input worked off, with an uninterrupted run over the same log."""
    verdict, oracle = Verdict(), oracle or uninterrupted(world)
    _ledger(verdict, world)
    compare(verdict, told(world.settled()), told(oracle.settled()))
    for topic in LIVE:
        _live(verdict, world.records(topic), oracle.of(topic))
    _states(verdict, world, oracle)
    return verdict


def _ledger(verdict: Verdict, world: World) -> None:
    report = examine(world.bootstrap, Since(), patience_secs=CUT_SECS)
    verdict.inputs = report.total.records_in
    verdict.ledger_balance = report.total.balance
    verdict.ledger_findings = len(report.findings) + (not report.complete)
    for finding in report.findings:
        verdict.note(f"shard {finding.shard}: {finding.what}")
    if not report.complete:
        verdict.note("the flow is behind")
    if verdict.inputs != world.acknowledged:
        verdict.lost += max(0, world.acknowledged - verdict.inputs)
        verdict.unexpected += max(0, verdict.inputs - world.acknowledged)
        verdict.note(f"{world.acknowledged} messages acknowledged, {verdict.inputs} in the ledger")


def compare(verdict: Verdict, found: Mapping[str, Sequence[str]], due: Mapping[str, Sequence[str]]) -> None:
    """What was told and what is due, line by line; both by whom they are about."""
    for who in sorted({*found, *due}):
        _one(verdict, who, found.get(who, ()), due.get(who, ()))


def _one(verdict: Verdict, who: str, found: Sequence[str], due: Sequence[str]) -> None:
    if found == due:
        return
    here, wanted = Counter(found), Counter(due)
    missing, more = wanted - here, here - wanted
    again = sum(count for line, count in more.items() if line in wanted)
    verdict.lost += missing.total()
    verdict.duplicates += again
    verdict.unexpected += more.total() - again
    for word, lines in (("missing", missing), ("too many", more)):
        for line in list(lines)[:1]:
            verdict.note(f"{who}: {lines.total()} {word}: {line}")
    place = {line: i for i, line in enumerate(due)}
    order = [place[line] for line in dict.fromkeys(found) if line in place]
    back = sum(b < a for a, b in pairwise(order))
    verdict.order_violations += back
    if back:
        verdict.note(f"{who}: {back} out of order")


def _live(verdict: Verdict, found: list[Record], due: list[Record]) -> None:
    """At least once: a repeat says the same under the same id."""
    said, wanted = set(once(found)), set(once(due))
    verdict.lost += len(wanted - said)
    verdict.unexpected += len(said - wanted)
    verdict.repeats += len(found) - len(said)
    for line in [*sorted(wanted - said)[:1], *sorted(said - wanted)[:1]]:
        verdict.note(f"{'missing' if line in wanted else 'too many'}: {line}")


def _states(verdict: Verdict, world: World, oracle: Oracle) -> None:
    told_last, due = last_states(world.records("twin-states")), last_states(oracle.of("twin-states"))
    wrong = [device for device in {*told_last, *due} if told_last.get(device) != due.get(device)]
    verdict.state_mismatches += len(wrong)
    for device in sorted(wrong)[:1]:
        verdict.note(f"state of {device}: {told_last.get(device)} instead of {due.get(device)}")
    for partition, state in oracle.states.items():
        for column in differing(kept_state(world, partition), state):
            verdict.state_mismatches += 1
            verdict.note(f"state log of {SHARDS[partition]}: {column} differs")


def output_hash(records: list[Record]) -> str:
    """sha256 of all that settled records say."""
    lines = (f"{who}\n" + "\n".join(said) for who, said in sorted(told(records).items()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def kept_state(world: World, partition: int) -> State:
    """The newest state in the log of a shard; empty where there is none."""
    log = StateLog(world.state, SHARDS[partition])
    try:
        return log.restore(anything).state or {}
    finally:
        log.close()


def differing(found: State, due: State) -> list[str]:
    """Names of columns that are not equal to the byte.

    >>> differing({"a": np.array([1])}, {"a": np.array([1]), "b": np.array([0.5])})
    ['b']
    """
    return [
        name
        for name in sorted({*found, *due})
        if name not in found
        or name not in due
        or (found[name].dtype, found[name].shape) != (due[name].dtype, due[name].shape)
        or np.ascontiguousarray(found[name]).tobytes() != np.ascontiguousarray(due[name]).tobytes()
    ]
