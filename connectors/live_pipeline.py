"""What the pipeline says about itself: ledger by shard, gaps, dead letters by reason, records by topic."""

from __future__ import annotations

from collections import Counter, deque

import msgspec

from connectors.live_records import Arrived, DeadLetterRecord, GapRecord, LedgerRecord, LedgerSums

MOST_REASONS = 64
MOST_LETTERS = 200
MOST_SHARDS = 1024
SHOWN_RAW = 4096
"""Characters of a refused message that are kept for showing."""


class ShardSums(msgspec.Struct):
    """The ledger of one shard since the view looks back.

    Attributes:
        from_offset, end_offset: range of the partition that the sums cover.
        holes: offsets between two ranges that no range covers; 0 when all is well.
        missing: samples that devices sent and that never came (gaps in their sequence numbers).
        rate: samples per second over the last entries.
    """

    shard: str
    partition: int
    from_offset: int
    end_offset: int
    sums: LedgerSums
    skipped: int = 0
    holes: int = 0
    missing: int = 0
    since_ns: int = 0
    at_ns: int = 0
    recent: list[tuple[int, int]] = []

    def rate(self, now_ns: int) -> float:
        """Samples per second of the last 10 seconds."""
        return sum(n for at, n in self.recent if now_ns - at <= 10_000_000_000) / 10.0


class Letter(msgspec.Struct):
    """A dead letter for people: `at` is its place in the dead-letters topic."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    arrival_ns: int
    device: str
    key: str | None
    raw: str | None
    raw_base64: str | None
    cut: bool
    at: str


class ReasonSums(msgspec.Struct):
    """Dead letters of one reason since the view looks back."""

    reason: str
    count: int = 0
    last_ns: int = 0
    devices: dict[str, int] = {}


class PipelineSums:
    """Bounded sums over ledger, gaps and dead-letters."""

    def __init__(self) -> None:
        self.shards: dict[int, ShardSums] = {}
        self.reasons: dict[str, ReasonSums] = {}
        self.records: Counter[str] = Counter()
        self._letters: dict[str, deque[Letter]] = {}
        self._missing: Counter[int] = Counter()
        self.version = 0

    def ledger(self, entry: LedgerRecord, arrival_ns: int) -> None:
        """One more range; one that is covered already counts once."""
        self.version += 1
        at_ns = entry.at_ns or arrival_ns
        held = self.shards.get(entry.partition)
        if held is None:
            if len(self.shards) >= MOST_SHARDS:
                return
            held = ShardSums(
                entry.shard, entry.partition, entry.from_offset, entry.from_offset, LedgerSums(), since_ns=at_ns,
                recent=[],
            )  # fmt: skip
            self.shards[entry.partition] = held
        if entry.end_offset <= held.end_offset:
            return
        held.holes += max(0, entry.from_offset - held.end_offset)
        held.end_offset, held.at_ns = entry.end_offset, at_ns
        held.skipped += entry.skipped
        held.sums.add(entry.ledger)
        held.recent.append((at_ns, entry.ledger.samples_in))
        while len(held.recent) > 600 or at_ns - held.recent[0][0] > 10_000_000_000:
            held.recent.pop(0)

    def gap(self, partition: int, gap: GapRecord) -> None:
        """Samples that never came."""
        self.version += 1
        self._missing[partition] += gap.missing

    def missing(self, partition: int) -> int:
        """Samples of a shard that devices sent and that never came."""
        return self._missing[partition]

    def letter(self, record: Arrived, letter: DeadLetterRecord) -> None:
        """One more refused message."""
        self.version += 1
        reason = letter.reason if letter.reason in self.reasons or len(self.reasons) < MOST_REASONS else "other"
        sums = self.reasons.setdefault(reason, ReasonSums(reason, devices={}))
        sums.count += 1
        sums.last_ns = max(sums.last_ns, record.arrival_ns)
        device = letter.device or letter.key or ""
        if device in sums.devices or len(sums.devices) < 1000:
            sums.devices[device] = sums.devices.get(device, 0) + 1
        raw, packed = letter.raw, letter.raw_base64
        shown = Letter(
            reason=letter.reason, detail=letter.detail, topic=letter.topic, partition=letter.partition,
            offset=letter.offset, arrival_ns=letter.arrival_ns, device=device, key=letter.key,
            raw=raw and raw[:SHOWN_RAW], raw_base64=packed and packed[:SHOWN_RAW],
            cut=len(raw or packed or "") > SHOWN_RAW, at=f"{record.topic}/{record.partition}/{record.offset}",
        )  # fmt: skip
        self._letters.setdefault(reason, deque(maxlen=MOST_LETTERS)).append(shown)

    def letters(self, reason: str, limit: int) -> list[Letter]:
        """The newest dead letters of a reason, of all reasons where it is empty; newest first."""
        kept = self._letters.values() if not reason else [self._letters.get(reason, deque())]
        found = sorted((x for letters in kept for x in letters), key=lambda x: -x.arrival_ns)
        return found[:limit]

    def total(self) -> LedgerSums:
        """The ledger of all shards together."""
        total = LedgerSums()
        for shard in self.shards.values():
            total.add(shard.sums)
        return total
