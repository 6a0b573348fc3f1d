"""What the broker holds about the ledger of a flow: input, committed offsets, ledger ranges, and counts of results.

Nothing here comes from a running process. Topics are read read_committed, as columns; of a block of results only its
number of rows, the offset of its first one and the rows of each device are looked at.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.live_records import LedgerRecord
from connectors.topic_tail import TopicError, TopicTail
from operators.frames import Frames
from operators.types import I64

OUTCOMES = ("control", "applied", "late", "duplicate", "rejected", "quarantined")
RANGE_COLUMNS = (
    *("from_offset", "end_offset", "skipped", "records_in", "samples_in"),
    *(f"records.{name}" for name in OUTCOMES),
    *(f"samples.{name}" for name in OUTCOMES),
)
"""Columns of `Facts.ranges`."""
RESULTS = ("readings", "late", "dead-letters")
ANSWER_SECS = 10.0


class _Letter(msgspec.Struct):
    """A dead letter, as far as it is counted."""

    offset: int
    topic: str = "samples"
    whole: bool = True
    samples: int = 0
    key: str = ""


_ledger = msgspec.json.Decoder(LedgerRecord)
_letter = msgspec.json.Decoder(_Letter)


@dataclass(slots=True)
class Counted:
    """Results in one partition of a topic, one entry per block or dead letter.

    Attributes:
        at: int64 column, offset of the (first) input it came from.
        records: int64 column, input records it stands for: 1 for a dead letter of a whole message.
        samples: int64 column, samples it holds.
        gone: the start of the topic was deleted (retention): what lay there cannot be compared.
    """

    at: array[int] = field(default_factory=lambda: array("q"))
    records: array[int] = field(default_factory=lambda: array("q"))
    samples: array[int] = field(default_factory=lambda: array("q"))
    gone: bool = False

    def add(self, at: int, records: int, samples: int) -> None:
        """One more."""
        self.at.append(at)
        self.records.append(records)
        self.samples.append(samples)


@dataclass(slots=True)
class Facts:
    """One partition.

    Attributes:
        begin, end: offsets of the input that the broker keeps.
        committed: source offset that the flow committed; None before its first commit.
        ranges: int64[n, len(RANGE_COLUMNS)], the ledger in the order of its topic.
        ledger_gone: the start of the ledger was deleted.
        results: by topic, see RESULTS.
    """

    begin: int
    end: int
    committed: int | None
    ranges: I64
    ledger_gone: bool
    results: Mapping[str, Counted]


class LedgerReader:
    """Reads the ledger of one flow.

    Args:
        bootstrap: host:port of a broker.
        topic: the input.
        group: whose committed offsets count.
        since_ns: look at results only from this arrival time on, ns UTC; 0 for all that is kept.
        since: look at devices only from this offset of every partition on.

    Attributes:
        devices: samples of each device that were applied, late and rejected, as the results hold them; a dead letter
            counts for its key.

    Raises:
        TopicError: a topic is missing, or the broker does not answer.
    """

    def __init__(
        self, bootstrap: str, *, topic: str = "samples", group: str = "telemetry", since_ns: int = 0, since: int = 0
    ) -> None:
        self._from = since
        self._bootstrap, self._topic, self._group, self._since_ns = bootstrap, topic, group, since_ns
        self._input = TopicTail(bootstrap, topic, since_ns=since_ns)
        self._tails = {name: TopicTail(bootstrap, name, since_ns=since_ns) for name in ("ledger", *RESULTS)}
        self._ranges = {p: array("q") for p in self.partitions}
        self.devices: dict[str, Counter[str]] = {}
        self._results = {name: {p: self._counted(name, p) for p in self.partitions} for name in RESULTS}

    @property
    def partitions(self) -> list[int]:
        """Partitions of the input."""
        return list(self._input.first)

    @property
    def since(self) -> dict[int, int]:
        """Offset of the input at `since_ns`, by partition."""
        return self._input.start

    def _counted(self, topic: str, partition: int) -> Counted:
        tail = self._tails[topic]
        return Counted(gone=0 < tail.first.get(partition, 0) == tail.start.get(partition, 0))

    def ends(self) -> dict[int, int]:
        """Offset after the last record of the input, by partition, asked now."""
        return self._input.ends()

    def committed(self) -> dict[int, int | None]:
        """Source offsets that the flow committed, asked now."""
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": self._group, "log_level": 0})
        try:
            asked = [TopicPartition(self._topic, p) for p in self.partitions]
            found = consumer.committed(asked, timeout=ANSWER_SECS)
        except KafkaException as error:
            what = f"offsets of group {self._group}"
            raise TopicError(f"{what}: {error.args[0]}; ask again when Kafka is well") from error
        finally:
            consumer.close()
        return {tp.partition: tp.offset if tp.offset >= 0 else None for tp in found}

    def read(self) -> None:
        """Take in what the ledger and the results have gained; the ledger first, so that no result is ahead of it."""
        for frames in self._tails["ledger"].read():
            for value in _values(frames):
                self._ranges[frames.partition].extend(_row(_ledger.decode(value)))
        for topic, outcome in (("readings", "applied"), ("late", "late")):
            for frames in self._tails[topic].read():
                for value in _values(frames):
                    at, rows, devices = _block(value)
                    self._results[topic][frames.partition].add(at, 0, rows)
                    if at >= self._from:
                        for device, count in devices.items():
                            self._count(device, outcome, count)
        for frames in self._tails["dead-letters"].read():
            for value in _values(frames):
                letter = _letter.decode(value)
                if letter.topic == self._topic:
                    self._results["dead-letters"][frames.partition].add(letter.offset, letter.whole, letter.samples)
                    if letter.offset >= self._from:
                        self._count(letter.key, "rejected", letter.samples)

    def _count(self, device: str, outcome: str, samples: int) -> None:
        self.devices.setdefault(device, Counter())[outcome] += samples

    def facts(self, committed: Mapping[int, int | None]) -> dict[int, Facts]:
        """What has been read, by partition, beside these committed offsets."""
        ends, ledger = self.ends(), self._tails["ledger"]
        return {
            p: Facts(
                begin=self._input.first[p],
                end=ends[p],
                committed=committed[p],
                ranges=np.array(self._ranges[p], np.int64).reshape(-1, len(RANGE_COLUMNS)),
                ledger_gone=ledger.first.get(p, 0) > 0,
                results={name: self._results[name][p] for name in RESULTS},
            )
            for p in self.partitions
        }

    def close(self) -> None:
        """Close all connections."""
        for tail in (self._input, *self._tails.values()):
            tail.close()


def _values(frames: Frames) -> list[bytes]:
    values = (frames.value(row) for row in range(len(frames)))
    return [value for value in values if value is not None]


def _row(entry: LedgerRecord) -> list[int]:
    sums = entry.ledger
    return [
        *(entry.from_offset, entry.end_offset, entry.skipped, sums.records_in, sums.samples_in),
        *(getattr(sums.records, name) for name in OUTCOMES),
        *(getattr(sums.samples, name) for name in OUTCOMES),
    ]


def _block(value: bytes) -> tuple[int, int, Counter[str]]:
    """Offset of the first row of an Arrow block, its number of rows, and those of each device.

    >>> sink = pa.BufferOutputStream()
    >>> table = pa.table({"offset": [7, 8], "device": pa.array(["a", "a"]).dictionary_encode()})
    >>> with pa.ipc.new_stream(sink, table.schema) as writer:
    ...     writer.write_table(table)
    >>> _block(sink.getvalue().to_pybytes())
    (7, 2, Counter({'a': 2}))
    """
    first, rows, devices = -1, 0, Counter[str]()
    for batch in pa.ipc.open_stream(value):
        if first < 0 and batch.num_rows:
            first = batch.column("offset")[0].as_py()
        rows += batch.num_rows
        names, counts = (column.to_pylist() for column in batch.column("device").value_counts().flatten())
        devices.update(dict(zip(names, counts, strict=True)))
    return first, rows, devices
