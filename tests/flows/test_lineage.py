"""What alerts and commands say of where they come from: it is right, and it does not depend on how the log was cut."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flows.publish import live_records
from flows.shard import Shard
from operators.command_reading import read_request
from operators.definition_json import definition_hash
from operators.frames import Frames
from operators.gate import Gate, Told
from tests.flows.mixed_input import FLEET, messages

COUNT = 2400
VALUES, ARRIVALS = messages(COUNT)
PUMP = FLEET.types["pump"]


def record(offset: int) -> Frames:
    return Frames.of([VALUES[offset]], arrival=ARRIVALS[offset], first_offset=offset)


class Step:
    """One record, what was told after it, and the revision of every twin then."""

    def __init__(self, shard: Shard, offset: int) -> None:
        self.offset = offset
        out = shard.push(record(offset))
        records = live_records(out, shard="03gb", partition=3)
        self.alerts = [msgspec.json.decode(r.value or b"") for r in records if r.topic == "alerts"]
        self.requests = [(r.key, r.value or b"") for r in records if r.topic == "command-requests"]
        self.revisions = {
            name: lane.state.revision(d) for lane in out.lanes for d, name in enumerate(lane.names)
        }  # fmt: skip


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    shard = Shard(FLEET.type_of)
    return [Step(shard, offset) for offset in range(COUNT)]


def alerts(steps: list[Step]) -> list[tuple[Step, dict[str, Any]]]:
    return [(step, alert) for step in steps for alert in step.alerts]


def test_the_record_of_an_alert_is_the_one_after_which_it_was_said(steps: list[Step]) -> None:
    places = [(a["lineage"]["topic"], a["lineage"]["partition"], a["lineage"]["offset"]) for _, a in alerts(steps)]
    assert places == [("samples", 3, step.offset) for step, _ in alerts(steps)]
    waited = {a["rule"] for step, a in alerts(steps) if a["offset"] < step.offset}
    assert waited == {"ordered"}


def test_the_revision_is_that_of_the_twin_after_that_record(steps: list[Step]) -> None:
    found = alerts(steps)
    assert [a["lineage"]["revision"] for _, a in found] == [step.revisions[a["device"]] for step, a in found]
    assert min(a["lineage"]["revision"] for _, a in found) > 0


def test_the_range_begins_at_the_record_that_the_alert_names_first(steps: list[Step]) -> None:
    raised: dict[str, int] = {}
    for _, alert in alerts(steps):
        lineage, before = alert["lineage"], raised.get(alert["id"])
        assert lineage["from_offset"] <= lineage["offset"]
        if alert["state"] == "returned":
            assert lineage["from_offset"] == before
        raised[alert["id"]] = alert["offset"]
    silent = [a for _, a in alerts(steps) if (a["rule"], a["state"]) == ("silent", "raised")]
    temps = [i for i, value in enumerate(VALUES) if b'"temp"' in value]
    assert silent
    assert {a["lineage"]["from_offset"] for a in silent} <= {*temps, *range(20)}


def test_the_definition_and_the_model_are_named_by_version_and_hash(steps: list[Step]) -> None:
    lineages = [a["lineage"] for _, a in alerts(steps)]
    assert {msgspec.json.encode(x["definition"]) for x in lineages} == {
        msgspec.json.encode({"twin_type": "pump", "version": 1, "hash": definition_hash(PUMP)})
    }
    models = {a["rule"]: a["lineage"]["model"] for _, a in alerts(steps)}
    assert {rule: (m["method"], m["version"]) for rule, m in models.items()} == {
        "high": ("above", 1), "silent": ("absent", 1), "after": ("followed_by", 1), "lacking": ("not_followed_by", 1),
        "spikes": ("ewma_z", 1), "ordered": ("ewma_z", 1), "joint": ("pca_residual", 1),
    }  # fmt: skip
    assert len({m["hash"] for m in models.values()}) == len(models)


def judged(key: bytes | None, value: bytes) -> Told:
    asked = read_request(key, value, where="command-requests/3@7")
    asked = msgspec.structs.replace(asked, place=("command-requests", 3, 7))
    return Gate(FLEET.type_of).request(asked, asked.ts_ns)


def test_a_command_carries_its_request_its_definition_and_the_lineage_of_its_alert(steps: list[Step]) -> None:
    step = next(s for s in steps if s.requests)
    [alert] = [a for a in step.alerts if a["command"]]
    told = judged(*step.requests[0])
    [dispatch] = told.dispatches
    lineage = msgspec.json.decode(msgspec.json.encode(dispatch.lineage))
    assert lineage == {
        "topic": "command-requests", "partition": 3, "offset": 7,
        "definition": {"twin_type": "pump", "version": 1, "hash": definition_hash(PUMP)},
        "cause": {"alert": alert["id"], **alert["lineage"]},
    }  # fmt: skip
    assert all(event.lineage == dispatch.lineage for event in told.events)


@pytest.mark.parametrize("claim", [b"1", b'"x"', b'{"x":"%s"}' % (b"y" * 3000)], ids=["number", "text", "long"])
def test_a_lineage_that_is_no_short_object_is_left_out_and_the_command_judged_all_the_same(claim: bytes) -> None:
    value = b'{"id":"c","device":"pump-1","verb":"stop","issuer":"rule:x","ts_ns":1700000000000000000,"lineage":%s}'
    [dispatch] = judged(b"pump-1", value % claim).dispatches
    assert dispatch.lineage is not None
    assert bytes(dispatch.lineage.cause) == b"null"
