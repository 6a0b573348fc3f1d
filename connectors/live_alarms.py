"""Alerts folded into alarms: raised, perhaps returned, acknowledged, shelved; one per id, however often it was told."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import msgspec

from connectors.live_records import AlertRecord

MOST_CLOSED = 5_000
MOST_OPEN = 20_000
FLAPPING_NS = 3_600_000_000_000
ACKNOWLEDGE = "acknowledge"
"""Verb of the command that acknowledges an alarm; its argument `alarm` is the id."""
SHELVE, UNSHELVE = "shelve", "unshelve"
"""Put an alarm aside until an instant, for a reason; take it back before its end."""

Priority = Literal["P1", "P2", "P3"]


class Acknowledged(msgspec.Struct):
    """Who has seen the alarm, and when."""

    who: str
    at_ns: int


class Shelved(msgspec.Struct):
    """Who put an alarm aside, why, and from when until when (ns UTC)."""

    who: str
    reason: str
    at_ns: int
    until_ns: int


class Alarm(msgspec.Struct, kw_only=True):
    """One alarm.

    Attributes:
        count: how often this rule or detector raised one on this signal within the hour before it.
        shelved: how it is put aside now; None once the end is reached.
        was_shelved: the last time it was put aside, with the end that came true.
    """

    id: str
    twin: str
    type: str
    signal: str
    source: str
    kind: Literal["rule", "detector"]
    severity: Literal["alarm", "warn"]
    priority: Priority
    state: Literal["open", "returned"]
    cause: str
    raised_ns: int
    returned_ns: int | None = None
    returned: str = ""
    acknowledged: Acknowledged | None = None
    shelved: Shelved | None = None
    was_shelved: Shelved | None = None
    value: float | None = None
    threshold: float | None = None
    score: float | None = None
    ranked: list[Any] = []
    count: int = 1
    lineage: dict[str, Any] = {}


class Alarms:
    """All open alarms and the newest closed ones.

    P1: a rule's alarm; P2: a detector's alarm, which is a model's opinion; P3: a warning.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Alarm] = {}
        self.open: dict[str, dict[str, Alarm]] = {}
        self.last_returned: dict[str, int] = {}
        self.version = 0
        self.open_count = 0
        self._closed: deque[str] = deque()
        self._raised: dict[tuple[str, str, str], deque[int]] = {}
        self._acknowledged: dict[str, Acknowledged] = {}
        self._shelved: dict[str, Shelved] = {}

    def take(self, alert: AlertRecord) -> None:
        """One more alert; a repeat of a known one changes nothing."""
        held = self.by_id.get(alert.id)
        if held is not None and (alert.state == "raised" or held.state == "returned"):
            return
        self.version += 1
        if held is None:
            held = self._made(alert)
            self.by_id[alert.id] = held
            if alert.state == "raised":
                self.open.setdefault(held.twin, {})[held.id] = held
                self.open_count += 1
                self._bound_open()
                return
        elif self.open.get(held.twin, {}).pop(held.id, None) is not None:
            self.open_count -= 1
            if not self.open[held.twin]:
                del self.open[held.twin]
        held.state, held.returned_ns = "returned", alert.ts_ns
        held.returned = alert.cause or alert.message or ""
        self.last_returned[held.twin] = max(alert.ts_ns, self.last_returned.get(held.twin, 0))
        self._close(held.id)

    def acknowledge(self, alarm: str, who: str, at_ns: int) -> None:
        """Somebody has seen an alarm; it may come to be known only later."""
        said = Acknowledged(who, at_ns)
        self._acknowledged[alarm] = said
        while len(self._acknowledged) > MOST_CLOSED:
            del self._acknowledged[next(iter(self._acknowledged))]
        held = self.by_id.get(alarm)
        if held is not None and held.acknowledged is None:
            held.acknowledged = said
            self.version += 1

    def shelve(self, alarm: str, said: Shelved) -> None:
        """Somebody puts an alarm aside; it may come to be known only later."""
        self._shelved[alarm] = said
        while len(self._shelved) > MOST_OPEN:
            del self._shelved[next(iter(self._shelved))]
        held = self.by_id.get(alarm)
        if held is not None:
            held.shelved = said
            self.version += 1

    def unshelve(self, alarm: str, at_ns: int) -> None:
        """Its shelving has ended."""
        said, held = self._shelved.pop(alarm, None), self.by_id.get(alarm)
        if said is not None and held is not None:
            held.shelved = None
            held.was_shelved = msgspec.structs.replace(said, until_ns=min(at_ns, said.until_ns))
            self.version += 1

    def end_shelving(self, now_ns: int) -> None:
        """Take back every alarm whose end of shelving is reached."""
        for alarm in [alarm for alarm, said in self._shelved.items() if said.until_ns <= now_ns]:
            self.unshelve(alarm, now_ns)

    def shown(self, twin: str) -> list[Alarm]:
        """The open ones of a twin that are not put aside."""
        return [a for a in self.open.get(twin, {}).values() if a.shelved is None]

    def worst(self, twin: str) -> Alarm | None:
        """Of the open ones of a twin that are not put aside: by priority, then not acknowledged, then the oldest."""
        return min(self.shown(twin), key=_worst_first, default=None)

    def listed(self) -> list[Alarm]:
        """Open ones by priority and time, then closed ones, newest first."""
        opened = sorted((a for held in self.open.values() for a in held.values()), key=_worst_first)
        return opened + [self.by_id[i] for i in reversed(self._closed)]

    def _made(self, alert: AlertRecord) -> Alarm:
        severity: Literal["alarm", "warn"] = "alarm" if alert.severity == "alarm" else "warn"
        learned = alert.source == "detector" or bool(alert.detector)
        source = alert.rule or alert.detector or ""
        priority: Priority = "P3" if severity == "warn" else "P2" if learned else "P1"
        return Alarm(
            id=alert.id, twin=alert.device, type=alert.twin_type, signal=alert.signal or "", source=source,
            kind="detector" if learned else "rule", severity=severity, priority=priority, state="open",
            cause=alert.cause or alert.message or "", raised_ns=alert.ts_ns, value=alert.value,
            threshold=alert.limit, score=alert.score, ranked=_ranked(alert.ranked), count=self._count(alert, source),
            lineage={"shard": alert.shard, "offset": alert.offset}, acknowledged=self._acknowledged.get(alert.id),
            shelved=self._shelved.get(alert.id),
        )  # fmt: skip

    def _count(self, alert: AlertRecord, source: str) -> int:
        key = alert.device, alert.signal or "", source
        times = self._raised.setdefault(key, deque(maxlen=1000))
        times.append(alert.ts_ns)
        if len(self._raised) > MOST_OPEN:
            del self._raised[next(iter(self._raised))]
        return sum(alert.ts_ns - FLAPPING_NS < t <= alert.ts_ns for t in times)

    def _close(self, alarm: str) -> None:
        self._closed.append(alarm)
        while len(self._closed) > MOST_CLOSED:
            self.by_id.pop(self._closed.popleft(), None)

    def _bound_open(self) -> None:
        if self.open_count <= MOST_OPEN:
            return
        oldest = min((a for held in self.open.values() for a in held.values()), key=lambda a: a.raised_ns)
        del self.open[oldest.twin][oldest.id], self.by_id[oldest.id]
        self.open_count -= 1


def _worst_first(alarm: Alarm) -> tuple[str, bool, int]:
    return alarm.priority, alarm.acknowledged is not None, alarm.raised_ns


def _ranked(ranked: Any) -> list[Any]:
    """Signals with their share, whether they came as a list or as JSON text."""
    if isinstance(ranked, str):
        try:
            ranked = msgspec.json.decode(ranked)
        except msgspec.DecodeError:
            return []
    return ranked if isinstance(ranked, list) else []
