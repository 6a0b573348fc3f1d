"""Runs the detectors of a twin type over samples and rows: score, severity, ranked signals and one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np

from operators.definition import DetectorSpec, TwinType
from operators.rings import plain
from operators.sample_rows import select
from operators.touched import Changed, Changing
from operators.types import F64, I32, I64, Batch, Detector, Mask, Quality, Rows, Scores, State
from operators.words import quantity, readable, sentence

NewDetector = Callable[[DetectorSpec, int], Detector]
"""Makes the detector of a spec for so many features."""

UNFIT = int(Quality.SENTINEL | Quality.STUCK | Quality.DENORMAL | Quality.LATE)
"""Samples with one of these are neither scored nor learnt; SUSPECT ones are both, they may be the anomaly."""
RANKED = 3
"""Signals that an anomaly names at most."""


@runtime_checkable
class Expecting(Protocol):
    """Scores that also offer float64[n, features] of what was expected, and its spread."""

    @property
    def expected(self) -> F64: ...

    @property
    def sd(self) -> F64: ...


@dataclass(frozen=True, slots=True)
class Anomalies:
    """Rows whose score is over the threshold of a detector, k of them, in the order of the input, then of detectors.

    Attributes:
        row: intp[k], row of the input.
        detector: int32[k], index into the detectors.
        device: int32[k].
        signal: int32[k], index in the type of the signal with the largest share.
        ts_ns: int64[k].
        offset: int64[k], offset of the message in its partition.
        score: float64[k], as the detector means it.
        severity: float64[k], min(1, score / (2 threshold)); 1 is an alarm, less is a warning.
        value, expected, sd: float64[k], of that signal; NaN where the detector does not say.
        ranked: int32[k, 3], signals by share, -1 where there are fewer.
        share: float64[k, 3], their shares in the score.
    """

    row: Rows
    detector: I32
    device: I32
    signal: I32
    ts_ns: I64
    offset: I64
    score: F64
    severity: F64
    value: F64
    expected: F64
    sd: F64
    ranked: I32
    share: F64

    def __len__(self) -> int:
        return int(self.row.size)

    @property
    def alarm(self) -> Mask:
        """bool[k]: at least twice the threshold."""
        return self.severity >= 1.0

    def take(self, rows: Rows | Mask | slice) -> Anomalies:
        """The given rows, in the given order."""
        return Anomalies(*(getattr(self, f.name)[rows] for f in fields(self)))


class Detect:
    """The detectors of one twin type in one shard.

    Args:
        twin_type: names and units of the signals.
        specs: the detectors, usually `twin_type.detectors`.
        new_detector: makes each of them; usually `models.detectors.new_detector`.

    An anomaly is a row that is ready and whose score is greater than the threshold.

    >>> class Far:
    ...     def score(self, device, x, /):
    ...         return Scores(np.abs(x[:, 0]), np.ones(len(x), bool), np.ones((len(x), 1)))
    ...     def snapshot(self): return {}
    ...     def restore(self, state): pass
    >>> from operators.definition import Signal
    >>> pump = TwinType("pump", 1, (Signal("volume_flow", unit="l/min"),))
    >>> detect = Detect(pump, [DetectorSpec("z", "far", "samples", ("volume_flow",))], lambda spec, n: Far())
    >>> found = detect.on_samples(Batch.of(series=[0, 0], ts=[1, 2], value=[1.0, 22.1]))
    >>> detect.causes(found)
    ['Score 22.1 is over the threshold of 3; volume flow 22.1 l/min has the largest share']
    """

    def __init__(self, twin_type: TwinType, specs: Sequence[DetectorSpec], new_detector: NewDetector) -> None:
        self.type, self.signals = twin_type, twin_type.signals
        self.specs = tuple(specs)
        self._columns = [np.array([twin_type.index[name] for name in s.signals], np.int32) for s in self.specs]
        self._detectors = [new_detector(s, 1 if s.on == "samples" else len(s.signals)) for s in self.specs]
        self._changing = [(s, d) for s, d in zip(self.specs, self._detectors, strict=True) if isinstance(d, Changing)]

    def on_samples(self, batch: Batch) -> Anomalies:
        """Detectors on single signals, over samples in log order; ticks and unfit samples are passed over."""
        found: list[Anomalies] = []
        for d, (spec, columns) in enumerate(zip(self.specs, self._columns, strict=True)):
            if spec.on != "samples":
                continue
            place = np.full(len(self.signals), -1, np.int32)
            place[columns] = np.arange(columns.size)
            part, rows = np.empty((3, len(batch)), np.int32), np.empty(len(batch), np.int64)
            k = select(plain(batch.series), plain(batch.quality), UNFIT, place, columns.size, part, rows)
            (series, device, signal), rows = part[:, :k], rows[:k]
            x = batch.value[rows][:, None]
            scores = self._detectors[d].score(series, x)
            found.append(_over(d, spec, scores, rows, device, signal[:, None], x, batch.ts, batch.offset))
        return _joined(found)

    def on_rows(self, device: I32, ts: I64, x: F64, valid: Mask, offset: I64) -> Anomalies:
        """Detectors on aligned rows: x and valid are [n, signals of the type], in the order rows were released."""
        found: list[Anomalies] = []
        rows = np.arange(ts.size)
        for d, (spec, columns) in enumerate(zip(self.specs, self._columns, strict=True)):
            if spec.on == "rows":
                part = np.where(valid[:, columns], x[:, columns], np.nan)
                scores = self._detectors[d].score(device, part)
                signals = np.broadcast_to(columns, part.shape)
                found.append(_over(d, spec, scores, rows, device, signals, part, ts, offset))
        return _joined(found)

    def causes(self, anomalies: Anomalies) -> list[str]:
        """One sentence per anomaly: what differs, by how much, from what."""
        return [self._cause(anomalies, i) for i in range(len(anomalies))]

    def _cause(self, a: Anomalies, i: int) -> str:
        signal, value, expected, sd = self.signals[a.signal[i]], a.value[i], a.expected[i], a.sd[i]
        name = readable(signal.name)
        if np.isnan(expected) or not sd > 0.0:
            threshold = self.specs[a.detector[i]].threshold
            said = f"{name} {quantity(value, signal)} has the largest share"
            return f"Score {a.score[i]:.1f} is over the threshold of {threshold:g}; {said}"
        side = "below" if value < expected else "above"
        said = f"{name} {quantity(value, signal, sd)} is {abs(value - expected) / sd:.1f} sd {side}"
        others = [
            f"{readable(self.signals[s].name)} {100.0 * share:.0f} %"
            for s, share in zip(a.ranked[i, 1:], a.share[i, 1:], strict=True)
            if s >= 0 and share >= 0.1
        ]
        also = f"; also {', '.join(others)} of the score" if others else ""
        return sentence(said) + f" its expected {quantity(expected, signal, sd)}{also}"

    def snapshot(self) -> State:
        """The state of every detector under `<id>/<name>`."""
        return {
            f"{spec.id}/{name}": column
            for spec, detector in zip(self.specs, self._detectors, strict=True)
            for name, column in detector.snapshot().items()
        }

    def changed(self) -> Changed:
        """As the detectors say that can."""
        return {
            f"{spec.id}/{name}": rows for spec, detector in self._changing for name, rows in detector.changed().items()
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot; a detector that is new in the definition starts anew, one that has left is forgotten.

        Raises:
            StateError: a detector does not take its part.
        """
        for spec, detector in zip(self.specs, self._detectors, strict=True):
            part = {name.partition("/")[2]: c for name, c in state.items() if name.partition("/")[0] == spec.id}
            if part:
                detector.restore(part)


def _over(
    d: int, spec: DetectorSpec, scores: Scores, rows: Rows, device: I32, signals: I32, x: F64, ts: I64, offset: I64
) -> Anomalies:
    """The rows over the threshold; `signals` is int32[n, features], `rows` their places in ts and offset."""
    hit = np.flatnonzero(scores.ready & (scores.value > spec.threshold))
    if not hit.size:
        return NONE
    rank = scores.rank[hit]
    order = np.argsort(-rank, axis=1, kind="stable")[:, :RANKED]
    k, wide = order.shape
    ranked, share = np.full((k, RANKED), -1, np.int32), np.zeros((k, RANKED))
    share[:, :wide] = np.take_along_axis(rank, order, axis=1)
    ranked[:, :wide] = np.where(share[:, :wide] > 0.0, np.take_along_axis(signals[hit], order, axis=1), -1)
    top = order[:, 0]
    ranked[:, 0] = signals[hit, top]
    expected, sd = np.full((2, k), np.nan)
    if isinstance(scores, Expecting):
        expected, sd = scores.expected[hit, top], scores.sd[hit, top]
    return Anomalies(
        row=rows[hit],
        detector=np.full(k, d, np.int32),
        device=device[hit],
        signal=ranked[:, 0].copy(),
        ts_ns=ts[rows[hit]],
        offset=offset[rows[hit]],
        score=scores.value[hit],
        severity=np.minimum(1.0, scores.value[hit] / (2.0 * spec.threshold)),
        value=x[hit, top],
        expected=expected,
        sd=sd,
        ranked=ranked,
        share=share,
    )


def _none() -> Anomalies:
    i32, i64, f64 = np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0)
    wide = np.empty((0, RANKED), np.int32)
    rows = np.empty(0, np.intp)
    return Anomalies(rows, i32, i32, i32, i64, i64, f64, f64, f64, f64, f64, wide, wide.astype(np.float64))


NONE = _none()
"""No anomaly at all."""


def _joined(parts: list[Anomalies]) -> Anomalies:
    parts = [p for p in parts if len(p)]
    if len(parts) <= 1:
        return parts[0] if parts else NONE
    whole = Anomalies(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Anomalies)))
    return whole.take(np.lexsort((whole.detector, whole.row)))
