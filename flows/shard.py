"""One shard of telemetry as a pure core: decode ► a lane per twin type (flows/lane.py) ► results and the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from time import perf_counter_ns
from typing import Any

import numpy as np

from flows.lane import Lane, LaneOutput
from flows.shard_versions import migrated, stamp
from operators.dead_letter import DeadLetters
from operators.decode import Decoder
from operators.decoded import Aside, Kind, Messages
from operators.definition import TwinType
from operators.frames import Frames
from operators.ledger import Counts, Ledger
from operators.meter import Meter
from operators.roster import Roster
from operators.touched import Changed
from operators.types import State


@dataclass(slots=True)
class ShardOutput:
    """Everything one fetch brought about.

    Attributes:
        from_offset, end_offset: first offset of the fetch and the one after its last; `skipped` of the offsets
            between carry no record (control records of transactions, aborted or compacted ones).
        lanes: by twin type.
        dead: rejected messages; `dead_whole[i]` is False where only some samples of the message were rejected.
        aside: values of unknown signals.
        ledger: what became of the records and samples of this fetch.
    """

    from_offset: int
    end_offset: int
    skipped: int
    lanes: list[LaneOutput]
    dead: DeadLetters
    aside: Aside
    ledger: Ledger
    dead_whole: list[bool] = field(default_factory=list)


class Shard:
    """Runs telemetry over the frames of one partition; holds all state of the shard and runs without Bytewax.

    Args:
        type_of: the twin type of a device name, None where it has none.

    Attributes:
        decode, compute: meters of its two steps.

    >>> from operators.definition import Signal, TwinType
    >>> shard = Shard(lambda name: TwinType("probe", 1, (Signal("a"),)))
    >>> lines = [b'{"device":"p","sensor":"a","ts":%d,"v":%d}' % (1_700_000_000 + i, i) for i in range(5)]
    >>> out = shard.push(Frames.of([*lines, b"{"]))
    >>> out.lanes[0].windows.mean.tolist(), out.dead.reason, out.ledger.records.applied, out.ledger.balance
    ([0.0, 1.0], ['bad_json'], 5, 0)
    """

    def __init__(self, type_of: Callable[[str], TwinType | None]) -> None:
        self._decoder = Decoder(Roster(type_of))
        self._lanes: list[Lane] = []
        self._next_offset = -1
        self.decode, self.compute = Meter(), Meter()

    @property
    def roster(self) -> Roster:
        """The devices met, by type."""
        return self._decoder.roster

    def twin(self, name: str) -> dict[str, Any] | None:
        """All about one device as plain JSON values, with its type; None where it was never met."""
        place = self.roster.place(name)
        if place is None:
            return None
        lane = self._lanes[place[0]]
        return {**lane.state.read(place[1]), "device": name, "twin_type": lane.twin.name}

    def push(self, frames: Frames) -> ShardOutput:
        """Take the next fetch of the partition."""
        since = perf_counter_ns()
        decoded = self._decoder.push(frames)
        samples = sum(map(len, decoded.batches))
        since = self.decode.lap(since, len(frames), samples)
        self._open_lanes()
        start = int(frames.offset[0]) if len(frames) else frames.end_offset
        out = ShardOutput(
            from_offset=start if self._next_offset < 0 else self._next_offset,
            end_offset=frames.end_offset,
            skipped=0,
            lanes=[],
            dead=decoded.dead,
            aside=decoded.aside,
            ledger=Ledger(),
            dead_whole=[True] * len(decoded.dead),
        )
        out.skipped = out.end_offset - out.from_offset - len(frames)
        self._next_offset = frames.end_offset
        for number, lane in enumerate(self._lanes):
            messages = decoded.messages.of_type(number)
            reports = [r for r in decoded.reports if r.type == number]
            made = lane.push(decoded.batches[number], messages, reports)
            out.lanes.append(made)
            out.ledger += made.ledger
            _reject_partial(out, made, frames)
        out.ledger += _outside_lanes(decoded.messages, out)
        _in_log_order(out)
        self.compute.lap(since, samples, sum(len(lane.readings) for lane in out.lanes))
        return out

    def finish(self) -> list[LaneOutput]:
        """End of a bounded input: windows are final, rows go up to each device's newest sample."""
        return [lane.finish() for lane in self._lanes]

    def _open_lanes(self) -> None:
        for number in range(len(self._lanes), len(self.roster.types)):
            self._lanes.append(Lane(self.roster.types[number], self.roster.names(number)))

    def snapshot(self) -> State:
        """State of decode and of every lane, by path, and the version of its layout."""
        return {name: column.copy() for name, column in self.view().items()}

    def view(self) -> State:
        """As `snapshot`, but valid only until the next push: most arrays are not copied."""
        state = {f"decode/{k}": v for k, v in self._decoder.snapshot().items()}
        state |= {"shard/next_offset": np.array([self._next_offset]), **stamp()}
        for number, lane in enumerate(self._lanes):
            state |= {f"lane{number}/{k}": v for k, v in lane.snapshot().items()}
        return state

    def changed(self) -> Changed:
        """Of the widest columns, the rows that may have changed since this was last asked (`StateLog.append`)."""
        return {
            f"lane{number}/{k}": rows for number, lane in enumerate(self._lanes) for k, rows in lane.changed().items()
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot.

        Raises:
            StateError: the snapshot does not fit the twin types of today, or is of a later version.
        """
        state = migrated(state)
        self._decoder.restore(_part(state, "decode"))
        self._next_offset = int(state["shard/next_offset"][0])
        self._lanes = []
        self._open_lanes()
        for number, lane in enumerate(self._lanes):
            lane.restore(_part(state, f"lane{number}"))


def _part(state: State, path: str) -> State:
    return {k.removeprefix(path + "/"): v for k, v in state.items() if k.startswith(path + "/")}


def _reject_partial(out: ShardOutput, made: LaneOutput, frames: Frames) -> None:
    """Dead letters for messages of which an incomplete vector could not be calibrated."""
    if not len(made.partial):
        return
    offsets, counts = np.unique(made.partial.offset, return_counts=True)
    for offset, count in zip(offsets.tolist(), counts.tolist(), strict=True):
        row = int(np.searchsorted(frames.offset, offset))
        names = {made.twin.signals[s % len(made.twin.signals)].name for s in _series_at(made, offset)}
        out.dead.add(
            offset=offset,
            arrival=int(frames.arrival[row]),
            reason="partial_vector",
            detail=f"{', '.join(sorted(names))}: calibration needs the whole vector in one message",
            raw=frames.value(row) or b"",
            key=frames.key(row),
            samples=count,
        )
        out.dead_whole.append(offset in made.rejected_records)


def _series_at(made: LaneOutput, offset: int) -> list[int]:
    return [int(s) for s in made.partial.series[made.partial.offset == offset]]


def _in_log_order(out: ShardOutput) -> None:
    if not len(out.dead):
        return
    order = sorted(range(len(out.dead)), key=lambda i: out.dead.offset[i])
    for column in fields(out.dead):
        values = getattr(out.dead, column.name)
        values[:] = [values[i] for i in order]
    out.dead_whole = [out.dead_whole[i] for i in order]


def _outside_lanes(messages: Messages, out: ShardOutput) -> Ledger:
    """Rejected and control messages: those that no lane has seen; they are the first of the dead letters."""
    rejected = int(np.count_nonzero(messages.kind == Kind.REJECTED))
    control = int(np.count_nonzero(messages.kind == Kind.CONTROL))
    samples = sum(out.dead.samples[:rejected])
    return Ledger(
        records_in=rejected + control,
        samples_in=samples,
        records=Counts(rejected=rejected, control=control),
        samples=Counts(rejected=samples),
    )
