"""`twinflow explain`: why an alert or a command came about, and whether the same code over the same records says so."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.clickhouse import ClickHouse, HistoryError
from connectors.recorded import Recorded
from flows.definition_archive import DefinitionArchive
from flows.explain import EVENTS, Story, Told, alert_story, command_story, everything, in_history, in_topics, once
from flows.publish import ALERTS, INPUT, REQUESTS
from flows.reexecute import Starts, difference, parse_all, reexecute
from flows.settings import TWINS
from flows.state_folder import StateFolder
from infra.address import kafka_address
from infra.cli_asof import history_url, rfc3339
from infra.errors import CommandError, ExitCode, UsageFault
from infra.paths import Folders
from infra.settings import Settings
from operators.definition_yaml import load_fleet

VERDICTS = ("identical", "different", "expired", "no_state")
MOST_SHOWN = 8
"""Signals of a twin, and differences, that are shown to people."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The command line: see `twinflow explain --help`."""

    name: str | None
    reexecute: bool = False
    sample: int = 0
    seed: int = 0


def explain(folders: Folders, settings: Settings, wish: Wish, *, as_json: bool) -> ExitCode:
    """Print the chain of one decision, or the verdicts over a sample of alerts.

    Raises:
        UsageFault: neither an id nor a sample is named, or nothing is known of the id.
        NotRunning: there is no Kafka to ask.
        TopicError: it stopped answering.
    """
    if (wish.name is None) == (wish.sample <= 0):
        raise UsageFault(what="explain", why="it takes an id, or --sample N", fix="twinflow explain ID --reexecute")
    bootstrap = kafka_address(folders, settings, [INPUT, ALERTS, EVENTS])
    with Recorded(bootstrap, INPUT) as recorded:
        starts = starts_of(folders, settings, recorded)
        if wish.name is None:
            return _sample(bootstrap, recorded, starts, wish, as_json=as_json)
        stories = _stories(folders, settings, bootstrap, recorded, starts, wish)
    _print({"id": wish.name, "chain": stories}, [line for s in stories for line in _lines(s)], as_json=as_json)
    return _exit([s["reexecuted"]["verdict"] for s in stories if "reexecuted" in s])


def starts_of(folders: Folders, settings: Settings, recorded: Recorded) -> Starts:
    """The states of the telemetry flow of a data folder, and the definitions of its flows."""
    fleet, types = Path(settings.text("fleet") or TWINS / "fleet.yaml"), Path(settings.text("types") or TWINS)
    state = folders.data / "state"
    archive = DefinitionArchive(state / "definitions")
    return Starts(StateFolder(state / "telemetry"), archive, lambda: load_fleet(fleet, types), recorded.first)


def _stories(
    folders: Folders, settings: Settings, bootstrap: str, recorded: Recorded, starts: Starts, wish: Wish
) -> list[Story]:
    """The chain, from the end to what brought it about: a command, then the alert behind it."""
    assert wish.name is not None
    found = _find(folders, settings, bootstrap, wish.name)
    if not found:
        why = "neither the history nor the topics hold an alert or a command of this id"
        raise UsageFault(what=wish.name, why=why, fix="copy the id from the page or from twinflow asof")
    stories: list[Story] = []
    if any(told.topic in (EVENTS, REQUESTS) for told in found):
        required = [name.strip() for name in settings.text("gate_required").split(",") if name.strip()]
        command = command_story(found, bootstrap, starts, required, again=wish.reexecute)
        stories.append(command)
        found = _find(folders, settings, bootstrap, command["alert"]) if command["alert"] else []
    alerts = [told for told in found if told.topic == ALERTS]
    return stories + [alert_story(told, recorded, starts, again=wish.reexecute) for told in alerts]


def _find(folders: Folders, settings: Settings, bootstrap: str, name: str) -> list[Told]:
    """In the history; where that is away or knows nothing (yet), in the topics."""
    try:
        with ClickHouse(history_url(folders, settings)) as client:
            found = in_history(client, name)
    except (CommandError, HistoryError):
        found = []
    return once(found or in_topics(bootstrap, name))


def _sample(bootstrap: str, recorded: Recorded, starts: Starts, wish: Wish, *, as_json: bool) -> ExitCode:
    started = time.perf_counter()
    alerts = once(list(everything(bootstrap, ALERTS)))
    known = sorted((t for a in alerts for t in parse_all(ALERTS, a.partition, [a.value])), key=lambda t: t.said)
    picked = random.Random(wish.seed).sample(known, min(wish.sample, len(known)))  # noqa: S311  no secret
    outcomes, records = reexecute(recorded, starts, picked)
    counts = Counter[str](outcome.verdict for outcome in outcomes)
    told: dict[str, Any] = {
        "alerts": len(known), "sampled": len(picked), "seed": wish.seed, **{v: counts[v] for v in VERDICTS},
        "records_replayed": records, "seconds": round(time.perf_counter() - started, 2),
        "ids": [o.target.said[1] for o in outcomes],
        "failed": [
            {"id": o.target.said[1], "state": o.target.said[2], "verdict": o.verdict, "why": o.why}
            | ({"differs": difference(o.target.value, o.made)} if o.verdict == "different" else {})
            for o in outcomes if o.verdict != "identical"
        ],
    }  # fmt: skip
    lines = [f"{told['sampled']} of {told['alerts']} alerts, seed {wish.seed}: {_counted(counts)}"]
    lines += [f"  {one['id']} {one['state']}: {one['verdict']}; {one['why']}" for one in told["failed"][:MOST_SHOWN]]
    lines.append(f"{records:,} records worked off again in {told['seconds']:g} s")
    _print(told, lines, as_json=as_json)
    return _exit([outcome.verdict for outcome in outcomes]) if outcomes else ExitCode.NO_VERDICT


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[v]} {v.replace('_', ' ')}" for v in VERDICTS if counts[v]) or "nothing to compare"


def _exit(verdicts: list[str]) -> ExitCode:
    """FAILED where something differs, NO_VERDICT where something could not be worked out."""
    if "different" in verdicts:
        return ExitCode.FAILED
    return ExitCode.OK if all(v == "identical" for v in verdicts) else ExitCode.NO_VERDICT


def _print(told: Story, lines: list[str], *, as_json: bool) -> None:
    sys.stdout.write(json.dumps(told, indent=2) + "\n" if as_json else "\n".join(lines) + "\n")


def _lines(story: Story) -> Iterator[str]:
    yield from _command(story) if story["kind"] == "command" else _alert(story)
    again = story.get("reexecuted")
    if again:
        yield f"  again        {again['verdict'].replace('_', ' ')}" + (f": {again['why']}" if again.get("why") else "")
        differs = again.get("differs", {})
        for one in differs if isinstance(differs, list) else [differs]:
            yield from (f"    {key}: {then!r} then, {now!r} now" for key, (then, now) in list(one.items())[:MOST_SHOWN])


def _alert(story: Story) -> Iterator[str]:
    by, used, lineage = story["decided_by"], story["used"], story["lineage"]
    yield f"{story['sentence']}"
    yield f"  alert        {story['id']} {story['state']}, {by['severity']}"
    yield f"  twin         {story['twin']} ({story['twin_type']}), signal {by['signal']}"
    yield f"  instant      {rfc3339(story['ts_ns'])}"
    definition, model = lineage.get("definition") or {}, lineage.get("model") or {}
    yield f"  decided by   {by['source']} {by['rule']}: {model.get('method')} v{model.get('version')} {_short(model)}"
    yield f"  definition   {definition.get('twin_type')} version {definition.get('version')} {_short(definition)}"
    yield "  used         " + ", ".join(f"{k} {v}" for k, v in used.items() if v not in (None, [], ()))
    for one in story["inputs"]:
        place = f"{one['topic']}/{one['partition']}@{one['offset']}"
        said = one.get("gone") or f"{rfc3339(one['arrival_ns'])} {one.get('raw') or one.get('raw_base64')}"
        yield f"  {one['role'][:12]:<12} {place} {said}"
    yield from _twin(story)


def _twin(story: Story) -> Iterator[str]:
    before = story["before"]
    if before is None:
        yield f"  before       {story.get('before_why') or 'the twin was not there yet'}"
        return
    yield f"  before       revision {before['revision']}"
    for name, cell in list(before["reported"].items())[:MOST_SHOWN]:
        yield f"    {name} = {cell['value']} {cell['unit']} ({rfc3339(cell['ts_ns'])}, quality {cell['quality']})"
    if len(before["reported"]) > MOST_SHOWN:
        yield f"    and {len(before['reported']) - MOST_SHOWN} more signals"


def _command(story: Story) -> Iterator[str]:
    definition = story["lineage"].get("definition") or {}
    yield story["sentence"]
    yield f"  command      {story['id']} {story['verb']} {json.dumps(story['arguments'])}"
    yield f"  definition   {definition.get('twin_type')} version {definition.get('version')} {_short(definition)}"
    for one in story["requests"]:
        yield f"  request      {one['topic']}/{one['partition']}@{one['offset']} {one.get('reason', '')}"
    for check in story["checks"]:
        passed = {True: "passed", False: "failed", None: "no check"}[check["passed"]]
        yield f"    {check['check']:<16} {passed}: {check['why']}"
    for stage in story["stages"]:
        yield f"  {stage['stage']:<12} {rfc3339(stage['ts_ns'])} {stage['reason']}".rstrip()


def _short(version: Story) -> str:
    return f"#{str(version.get('hash', ''))[:12]}"
