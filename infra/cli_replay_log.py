"""`twinflow replay-log`: the recorded samples through the same code again, as fast as it goes, and what differs."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.kafka_offsets import BrokerOffsets
from connectors.recorded import Recorded
from flows.decision_diff import Diff, diff
from flows.publish import ALERTS, INPUT, REQUESTS
from flows.reexecute import NoStart, Starts
from flows.replay_log import TABLES, Replayed, recorded_decisions, replay, spans
from flows.warm import warm
from infra.address import kafka_address
from infra.cli_asof import instant, rfc3339
from infra.cli_explain import starts_of
from infra.errors import CommandError, ExitCode, UsageFault
from infra.paths import Folders
from infra.settings import Settings
from operators.definition import TwinType
from operators.definition_yaml import load

FLOW = "telemetry"


@dataclass(frozen=True, slots=True)
class Wish:
    """The command line: see `twinflow replay-log --help`."""

    start: str
    end: str
    flow: str = FLOW
    definition: Path | None = None
    diff: bool = False


@dataclass(slots=True)
class Outcome:
    """What came out of all shards. `lost`: shards that could not be replayed, and why."""

    shards: list[Replayed]
    differences: Diff
    lost: list[str]
    expired: bool = False


def replay_log(folders: Folders, settings: Settings, wish: Wish, *, as_json: bool) -> ExitCode:
    """Replay, compare if asked, print; FAILED where the definitions of then decide otherwise now.

    Raises:
        UsageFault: a time, the flow or the definition makes no sense.
        DefinitionError: the definition does not hold together.
        NotRunning: there is no Kafka to ask.
    """
    from_ns, to_ns = instant(wish.start, "--from"), instant(wish.end, "--to")
    if from_ns >= to_ns:
        raise UsageFault(what="--to", why="is not after --from", fix="write a later time")
    if wish.flow != FLOW:
        raise UsageFault(what=f"--flow {wish.flow}", why="cannot be replayed", fix=f"write --flow {FLOW}")
    changed = None if wish.definition is None else load(wish.definition)
    bootstrap = kafka_address(folders, settings, [INPUT, ALERTS, REQUESTS, *TABLES])
    with Recorded(bootstrap, INPUT) as recorded:
        starts = starts_of(folders, settings, recorded)
        if changed is not None and changed.name not in starts.today.types:
            known = ", ".join(sorted(starts.today.types))
            raise UsageFault(what=f"--definition {wish.definition}", why=f"no twin is a {changed.name}", fix=known)
        warmed = warm({**starts.today.types, **({changed.name: changed} if changed else {})}.values())
        started = time.perf_counter()
        out = _run(bootstrap, recorded, starts, wish, (from_ns, to_ns), changed)
        seconds = time.perf_counter() - started
    if not out.shards and out.lost:
        raise CommandError(what="replay-log", why=out.lost[0], fix="name a later --from")
    told = _told(out, wish, (from_ns, to_ns), seconds) | {"warm_up_seconds": round(warmed, 2)}
    sys.stdout.write(json.dumps(told, indent=2) + "\n" if as_json else "\n".join(_lines(told, wish)) + "\n")
    if out.lost or not out.shards:
        return ExitCode.NO_VERDICT
    return ExitCode.FAILED if changed is None and out.differences.differs else ExitCode.OK


def _run(
    bootstrap: str, recorded: Recorded, starts: Starts, wish: Wish, range_ns: tuple[int, int], changed: TwinType | None
) -> Outcome:
    out = Outcome([], Diff(), [])
    offsets = BrokerOffsets(bootstrap, group=FLOW)
    try:
        committed = {p: offset for (_, p), offset in offsets.committed([(INPUT, p) for p in recorded.first]).items()}
    finally:
        offsets.close()
    for span in spans(recorded, *range_ns, committed=committed, fleet=starts.today):
        try:
            replayed = replay(recorded, starts, span, changed)
        except NoStart as error:
            out.lost.append(str(error))
            continue
        out.shards.append(replayed)
        if wish.diff:
            then = recorded_decisions(bootstrap, span, range_ns[0])
            out.differences.add(diff(then, replayed.made, changed=changed is not None))
    return out


def _told(out: Outcome, wish: Wish, range_ns: tuple[int, int], seconds: float) -> dict[str, Any]:
    digest = hashlib.sha256()
    for shard in out.shards:
        digest.update(f"{shard.span.partition} {shard.span.first} {shard.span.past} {shard.made.digest()}\n".encode())
    counts = {t: sum(len(s.made.documents[t]) for s in out.shards) for t in (ALERTS, REQUESTS)}
    counts |= {t: sum(p.num_rows for s in out.shards for p in s.made.parts[t]) for t in TABLES}
    told: dict[str, Any] = {
        "flow": wish.flow, "from": rfc3339(range_ns[0]), "to": rfc3339(range_ns[1]),
        "definition": str(wish.definition or ""), "shards": len(out.shards),
        "records": sum(s.records for s in out.shards), "records_before": sum(s.before for s in out.shards),
        "decided": counts, "seconds": round(seconds, 3),
        "real_time": round((range_ns[1] - range_ns[0]) / 1e9 / max(seconds, 1e-9), 1),
        "notes": [note for s in out.shards for note in s.notes] + out.lost,
    }  # fmt: skip
    if wish.diff:
        told |= {"differs": out.differences.differs, "diff": out.differences.to_dict()}
    return told | {"hash": digest.hexdigest()}


def _lines(told: dict[str, Any], wish: Wish) -> Iterator[str]:
    under = f"with {told['definition']}" if told["definition"] else "with the definitions of then"
    yield f"{told['flow']} from {told['from']} to {told['to']}, {under}"
    yield from told["notes"]
    if not told["shards"]:
        yield "no sample that the flow has committed arrived in this time"
    if wish.diff:
        head = ("decided by", "then", "now", "same", "changed", "missing", "added")
        rows: list[tuple[str, ...]] = [head]
        for topic, named in told["diff"].items():
            rows += [(f"{topic} {n}" if n != topic else n, *(f"{c[k]:,}" for k in head[1:])) for n, c in named.items()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        for row in rows:
            yield "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for topic, named in told["diff"].items():
            for name, compared in named.items():
                yield from (f"{topic} {name}: {_example(one)}" for one in compared["examples"])
    decided = ", ".join(f"{count:,} {topic.replace('-', ' ')}" for topic, count in told["decided"].items())
    yield f"{told['records']:,} records of {told['shards']} shards in {told['seconds']:g} s: {decided}"
    yield f"{told['real_time']:,} times real time; hash {told['hash']}"


def _example(one: dict[str, Any]) -> str:
    """One difference in a line: what, whose, when, and how it differs.

    >>> _example({"kind": "missing", "device": "p-7", "raised_ns": 1700000000500000000, "cause": "Hot"})
    'missing p-7 2023-11-14T22:13:20.500000000Z Hot'
    """
    at = next((one[k] for k in ("raised_ns", "ts_ns", "window_start_ns", "returned_ns") if one.get(k)), None)
    words = [one["kind"], str(one.get("device", "")), str(one.get("signal", "")), rfc3339(at) if at else ""]
    words.append(str(one.get("cause") or one.get("reason") or ""))
    if one.get("differs"):
        words.append(", ".join(f"{k} {_pair(v)}" for k, v in one["differs"].items()))
    return " ".join(filter(None, words))


def _pair(value: Any) -> str:
    return f"{value[0]} -> {value[1]}" if isinstance(value, list) else f"{value:+g}" if value is not None else "or not"
