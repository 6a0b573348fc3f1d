"""`twinflow explain` over a real broker: after kills and with other numbers of processes, alerts and commands alike."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import msgspec
import pytest

from connectors.command_events import CommandEvents
from connectors.command_requests import CommandRequests
from infra.errors import ExitCode
from tests.connectors.batches import Sent
from tests.connectors.brokers import produce, until
from tests.flows.live_world import World
from tests.flows.mixed_input import PUMP, stream
from tests.infra.command import Command
from tests.support_flow import running_flow

PARTS, COUNT, AGO_NS = (3, 7), 1400, 60 * 10**9


def send(world: World, start: int, stop: int) -> None:
    """Some of the messages of each partition."""
    for p in PARTS:
        messages = islice(stream(p, start_ns=time.time_ns() - AGO_NS, suffix=f"-{p}"), start, stop)
        produce(world.bootstrap, "samples", [Sent(None, value) for value, _ in messages], partition=p)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Input worked off by one process that is killed, then by three, then by one again."""
    made = World(tmp_path_factory.mktemp("explained"))
    try:
        send(made, 0, COUNT // 2)
        with made.flow() as flow:
            made.await_progress(flow, COUNT // 4)
            flow.send_signal(signal.SIGKILL)
        send(made, COUNT // 2, COUNT)
        with ExitStack() as running:
            flows = [running.enter_context(made.flow(TWINFLOW_PROCESS=f"{i}/3")) for i in range(3)]
            made.await_end(flows[0])
        made.tick()
        made.run_to_end()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def twinflow(world: World) -> Command:
    own = {"TWINFLOW_KAFKA": world.bootstrap, "TWINFLOW_FLEET": str(world.fleet), "TWINFLOW_TYPES": str(world.types)}
    return Command(world.data, env=own)


def told(world: World, topic: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(record.value or b"") for record in world.records(topic)]


def test_a_hundred_alerts_picked_by_seed_are_identical(world: World, twinflow: Command) -> None:
    done = twinflow.json("explain", "--sample", "100", "--seed", "1", "--reexecute")
    assert (done["identical"], done["different"], done["expired"], done["no_state"]) == (done["sampled"], 0, 0, 0)
    assert done["failed"] == []
    assert done["sampled"] == min(100, done["alerts"]) > 30
    assert done["records_replayed"] <= len(PARTS) * (COUNT + 1)
    again = twinflow.json("explain", "--sample", "5", "--seed", "2", "--reexecute")["ids"]
    assert again != done["ids"][:5]


def test_an_alert_is_told_down_to_the_bytes_of_its_record(world: World, twinflow: Command) -> None:
    alert = random.Random(3).choice(
        [a for a in told(world, "alerts") if a["state"] == "raised" and a["rule"] == "high"]
    )
    chain = twinflow.json("explain", alert["id"], "--reexecute")["chain"]
    story = next(s for s in chain if s["state"] == "raised")
    lineage = alert["lineage"]
    assert (story["sentence"], story["twin"], story["lineage"]) == (alert["cause"], alert["device"], lineage)
    assert story["reexecuted"]["verdict"] == "identical"
    [brought] = [i for i in story["inputs"] if i["offset"] == lineage["offset"]]
    raw = next(f.value(int(lineage["offset"] - f.offset[0])) for f in world.read("samples")
               if f.partition == lineage["partition"] and f.offset[0] <= lineage["offset"] < f.end_offset)  # fmt: skip
    assert brought["raw"].encode() == raw
    assert story["before"]["revision"] < lineage["revision"]
    words = twinflow("explain", alert["id"])
    assert words.returncode == ExitCode.OK
    for said in (
        alert["cause"],
        alert["device"],
        f"samples/{lineage['partition']}@{lineage['offset']}",
        "pump version 1",
    ):
        assert said in words.stdout


def test_commands_of_rules_and_of_people_are_judged_again_with_the_same_verdict(
    world: World, twinflow: Command
) -> None:
    device = f"pump-1-{PARTS[0]}"
    events = CommandEvents(world.bootstrap)
    with running_flow("flows.commands", world.variables(), world.data / "gate.log"):
        requests = {r["id"] for r in told(world, "command-requests")}
        until(lambda: {e["id"] for e in told(world, "command-events")} >= requests, "a verdict on what the rules ask")
        own = CommandRequests(world.bootstrap).send(
            device=device, verb="stop", arguments={}, reason="a test", issuer="person:ann", ts_ns=time.time_ns()
        )
        for event in events.of(own):
            if event.stage == "dispatched":
                answer = msgspec.json.encode({"id": own, "device": device, "status": "done", "ts_ns": time.time_ns()})
                p = next(d["lineage"]["partition"] for d in told(world, "commands") if d["id"] == own)
                produce(world.bootstrap, "command-acks", [Sent(device.encode(), answer)], partition=p)
    events.close()
    [mine] = twinflow.json("explain", own, "--reexecute")["chain"]
    assert [s["stage"] for s in mine["stages"]] == ["requested", "authorised", "dispatched", "acknowledged", "effect"]
    assert mine["reexecuted"] == {"verdict": "identical", "records": 6}
    of_rule = next(r for r in told(world, "command-requests") if r["issuer"] == "rule:high")
    command, *alerts = twinflow.json("explain", of_rule["id"], "--reexecute")["chain"]
    assert command["alert"] == of_rule["lineage"]["alert"] == alerts[0]["id"]
    assert {s["reexecuted"]["verdict"] for s in (command, *alerts)} == {"identical"}
    assert command["checks"][0]["check"] == "schema"
    words = twinflow("explain", of_rule["id"])
    assert "asked by rule:high" in words.stdout


def test_the_log_replayed_decides_the_same_and_touches_nothing_live(world: World, twinflow: Command) -> None:
    topics = ("alerts", "command-requests", "windows", "anomalies", "command-events")
    before, offsets = [len(world.records(t)) for t in topics], world.committed()
    span = ("--from", str(time.time_ns() - 3600 * 10**9), "--to", str(time.time_ns()))
    first, second = (twinflow.json("replay-log", *span, "--flow", "telemetry", "--diff") for _ in range(2))
    assert first["hash"] == second["hash"]
    assert first["differs"] is False
    assert first["records"] == len(PARTS) * COUNT + 12  # a tick in every partition
    assert first["decided"]["alerts"] == len({r.value for r in world.records("alerts")})
    same = {topic: sum(c["same"] for c in named.values()) for topic, named in first["diff"].items()}
    episodes = len({a["id"] for a in told(world, "alerts")})
    assert same == {**first["decided"], "alerts": episodes}
    assert min(same.values()) > 0
    assert ([len(world.records(t)) for t in topics], world.committed()) == (before, offsets)

    changed = world.types.parent / "changed.yaml"
    changed.write_text(PUMP.replace("above: 50", "above: 5000"))
    words = twinflow("replay-log", *span, "--definition", str(changed), "--diff")
    assert words.returncode == ExitCode.OK, words.stderr
    [line] = [line.split() for line in words.stdout.splitlines() if line.startswith("alerts high ")]
    total = len({a["id"] for a in told(world, "alerts") if a["rule"] == "high"})
    assert line[2:] == [str(total), "0", "0", "0", str(total), "0"]
    assert "missing pump-" in words.stdout and "times real time; hash " in words.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "yesterday", "--to", "2026-01-01T00:00:00Z"), "is no time"),
        (("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z"), "is not after --from"),
        (("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z", "--flow", "history"), "cannot be replayed"),
    ],
)
def test_a_replay_that_makes_no_sense_is_refused(twinflow: Command, words: tuple[str, ...], said: str) -> None:
    done = twinflow("replay-log", *words)
    assert (done.returncode, said in done.stderr) == (ExitCode.USAGE, True), done.stderr


def test_a_time_in_which_nothing_arrived_has_no_verdict(twinflow: Command) -> None:
    done = twinflow("replay-log", "--from", "2001-01-01T00:00:00Z", "--to", "2001-01-02T00:00:00Z", "--diff")
    assert done.returncode == ExitCode.NO_VERDICT
    assert "no sample that the flow has committed arrived in this time" in done.stdout


def test_an_id_that_nobody_knows_is_said_to_be_none(twinflow: Command) -> None:
    done = twinflow("explain", "c-none")
    assert done.returncode == ExitCode.USAGE
    assert "neither the history nor the topics" in done.stderr


@pytest.mark.parametrize("words", [(), ("c-1", "--sample", "3")])
def test_an_id_or_a_sample_not_both_and_not_neither(twinflow: Command, words: tuple[str, ...]) -> None:
    assert twinflow("explain", *words).returncode == ExitCode.USAGE


def test_records_that_have_expired_are_said_to_be_gone(world: World, twinflow: Command) -> None:
    """The last one: it deletes input."""
    for p in PARTS:
        world.delete_before("samples", p, COUNT - 1)
    done = twinflow("explain", "--sample", "10", "--reexecute")
    assert done.returncode == ExitCode.NO_VERDICT
    assert "have expired: the topic starts at" in done.stdout
    alert = told(world, "alerts")[0]
    assert "expired: samples/" in twinflow("explain", alert["id"]).stdout
