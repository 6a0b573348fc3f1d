"""Commands and what they do to alarms: folded from the gate's events, asked for by POST, kept over a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.kafka_commit import Record
from connectors.live_commands import MOST, SPARE, Command
from connectors.live_view import LiveView
from dashboards.api.alarms import listed
from dashboards.api.commands import listed as commands
from dashboards.api.settings import ApiSettings
from flows.documents import document
from tests.api.serving import FLEET, SECOND, Served, alert, arrived, live, send, serving, until
from tests.api.test_live_view import T0, new_view, status_of

HOUR = 3600 * SECOND


def event(command: str, stage: str, ts_ns: int, **more: Any) -> Record:
    """A `command-events` record as the gate writes it."""
    value = {
        "id": command, "device": "pump-1", "verb": "stop", "stage": stage, "ts_ns": ts_ns, "arguments": {},
        "issuer": "person:mara", "reason": "", "detail": None,
    } | more  # fmt: skip
    return document("command-events", str(value["device"]), value, partition=0)


def of_alarm(command: str, verb: str, ts_ns: int, reason: str = "", **arguments: Any) -> list[Record]:
    """The three events of a command that the gate itself carries out."""
    more: dict[str, Any] = {"verb": verb, "arguments": arguments}
    stages = [("requested", reason), ("authorised", ""), ("effect", "")]
    return [event(command, s, ts_ns + i, reason=why, **more) for i, (s, why) in enumerate(stages)]


def take(view: LiveView, records: list[Record]) -> None:
    view.take([arrived(r) for r in records])


def one(view: LiveView) -> Command:
    [found] = commands(view)
    return found


def with_alarm() -> LiveView:
    view, _ = new_view()
    take(view, [*live("pump-1", [("temp", T0, 95.0)]), alert("a", "pump-1", "raised", T0 - 9 * SECOND)])
    return view


def test_a_life_up_to_its_effect_has_every_stage_and_the_checks_of_the_verdict() -> None:
    view = with_alarm()
    checks = [{"check": "schema", "passed": True, "value": "stop", "limit": "", "why": ""}]
    stages = ("requested", "authorised", "dispatched", "acknowledged", "effect")
    for i, stage in enumerate(stages):
        assert all(c.open for c in commands(view))
        more = {"detail": checks} if stage == "authorised" else {"deadline_ns": T0 + 9} if stage == "dispatched" else {}
        take(view, [event("c", stage, T0 + i, reason="x" * (i == 0), **more)])
        assert one(view).deadline_ns == more.get("deadline_ns", 0)
    found = one(view)
    assert (found.stage, found.open, found.why, found.detail) == ("effect", False, "x", checks)
    assert list(found.stages) == list(stages)


@pytest.mark.parametrize("end", ["refused", "timed_out", "failed"])
def test_an_end_is_final_and_a_late_answer_is_told_beside_it(end: str) -> None:
    view = with_alarm()
    take(view, [event("c", "requested", T0), event("c", end, T0 + 1, reason="no answer in 10 s")])
    take(view, [event("c", "acknowledged", T0 + 2, reason="late: accepted"), event("c", end, T0 + 3, reason="again")])
    found = one(view)
    assert (found.stage, found.open, found.reason, found.late) == (end, False, "no answer in 10 s", "late: accepted")
    assert found.stages == {"requested": T0, end: T0 + 1, "acknowledged": T0 + 2}


def test_an_alarm_is_acknowledged_by_the_effect_of_the_command_and_by_nothing_before() -> None:
    view = with_alarm()
    asked = of_alarm("c", "acknowledge", T0, alarm="a")
    take(view, asked[:2])
    assert [a.acknowledged for a in listed(view, state="unacked")] == [None]
    take(view, asked[2:])
    [alarm] = listed(view, state="acked")
    assert alarm.acknowledged is not None
    assert (alarm.acknowledged.who, alarm.acknowledged.at_ns) == ("mara", T0 + 2)
    assert status_of(view, "pump-1").unacknowledged == 0


def test_a_shelved_alarm_is_not_shown_as_open_until_its_end_and_is_then_as_before() -> None:
    view, clock = new_view()
    take(view, of_alarm("c", "shelve", T0, "valve is replaced", alarm="a", until_ns=T0 + HOUR))
    take(view, [*live("pump-1", [("temp", T0, 95.0)]), alert("a", "pump-1", "raised", T0 - SECOND)])
    assert (status_of(view, "pump-1").state, status_of(view, "pump-1").unacknowledged) == ("ok", 0)
    [alarm] = listed(view, state="shelved")
    assert alarm.shelved is not None
    assert (alarm.shelved.who, alarm.shelved.reason, alarm.state) == ("mara", "valve is replaced", "open")
    assert listed(view, state="unacked") == []
    clock.now = T0 + HOUR
    take(view, live("pump-1", [("temp", clock.now, 95.0)]))
    assert (status_of(view, "pump-1").state, status_of(view, "pump-1").unacknowledged) == ("alarm", 1)
    [again] = listed(view, state="unacked")
    assert listed(view, state="shelved") == []
    assert again.was_shelved is not None
    assert again.was_shelved.until_ns == T0 + HOUR


def test_a_shelving_can_be_ended_before_its_end() -> None:
    view = with_alarm()
    take(view, of_alarm("c", "shelve", T0 - 8, "why", alarm="a", until_ns=T0 + HOUR))
    assert [a.id for a in listed(view, state="shelved")] == ["a"]
    take(view, of_alarm("d", "unshelve", T0 - 4, alarm="a"))
    [alarm] = listed(view, state="unacked")
    assert alarm.was_shelved is not None
    assert alarm.shelved is None
    assert alarm.was_shelved.until_ns == T0 - 2


def test_only_the_newest_commands_are_kept_in_whatever_order_partitions_are_read() -> None:
    view, _ = new_view()
    times = [T0 + i * (-1) ** i for i in range(MOST + SPARE + 1)]
    take(view, [event(f"c{i}", "requested", t) for i, t in enumerate(times)])
    assert [c.at_ns for c in view.commands.listed()] == sorted(times, reverse=True)[:MOST]


@pytest.fixture(scope="module")
def served(bootstrap: str) -> Iterator[Served]:
    with serving(ApiSettings(kafka=bootstrap, fleet=FLEET, commands=True)) as made:
        yield made


def test_commands_for_alarms_are_checked_before_they_are_asked_for(bootstrap: str, served: Served) -> None:
    now = time.time_ns()
    send(bootstrap, [*live("pump-k", [("temp", now, 92.5)]), alert("k1", "pump-k", "raised", now)])
    send(bootstrap, live("pump-k2", [("temp", now, 2.5)]))
    until(lambda: [a for a in served.get("/api/alarms?state=unacked") if a["id"] == "k1"])
    until(lambda: served.ask("/api/twins/pump-k2")[0] == 200)

    def asked(verb: str, device: str = "pump-k", reason: str = "", **arguments: Any) -> int:
        wish = {"device": device, "verb": verb, "arguments": arguments, "reason": reason}
        return served.ask("/api/commands", wish)[0]

    until_ns = now + HOUR
    assert asked("acknowledge", alarm="nobody") == asked("acknowledge") == 404
    assert asked("acknowledge", device="pump-k2", alarm="k1") == 400
    assert asked("shelve", alarm="k1", until_ns=until_ns) == asked("shelve", reason=" ", alarm="k1", until_ns=1) == 400
    for end in (None, now - 1, now + 8 * 24 * HOUR, "tomorrow", True):
        assert asked("shelve", reason="why", alarm="k1", until_ns=end) == 400
    assert asked("unshelve", alarm="k1") == 409
    assert asked("shelve", reason="why", alarm="k1", until_ns=until_ns) == asked("acknowledge", alarm="k1") == 202


def test_a_page_that_starts_again_still_knows_who_acknowledged_and_what_is_shelved(bootstrap: str) -> None:
    now, shard = time.time_ns(), {"device": "pump-r"}
    send(bootstrap, [alert(name, "pump-r", "raised", now - 5 * 24 * HOUR) for name in ("r1", "r2")])
    seen = {"verb": "acknowledge", "arguments": {"alarm": "r1"}, **shard}
    aside = {"verb": "shelve", "arguments": {"alarm": "r2", "until_ns": now + HOUR}, "reason": "spare part", **shard}
    send(bootstrap, [event("q1", "effect", now - 4 * 24 * HOUR, **seen), event("q2", "effect", now - HOUR, **aside)])
    for _ in range(2):
        with serving(ApiSettings(kafka=bootstrap, fleet=FLEET, commands=True)) as made:
            found = {a["id"]: a for a in made.get("/api/alarms") if a["twin"] == "pump-r"}
            assert found["r1"]["acknowledged"]["who"] == "mara"
            assert (found["r2"]["shelved"]["reason"], found["r2"]["shelved"]["until_ns"]) == ("spare part", now + HOUR)
            assert [a["id"] for a in made.get("/api/alarms?state=shelved")] == ["r2"]
