"""What telemetry counts of a shard is what the shard made, however its input was cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple

import pytest

from flows.figures import ShardFigures
from flows.publish import Fetch
from flows.shard import Shard
from operators.frames import Frames
from operators.ledger import Ledger
from tests.flows.mixed_input import FLEET, messages

COUNT = 1200
VALUES, ARRIVALS = messages(COUNT)


def counted(cuts: list[int]) -> tuple[ShardFigures, Shard, Ledger, Counter[str]]:
    shard, figures, ledger, dead = Shard(FLEET.type_of), ShardFigures(), Ledger(), Counter[str]()
    for start, stop in zip([0, *cuts], [*cuts, COUNT], strict=True):
        out = shard.push(Frames.of(VALUES[start:stop], arrival=ARRIVALS[start:stop], first_offset=start))
        ledger += out.ledger
        dead.update(out.dead.reason)
        figures.settled([Fetch.of(out)])
    figures.logged(shard.snapshot())
    return figures, shard, ledger, dead


@pytest.mark.parametrize("cuts", [[], [1, 7, 600, 601]])
def test_outcomes_dead_letters_rows_and_state_are_those_of_the_shard(cuts: list[int]) -> None:
    figures, shard, ledger, dead = counted(cuts)
    assert figures.records == list(astuple(ledger.records))
    assert figures.samples == list(astuple(ledger.samples))
    assert figures.dead == dead
    assert sum(dead.values()) > 0
    assert shard.decode.rows_in == COUNT
    assert shard.decode.rows_out == shard.compute.rows_in > shard.compute.rows_out > 0
    assert min(shard.decode.busy_ns, shard.compute.busy_ns) > 0
    assert figures.rows == sum(len(shard.roster.names(i)) for i in range(len(shard.roster.types)))
    assert figures.bytes == sum(x.nbytes for x in shard.snapshot().values())
    assert 0 < figures.slowest_ns <= figures.fastest_ns
