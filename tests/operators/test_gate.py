"""The command gate: what it decides, and what it tells."""

from __future__ import annotations

import pytest

from operators.command_records import AHEAD_NS, LATE, WINDOW_NS, Asked, Check
from operators.definition import SECOND, CommandSpec
from operators.gate import REACH_NS, Gate, Told
from operators.gate_checks import CHECKS, MOST_WAITING, SLOTS
from tests.operators.gate_cases import T0, answer, asked, stages, type_of


def verdict(told: Told) -> tuple[str, str]:
    """Failing check and why."""
    event = told.events[-1]
    assert event.stage == "refused"
    assert told.dispatches == []
    assert event.detail is not None
    failed = event.detail[-1]
    assert [c.check for c in event.detail] == list(CHECKS[: len(event.detail)])
    assert [c.passed is False for c in event.detail] == [False] * (len(event.detail) - 1) + [True]
    assert event.reason == f"{failed.check}: {failed.why}"
    return failed.check, failed.why


def test_a_good_request_is_dispatched_with_its_deadline_and_tells_every_check() -> None:
    told = Gate(type_of).request(asked(arguments={"share": 0.5}, verb="set"), T0 + 7)
    assert stages(told) == ["requested", "authorised", "dispatched"]
    [sent] = told.dispatches
    assert (sent.ts_ns, sent.deadline_ns, bytes(sent.arguments)) == (T0 + 7, T0 + 7 + 60 * SECOND, b'{"share":0.5}')
    detail = told.events[1].detail
    assert detail is not None
    assert [c.check for c in detail] == list(CHECKS)
    assert {c.check for c in detail if c.passed is None} == set(SLOTS)
    assert all(c.passed for c in detail if c.check not in SLOTS)


def test_what_the_type_does_not_understand_is_refused_by_the_schema() -> None:
    for wrong, why in (
        (asked(device="x1"), "no pattern of the fleet fits 'x1'"),
        (asked(verb="close"), "valve understands open, set, weld_shut"),
        (asked(verb="set", arguments={"share": 2}), "arguments.share: 2 is greater than the maximum of 1"),
        (asked(fault="bad_value: NaN is no finite number"), "bad_value: NaN is no finite number"),
        (asked(verb="acknowledge"), "arguments: 'alarm' is a required property"),
    ):
        assert verdict(Gate(type_of).request(wrong, T0)) == ("schema", why)


def test_an_argument_past_every_float_is_refused_not_a_crash() -> None:
    check, why = verdict(Gate(type_of).request(asked(verb="set", arguments={"share": -(10**400)}), T0))
    assert (check, why[:28]) == ("schema", "arguments: cannot be judged:")


@pytest.mark.parametrize(
    ("at", "life", "why"),
    [
        (-31 * SECOND, WINDOW_NS, "expired 1 s ago"),
        (AHEAD_NS + SECOND, WINDOW_NS, "asked 6 s from now: the clock of person:ann is ahead"),
        (0, WINDOW_NS + SECOND, "good for 31 s; more than 0 s, at most 30 s are allowed"),
        (0, 0, "good for 0 s; more than 0 s, at most 30 s are allowed"),
    ],
)
def test_outside_its_time_window_a_request_is_refused(at: int, life: int, why: str) -> None:
    wrong = asked(at=at, expires_ns=T0 + at + life)
    assert verdict(Gate(type_of).request(wrong, T0)) == ("deadline", why)


def test_a_grave_verb_waits_for_a_second_approval_that_nobody_can_give_yet() -> None:
    assert verdict(Gate(type_of).request(asked(verb="weld_shut"), T0))[0] == "second_approval"


@pytest.mark.parametrize("slot", SLOTS)
def test_a_slot_that_is_demanded_and_empty_refuses_and_one_that_is_filled_decides(slot: str) -> None:
    demanded = Gate(type_of, required=[slot]).request(asked(), T0)
    assert verdict(demanded) == (slot, f"{slot} is demanded by a setting, but nothing does it")

    def even(one: Asked, spec: CommandSpec, now_ns: int) -> Check:
        return Check(slot, now_ns % 2 == 0, one.verb, spec.verb, "odd")

    gate = Gate(type_of, slots={slot: even}, required=[slot])
    assert stages(gate.request(asked("a"), T0))[-1] == "dispatched"
    assert verdict(gate.request(asked("b"), T0 + 1)) == (slot, "odd")


def test_a_device_that_owes_too_many_ends_gets_no_more_commands() -> None:
    gate = Gate(type_of)
    for i in range(MOST_WAITING):
        gate.request(asked(f"c{i}"), T0)
    assert verdict(gate.request(asked(), T0))[0] == "dispatch"
    assert stages(gate.request(asked("other", "v2"), T0))[-1] == "dispatched"
    gate.answer(answer("done", "c0"), T0)
    assert stages(gate.request(asked("again"), T0))[-1] == "dispatched"


def test_alarm_verbs_are_carried_out_by_the_gate_itself() -> None:
    hour, week = 3600 * SECOND, 7 * 86_400 * SECOND
    gate = Gate(type_of)
    for i, until_ns in enumerate((T0 + hour, T0 + week)):
        good = asked(f"g{i}", verb="shelve", arguments={"alarm": "a", "until_ns": until_ns}, reason="service")
        told = gate.request(good, T0)
        assert (stages(told), told.dispatches) == (["requested", "authorised", "effect"], [])
    for i, (until_ns, reason) in enumerate([(T0, "x"), (T0 + week + 1, "x"), (T0 + hour, " ")]):
        wrong = asked(f"w{i}", verb="shelve", arguments={"alarm": "a", "until_ns": until_ns}, reason=reason)
        assert verdict(gate.request(wrong, T0))[0] == "schema"
    assert gate.answer(answer("done", "g0"), T0).dead == ("not_dispatched", "command 'g0' was never sent to a device")


def after(*statuses: str, late: bool = False) -> tuple[list[tuple[str, bool]], list[str]]:
    """Stages past `dispatched` with whether they are told as late, and dead letters, of these answers in a row."""
    gate = Gate(type_of)
    gate.request(asked(), T0)
    told = [gate.tick(T0 + 6 * SECOND)] if late else []
    told += [gate.answer(answer(status, detail="words"), T0 + (7 if late else 1) * SECOND) for status in statuses]
    found = [(str(e.stage), e.reason.startswith(LATE)) for one in told for e in one.events]
    return found, [one.dead[0] for one in told if one.dead]


def test_every_answer_has_one_meaning_and_a_repeat_has_none() -> None:
    acknowledged, effect, failed = ("acknowledged", False), ("effect", False), ("failed", False)
    assert after("accepted", "accepted") == ([acknowledged], [])
    assert after("done", "accepted", "done") == ([acknowledged, effect], [])
    assert after("accepted", "done") == ([acknowledged, effect], [])
    assert after("accepted", "failed", "accepted", "failed") == ([acknowledged, failed], [])
    assert after("refused", "accepted", "done") == ([failed], ["after_the_end"])
    assert after("done", "failed") == ([acknowledged, effect], ["after_the_end"])


def test_after_the_time_out_every_answer_is_told_as_late() -> None:
    out, acknowledged, effect = ("timed_out", False), ("acknowledged", True), ("effect", True)
    assert after("accepted", "done", "done", late=True) == ([out, acknowledged, effect], [])
    assert after("failed", "done", late=True) == ([out, ("failed", True)], ["after_the_end"])


def test_without_a_tick_an_answer_after_the_deadline_is_late_all_the_same() -> None:
    gate = Gate(type_of)
    gate.request(asked(), T0)
    told = gate.answer(answer("done"), T0 + 5 * SECOND + 1)
    assert stages(told) == ["timed_out", "acknowledged", "effect"]
    assert told.events[0].ts_ns == T0 + 5 * SECOND


def test_what_was_accepted_has_as_long_again_to_be_done() -> None:
    gate = Gate(type_of)
    gate.request(asked(), T0)
    gate.answer(answer("accepted"), T0 + 4 * SECOND)
    assert gate.tick(T0 + 9 * SECOND).events == []
    [event] = gate.tick(T0 + 9 * SECOND + 1).events
    assert (event.stage, event.reason) == ("timed_out", "accepted, but not done within 5 s")


def test_another_command_under_a_known_id_is_set_aside_and_the_first_is_told_again() -> None:
    gate = Gate(type_of)
    gate.request(asked(), T0)
    told = gate.request(asked(verb="set"), T0)
    assert told.dead == ("id_taken", "id 'c' is that of another command: open of 'v1'")
    assert [(e.stage, e.verb, e.again) for e in told.events] == [("dispatched", "open", True)]


def test_an_id_is_forgotten_only_when_its_request_has_expired() -> None:
    gate = Gate(type_of, most=2)
    for command in ("a", "b"):
        gate.request(asked(command), T0)
        gate.answer(answer("done", command), T0)
    full = gate.request(asked("c"), T0 + WINDOW_NS)
    assert (full.events, full.dead and full.dead[0]) == ([], "gate_full")
    later = T0 + WINDOW_NS + 1
    assert stages(gate.request(asked("c", at=WINDOW_NS), later))[-1] == "dispatched"
    assert len(gate) == 2
    [again] = gate.request(asked("b"), later).events  # still known
    assert (again.stage, again.again) == ("effect", True)


def test_a_forgotten_id_cannot_come_again_even_if_the_clock_is_set_back() -> None:
    gate, later, day = Gate(type_of, most=4), T0 + WINDOW_NS + 1, 86_400 * SECOND
    for command in ("a", "b", "c", "d"):
        gate.request(asked(command), T0)
        gate.answer(answer("done", command), T0)
    gate.request(asked("e", at=day), later)  # of a wrong clock: may fill half of the memory
    assert len(gate) == 2
    check, why = verdict(gate.request(asked("a"), T0))
    assert (check, why[:30]) == ("idempotency", "the gate no longer knows the i")


def test_requests_from_a_wrong_clock_fill_half_of_the_memory_at_most() -> None:
    gate = Gate(type_of, most=4)
    day = 86_400 * SECOND
    told = [gate.request(asked(f"f{i}", at=day), T0) for i in range(4)]
    assert [stages(one)[-1:] for one in told] == [["refused"], ["refused"], [], []]
    assert stages(gate.request(asked(), T0))[-1] == "dispatched"


def test_a_memory_that_is_cut_refuses_what_it_may_have_seen() -> None:
    gate = Gate(type_of)
    gate.restore([], since_ns=T0)
    assert verdict(gate.request(asked(at=0), T0 + 1))[0] == "idempotency"
    fresh = asked("d", at=REACH_NS)
    assert stages(gate.request(fresh, T0 + REACH_NS))[-1] == "dispatched"


def test_of_a_life_that_is_cut_a_late_answer_alone_is_no_open_command() -> None:
    before = Gate(type_of)
    told = [before.request(asked(), T0), before.tick(T0 + 6 * SECOND)]
    told.append(before.answer(answer("accepted"), T0 + 9 * SECOND))
    gate = Gate(type_of)
    gate.restore(told[-1].events)
    assert gate.waiting == 0
    [event] = gate.answer(answer("done"), T0 + 10 * SECOND).events
    assert (event.stage, event.reason[: len(LATE)]) == ("effect", LATE)


def test_a_life_never_goes_back_in_time_though_the_clock_of_the_broker_is_behind() -> None:
    gate = Gate(type_of)
    gate.request(asked(), T0)
    assert [e.ts_ns for e in gate.answer(answer("done"), T0 - SECOND).events] == [T0, T0]


def test_of_more_than_it_can_remember_a_gate_restores_what_expires_last() -> None:
    before, gate = Gate(type_of), Gate(type_of, most=2)
    told = [before.request(asked(f"c{i}", at=i), T0 + i) for i in range(5)]
    told += [before.answer(answer("done", f"c{i}"), T0 + 9) for i in range(5)]
    gate.restore([event for one in told for event in one.events])
    assert len(gate) == 1
    [again] = gate.request(asked("c4", at=4), T0 + 10).events
    assert again.stage == "effect"
    assert gate.request(asked("c0"), T0 + 10).dispatches == []
