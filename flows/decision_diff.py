"""What was decided then beside what is decided now, per rule and detector: the same, changed, missing, added. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from flows.publish import ALERTS, REQUESTS
from flows.replay_log import TABLES, Decisions
from flows.tables import table_hash
from operators.definition import SECOND

EXAMPLES = 3
"""Of each kind of difference, per rule or detector."""
ENDLESS = 1 << 62
LINEAGE = frozenset(("lineage",))
REPEATED = frozenset(("lineage", "limit", "cause", "reason", "threshold"))
Document = dict[str, Any]


@dataclass(slots=True)
class Compared:
    """Counts of one rule, detector or kind of window, and the first few of what differs."""

    then: int = 0
    now: int = 0
    same: int = 0
    changed: int = 0
    missing: int = 0
    added: int = 0
    examples: list[Document] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return self.changed + self.missing + self.added > 0

    def note(self, kind: str, example: Document) -> None:
        """Count one difference, and keep it as an example while there is room for its kind."""
        setattr(self, kind, getattr(self, kind) + 1)
        if sum(one["kind"] == kind for one in self.examples) < EXAMPLES:
            self.examples.append({"kind": kind, **example})

    def add(self, other: Compared) -> None:
        """Count another shard in."""
        for name in ("then", "now", "same", "changed", "missing", "added"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for one in other.examples:
            if sum(mine["kind"] == one["kind"] for mine in self.examples) < EXAMPLES:
                self.examples.append(one)


@dataclass(slots=True)
class Diff:
    """All comparisons by topic and by what decided."""

    by: dict[str, dict[str, Compared]] = field(default_factory=dict)

    def of(self, topic: str, name: str) -> Compared:
        """The one of a rule, a detector, a kind of window."""
        return self.by.setdefault(topic, {}).setdefault(name, Compared())

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return any(one.differs for named in self.by.values() for one in named.values())

    def add(self, other: Diff) -> None:
        """Count another shard in."""
        for topic, named in other.by.items():
            for name, compared in named.items():
                self.of(topic, name).add(compared)

    def to_dict(self) -> Document:
        """As plain data."""
        return {topic: {name: asdict(c) for name, c in sorted(named.items())} for topic, named in self.by.items()}


def diff(then: Decisions, now: Decisions, *, changed: bool = False) -> Diff:
    """The decisions of one shard, then and now.

    Args:
        changed: they were made by different definitions; then what merely repeats a limit is not compared.
    """
    made, apart = Diff(), REPEATED if changed else LINEAGE
    _alerts(made, then.documents[ALERTS].values(), now.documents[ALERTS].values(), apart)
    _requests(made, then.documents[REQUESTS].values(), now.documents[REQUESTS].values(), apart)
    for topic, keys in TABLES.items():
        _rows(made, topic, keys, _without(then.table(topic), apart), _without(now.table(topic), apart))
    return made


def _without(table: pa.Table | None, apart: frozenset[str]) -> pa.Table | None:
    return table if table is None else table.drop_columns([c for c in table.column_names if c in apart])


@dataclass(slots=True)
class Episode:
    """One alert from its raise to its return, as far as both lie in the range."""

    events: dict[str, Document] = field(default_factory=dict)

    @property
    def first(self) -> Document:
        return self.events.get("raised") or self.events["returned"]

    @property
    def span(self) -> tuple[int, int]:
        """ns, both ends included; open ends reach as far as they can."""
        raised, returned = self.events.get("raised"), self.events.get("returned")
        return raised["ts_ns"] if raised else -ENDLESS, returned["ts_ns"] if returned else ENDLESS

    def told(self) -> Document:
        """As an example."""
        raised, returned = self.span
        first = self.first
        found = {"device": first["device"], "id": first["id"], "cause": first["cause"], "value": first["value"]}
        found["raised_ns"] = raised if raised > -ENDLESS else None
        return found | {"returned_ns": returned if returned < ENDLESS else None}


def episodes(alerts: Iterable[Document]) -> dict[str, Episode]:
    """Alerts by id."""
    found: dict[str, Episode] = {}
    for alert in alerts:
        found.setdefault(alert["id"], Episode()).events[alert["state"]] = alert
    return found


def _alerts(made: Diff, then: Iterable[Document], now: Iterable[Document], apart: frozenset[str]) -> None:
    """Alerts are one by their id; of those left, two whose times overlap are the same trouble, told otherwise."""
    before, after = episodes(then), episodes(now)
    for found, name in ((before, "then"), (after, "now")):
        for episode in found.values():
            compared = made.of(ALERTS, episode.first["rule"])
            setattr(compared, name, getattr(compared, name) + 1)
    for same in sorted(before.keys() & after.keys()):
        old, new = before.pop(same), after.pop(same)
        differs: Document = {}
        for state in sorted(old.events.keys() | new.events.keys()):
            fields = _differs(old.events.get(state, {}), new.events.get(state, {}), apart)
            differs |= {f"{state}.{name}": pair for name, pair in fields.items()}
        compared = made.of(ALERTS, old.first["rule"])
        if differs:
            compared.note("changed", {**old.told(), "differs": differs})
        else:
            compared.same += 1
    left: dict[tuple[str, str], list[str]] = {}
    for key, new in after.items():
        left.setdefault((new.first["rule"], new.first["device"]), []).append(key)
    for old in sorted(before.values(), key=lambda e: e.span):
        compared = made.of(ALERTS, old.first["rule"])
        near = left.get((old.first["rule"], old.first["device"]), [])
        partner = next((key for key in near if key in after and _overlap(old, after[key])), None)
        if partner is None:
            compared.note("missing", old.told())
        else:
            compared.note("changed", {**old.told(), "differs": _moved(old, after.pop(partner))})
    for new in sorted(after.values(), key=lambda e: e.span):
        made.of(ALERTS, new.first["rule"]).note("added", new.told())


def _overlap(a: Episode, b: Episode) -> bool:
    return a.span[0] <= b.span[1] and b.span[0] <= a.span[1]


def _moved(old: Episode, new: Episode) -> Document:
    """By how many seconds an alert is raised and returned later (earlier where negative), and what else it says."""
    found: Document = {"id": [old.first["id"], new.first["id"]]}
    for name, a, b in zip(("raised_later_s", "returned_later_s"), old.span, new.span, strict=True):
        if abs(a) < ENDLESS and abs(b) < ENDLESS:
            found[name] = (b - a) / SECOND
        elif a != b:
            found[name] = None
    return found | {k: [old.first[k], new.first[k]] for k in ("limit", "value") if old.first[k] != new.first[k]}


def _requests(made: Diff, then: Iterable[Document], now: Iterable[Document], apart: frozenset[str]) -> None:
    before, after = ({r["id"]: r for r in requests} for requests in (then, now))
    for found, name in ((before, "then"), (after, "now")):
        for request in found.values():
            compared = made.of(REQUESTS, request["issuer"])
            setattr(compared, name, getattr(compared, name) + 1)
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, {}), after.get(key, {})
        compared = made.of(REQUESTS, (old or new)["issuer"])
        differs = _differs(old, new, apart)
        if old and new and not differs:
            compared.same += 1
        else:
            kind = "changed" if old and new else "missing" if old else "added"
            told = {k: (old or new)[k] for k in ("id", "device", "verb", "reason", "ts_ns")}
            compared.note(kind, told | ({"differs": differs} if kind == "changed" else {}))


def _differs(then: Mapping[str, Any], now: Mapping[str, Any], apart: frozenset[str]) -> Document:
    """Fields that differ, but for those that are not compared."""
    names = sorted((then.keys() | now.keys()) - apart)
    return {name: [then.get(name), now.get(name)] for name in names if then.get(name) != now.get(name)}


def _rows(made: Diff, topic: str, keys: Sequence[str], then: pa.Table | None, now: pa.Table | None) -> None:
    """Rows by their keys, those of detectors by the detector; equal tables are not looked into."""
    name = "detector" if topic == "anomalies" else ""
    if then is not None and now is not None and table_hash(then, keys) == table_hash(now, keys):
        counts = Counter(then[name].to_pylist()) if name else Counter({topic: then.num_rows})
        for key, count in counts.items():
            made.of(topic, key).add(Compared(then=count, now=count, same=count))
        return
    before, after = _by_key(then, keys), _by_key(now, keys)
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        row = old or new or {}
        compared = made.of(topic, row[name] if name else topic)
        compared.then += old is not None
        compared.now += new is not None
        if old is not None and new is not None and repr(old) == repr(new):  # NaN is equal to itself
            compared.same += 1
        else:
            kind = "changed" if old and new else "missing" if old else "added"
            compared.note(kind, dict(zip(keys, key, strict=True)) | _cells(old, new) if old and new else row)


def _cells(then: Document, now: Document) -> Document:
    return {"differs": {k: [then[k], now.get(k)] for k in then if repr(then[k]) != repr(now.get(k))}}


def _by_key(table: pa.Table | None, keys: Sequence[str]) -> dict[tuple[Any, ...], Document]:
    rows: list[Document] = [] if table is None else table.to_pylist()
    return {tuple(row[k] for k in keys): row for row in rows}
