"""What the recordings that `up` plays over and over do to telemetry."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from connectors.recordings.endless import Endless
from connectors.simulator import encode, headers
from flows.recordings import CUTS, loops_of
from flows.settings import TWINS
from flows.shard import Shard
from operators.definition_yaml import load_fleet
from operators.frames import Frames

START_S = 1_800_000_000
FLEET = load_fleet(TWINS / "fleet.yaml", TWINS)


@pytest.mark.parametrize(
    ("name", "rounds", "alarms"),
    [
        ("husky", 3.2, {}),
        ("nab", 1.2, {}),
        ("citylearn", 1.0, {"load_high": 3, "jumps": 6, "demand": 1}),
    ],
)
def test_rounds_bring_nothing_late_repeated_or_refused_and_only_alarms_that_have_a_reason(
    name: str, rounds: float, alarms: dict[str, int]
) -> None:
    [loop] = loops_of([name], FLEET.type_of)
    source, shard = Endless([loop], START_S * 10**9), Shard(FLEET.type_of)
    raised: Counter[str] = Counter()
    offset, seconds = 0, int(rounds * loop.period_ns / 10**9)
    for start in range(START_S, START_S + seconds, 20):
        sent: list[tuple[bytes, dict[str, bytes], int]] = []
        for second in range(start + 1, start + 21):
            while source.next_ns < second * 10**9:
                sent += [(encode(m, "b"), {"clock": b"trusted"}, m.ts_ns) for m in source.step()]
            sent.append((msgspec.json.encode({"tick": second * 1000}), {"kind": b"tick"}, second * 10**9))
        out = shard.push(
            Frames.of(
                [value for value, _, _ in sent],
                headers={i: header for i, (_, header, _) in enumerate(sent)},
                arrival=[arrival for _, _, arrival in sent],
                first_offset=offset,
            )
        )
        offset = out.end_offset
        counts = out.ledger.records
        assert (counts.late, counts.duplicate, counts.rejected, counts.quarantined) == (0, 0, 0, 0)
        for lane in out.lanes:
            assert lane.gaps is None or len(lane.gaps) == 0
            raised.update(alert.rule for alert in lane.alerts if alert.state == "raised")
    assert {rule: count for rule, count in raised.items() if count > alarms.get(rule, 0)} == {}


def test_the_devices_are_none_of_those_that_a_replay_of_the_same_recording_uses() -> None:
    devices = {device for loop in loops_of(list(CUTS), FLEET.type_of) for device in loop.device}
    assert devices == {"husky-loop", "nab-loop", "citylearn-loop"}
    assert all(headers(m) == [("clock", b"trusted")] for m in Endless(loops_of(["nab"], FLEET.type_of), 0).step())


def test_a_recording_that_does_not_fit_the_fleet_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    assert loops_of(["husky"], lambda _device: None) == []
    assert "recording husky is left out: device 'husky-loop': no twin type fits it" in caplog.text
