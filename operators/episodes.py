"""Folds the anomalies of detectors into alarms: raised once, returned once, however many rows are over the limit.

An episode is opened by the first anomaly of a (detector, device) and stays open while anomalies come; it returns when
a row of the device is more than `clear_after` of event time past the last of them. Both events carry the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from operators.detect import Anomalies, Detect
from operators.rules import Alert, alert_id
from operators.types import I32, I64, NO_TIME, State


class _Open(NamedTuple):
    """An open episode: when and by which message it was raised, its last anomaly, its signal, score and limit."""

    since_ns: int
    since_offset: int
    last_ns: int
    signal: int
    value: float
    score: float


_Ranked = tuple[tuple[str, float], ...]


class Episodes:
    """Open alarms of the detectors of one twin type in one shard.

    Args:
        detect: the detectors whose anomalies come in.
    """

    def __init__(self, detect: Detect) -> None:
        self._detect = detect
        self._open: dict[tuple[int, int], _Open] = {}

    def push(self, device: I32, ts: I64, offset: I64, found: Anomalies, names: Sequence[str]) -> list[Alert]:
        """Events that a stretch of rows brings about, in the order of the rows that trigger them.

        Args:
            device, ts, offset: of the rows that were judged, in order (samples, or aligned rows).
            found: what was found in them, `found.row` being places in those columns.
            names: device names by id.
        """
        if not self._open and not len(found):
            return []
        events: list[tuple[int, Alert]] = []
        judged = {d: np.flatnonzero(device == d) for d in self._concerned(device, ts, found)}
        for d in sorted(judged):
            events += self._device(d, judged[d], ts, offset, found, names)
        return [alert for _, alert in sorted(events, key=lambda e: (e[0], e[1].id, e[1].state))]

    def _concerned(self, device: I32, ts: I64, found: Anomalies) -> set[int]:
        """Devices with an anomaly, and those of which an open episode may return by one of these rows."""
        concerned = set(found.device.tolist())
        if self._open and device.size:
            newest = np.full(max(int(device.max()), max(d for _, d in self._open)) + 1, NO_TIME)
            rows = device >= 0
            np.maximum.at(newest, device[rows], ts[rows])
            clear = [spec.clear_after_ns for spec in self._detect.specs]
            concerned |= {d for (k, d), o in self._open.items() if newest[d] > o.last_ns + clear[k]}
        return concerned

    def _device(
        self, d: int, rows: I64, ts: I64, offset: I64, found: Anomalies, names: Sequence[str]
    ) -> list[tuple[int, Alert]]:
        events: list[tuple[int, Alert]] = []
        mine = np.flatnonzero(found.device == d)
        detectors = {k for k, device in self._open if device == d} | set(found.detector[mine].tolist())
        for k in sorted(detectors):
            hits = mine[found.detector[mine] == k]
            events += self._detector(k, d, rows, ts, offset, found, hits, names[d])
        return events

    def _detector(
        self, k: int, d: int, rows: I64, ts: I64, offset: I64, found: Anomalies, hits: I64, name: str
    ) -> list[tuple[int, Alert]]:
        """Walk the anomalies of one detector and device; between two of them an open episode may return."""
        events: list[tuple[int, Alert]] = []
        at = 0
        clear = self._detect.specs[k].clear_after_ns
        for hit in [*hits.tolist(), -1]:
            stop = rows.size if hit < 0 else int(np.searchsorted(rows, found.row[hit]))
            episode = self._open.get((k, d))
            if episode is not None:
                quiet = np.flatnonzero(ts[rows[at:stop]] - episode.last_ns > clear)
                if quiet.size:
                    row = int(rows[at + quiet[0]])
                    events.append((row, self._returned(k, episode, name, clear, int(offset[row]))))
                    del self._open[k, d]
                    episode = None
            if hit < 0:
                break
            ts_ns = int(found.ts_ns[hit])
            if episode is None:
                opened = _Open(
                    ts_ns, int(found.offset[hit]), ts_ns, int(found.signal[hit]), float(found.value[hit]),
                    float(found.score[hit]),
                )  # fmt: skip
                self._open[k, d] = opened
                events.append((int(found.row[hit]), self._raised(k, opened, found, hit, name)))
            else:
                self._open[k, d] = episode._replace(last_ns=max(ts_ns, episode.last_ns))
            at = stop
        return events

    def _raised(self, k: int, episode: _Open, found: Anomalies, hit: int, name: str) -> Alert:
        [cause] = self._detect.causes(found.take(np.array([hit])))
        raised = self._alert(k, episode, name, "raised", episode.since_ns, episode.since_offset, cause)
        return replace(raised, ranked=self._ranked(found, hit))

    def _ranked(self, found: Anomalies, hit: int) -> _Ranked:
        pairs = zip(found.ranked[hit].tolist(), found.share[hit].tolist(), strict=True)
        return tuple((self._detect.signals[s].name, share) for s, share in pairs if s >= 0)

    def _returned(self, k: int, episode: _Open, name: str, clear_ns: int, offset: int) -> Alert:
        message = f"No anomaly for {clear_ns / 1e9:g} s"
        return self._alert(k, episode, name, "returned", episode.last_ns + clear_ns, offset, message)

    def _alert(self, k: int, episode: _Open, name: str, state: str, ts_ns: int, offset: int, message: str) -> Alert:
        spec = self._detect.specs[k]
        return Alert(
            id=alert_id(spec.id, name, episode.since_ns, episode.since_offset),
            rule=spec.id,
            device=name,
            signal=self._detect.signals[episode.signal].name,
            state="raised" if state == "raised" else "returned",
            severity="alarm" if episode.score >= 2.0 * spec.threshold else "warn",
            ts_ns=ts_ns,
            offset=offset,
            value=episode.value,
            limit=spec.threshold,
            message=message,
            command="",
            source="detector",
            score=episode.score,
        )

    def snapshot(self) -> State:
        """The open episodes as two arrays, one row each."""
        keys = sorted(self._open)
        rows = [self._open[key] for key in keys]
        whole = [(*key, r.since_ns, r.since_offset, r.last_ns, r.signal) for key, r in zip(keys, rows, strict=True)]
        return {
            "key": np.array(whole, np.int64).reshape(-1, 6),
            "value": np.array([(r.value, r.score) for r in rows], np.float64).reshape(-1, 2),
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot."""
        self._open = {
            (int(k[0]), int(k[1])): _Open(int(k[2]), int(k[3]), int(k[4]), int(k[5]), float(v[0]), float(v[1]))
            for k, v in zip(state["key"], state["value"], strict=True)
        }
