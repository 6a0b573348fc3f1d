"""Over a real broker: a record on which telemetry dies costs three starts and itself, nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from infra.cli_ledger import Since, examine
from tests.connectors.brokers import by_confluent
from tests.flows.live_world import World
from tests.flows.poisoned_telemetry import OFFSET, PARTITION
from tests.support_flow import running_flow

FLOW = "tests.flows.poisoned_telemetry"


def test_a_record_on_which_telemetry_dies_is_set_aside_at_the_fourth_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        with world.feed(300):
            for number in (1, 2, 3):
                with running_flow(FLOW, world.variables(), world.log) as flow:
                    assert flow.wait(90) == 1
                last = world.log.read_text().splitlines()[-1]
                assert f"samples/{PARTITION}, offsets" in last
                assert f"try {number} failed: KeyError: 'planted'" in last
            with running_flow(FLOW, world.variables(), world.log) as flow:
                world.await_progress(flow, 200)
                world.drain(flow)
        total = examine(world.bootstrap, Since(), patience_secs=30)
        assert (total.total.balance, total.findings) == (0, [])
        letters = [
            json.loads(m.value or b"") for m in by_confluent(world.bootstrap, "dead-letters", partition=PARTITION)
        ]
        assert [(x["offset"], x["detail"]) for x in letters if x["reason"] == "poison"] == [
            (OFFSET, "KeyError: 'planted'")
        ]
    finally:
        world.close()
