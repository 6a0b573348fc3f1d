"""The laws of the command gate: they hold for any input, in any order, whatever dies in between."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.command_records import ENDS, LATE, Answer, Asked, Event
from operators.definition import SECOND
from operators.gate import Gate, Told
from tests.operators.gate_cases import T0, answer, asked, type_of

COMMANDS, DEVICES = ("a", "b", "c", "d"), ("v1", "v2", "x1")
VERBS = ("open", "open", "set", "weld_shut", "acknowledge", "jump")
QUICK = settings(max_examples=60)
STATUSES = ("accepted", "done", "failed", "refused")
STEP = 2 * SECOND


@dataclass(frozen=True)
class Step:
    """One input: time that passes before it, and what comes."""

    passes: int
    what: Asked | Answer


def requests(now: int) -> st.SearchStrategy[Asked]:
    return st.builds(
        lambda command, device, verb, at, fault: asked(
            command, device, verb, at=now + at * SECOND, arguments={"alarm": "1"}, fault=fault
        ),
        st.sampled_from(COMMANDS), st.sampled_from(DEVICES), st.sampled_from(VERBS),
        st.sampled_from((-60, -20, -1, 0, 4, 20)), st.sampled_from(("", "", "", "bad_shape: x")),
    )  # fmt: skip


ANSWERS = st.builds(answer, st.sampled_from(STATUSES), st.sampled_from((*COMMANDS, "z")), st.sampled_from(DEVICES))


@st.composite
def streams(draw: st.DrawFn) -> list[Step]:
    """Requests, repeats of earlier ones, answers right and forged, in any order."""
    now, steps = 0, list[Step]()
    for _ in range(draw(st.integers(1, 25))):
        passes = draw(st.sampled_from((0, 0, SECOND, 4 * SECOND, 20 * SECOND)))
        now += passes
        earlier = [s.what for s in steps if isinstance(s.what, Asked)]
        kinds: list[st.SearchStrategy[Asked | Answer]] = [requests(now), ANSWERS]
        kinds += [st.sampled_from(earlier)] if earlier else []
        steps.append(Step(passes, draw(st.one_of(kinds))))
    return steps


@dataclass
class Run:
    """All that a gate told over a stream."""

    events: list[Event] = field(default_factory=list)
    dispatches: list[str] = field(default_factory=list)
    dead: list[tuple[str, str]] = field(default_factory=list)

    def take(self, told: Told) -> None:
        self.events += told.events
        self.dispatches += [d.id for d in told.dispatches]
        self.dead += [told.dead] if told.dead else []

    def lives(self) -> dict[str, list[Event]]:
        """Events by command, without those told again."""
        found: dict[str, list[Event]] = {}
        for event in self.events:
            if not event.again:
                found.setdefault(event.id, []).append(event)
        return found


def feed(gate: Gate, what: Asked | Answer, now_ns: int) -> Told:
    return gate.request(what, now_ns) if isinstance(what, Asked) else gate.answer(what, now_ns)


def run(steps: list[Step], *, ticks: bool = False, restart_before: int = -1) -> Run:
    gate, now, out = Gate(type_of), T0, Run()
    for i, step in enumerate(steps):
        now += step.passes
        if i == restart_before:
            gate = Gate(type_of)
            gate.restore(out.events)
        if ticks:
            out.take(gate.tick(now))
        out.take(feed(gate, step.what, now))
    out.take(gate.tick(now + 3600 * SECOND))
    return out


@QUICK
@given(streams())
def test_the_same_input_gives_the_same_output(steps: list[Step]) -> None:
    assert run(steps) == run(steps)


@QUICK
@given(streams())
def test_when_time_is_told_changes_no_life(steps: list[Step]) -> None:
    assert run(steps).lives() == run(steps, ticks=True).lives()


@QUICK
@given(streams(), st.integers(0, 25))
def test_a_gate_that_goes_on_from_the_events_is_the_uninterrupted_one(steps: list[Step], cut: int) -> None:
    assert run(steps, restart_before=cut) == run(steps)


@QUICK
@given(streams())
def test_every_request_that_is_judged_has_one_end_and_is_dispatched_at_most_once(steps: list[Step]) -> None:
    out = run(steps)
    for command, life in out.lives().items():
        ends = [e.stage for e in life if e.stage in ENDS and not e.reason.startswith(LATE)]
        assert len(ends) == 1, command
        assert life[0].stage == "requested"
        assert [e.ts_ns for e in life] == sorted(e.ts_ns for e in life)
        assert out.dispatches.count(command) == sum(e.stage == "dispatched" for e in life) <= 1
    asked_for = {s.what.id for s in steps if isinstance(s.what, Asked)}
    assert set(out.lives()) == asked_for


@QUICK
@given(
    streams(),
    st.integers(1, 4),
    st.lists(st.sampled_from((-30, 0, 0, 30)), min_size=25, max_size=25),
    st.sets(st.integers(0, 25)),
    st.integers(1, 12),
)
def test_no_command_is_dispatched_twice_whatever_is_forgotten_wherever_the_clock_is(
    steps: list[Step], most: int, skews: list[int], restarts: set[int], kept: int
) -> None:
    """A memory of a few ids, a clock that jumps by up to a minute, restarts that see only the last few events."""
    gate, arrival, out = Gate(type_of, most=most), T0, Run()
    arrivals: list[int] = []
    for i, step in enumerate(steps):
        arrival += step.passes
        now = arrival + skews[i] * SECOND
        if i in restarts:
            gate = Gate(type_of, most=most)
            whole = len(out.events) <= kept
            gate.restore(out.events[-kept:], since_ns=0 if whole else arrivals[-kept] + 60 * SECOND)
        told = [gate.tick(now), feed(gate, step.what, now)]
        for one in told:
            out.take(one)
        arrivals += [arrival] * (len(out.events) - len(arrivals))
    assert max(Counter(out.dispatches).values(), default=0) <= 1
