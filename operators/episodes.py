"""Folds the anomalies of detectors into alarms: raised once, returned once, however many rows are over the limit.

An episode is opened by the first anomaly of a (detector, device) and stays open while anomalies come; it returns when
a row of the device is more than `clear_after` of event time past the last of them. Both events carry the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from operators.detect import Anomalies, Detect
from operators.episodes_kernel import (
    DETECTOR,
    DEVICE,
    EVENT_LAST,
    EVENT_OFFSET,
    EVENT_SIGNAL,
    EVENT_SINCE,
    HIT,
    ROW,
    SINCE,
    WIDTH,
    walk,
)
from operators.lineage import Lineage, Versions
from operators.rings import plain
from operators.rules import Alert, alert_id
from operators.types import I32, I64, NO_TIME, State

_Ranked = tuple[tuple[str, float], ...]


class Episodes:
    """Open alarms of the detectors of one twin type in one shard.

    Args:
        detect: the detectors whose anomalies come in.
    """

    def __init__(self, detect: Detect) -> None:
        self._detect = detect
        self._versions = Versions(detect.type)
        self._clear_ns = np.array([spec.clear_after_ns for spec in detect.specs], np.int64)
        self._forget()

    def push(
        self, device: I32, ts: I64, offset: I64, found: Anomalies, names: Sequence[str], by: I64 | None = None
    ) -> list[Alert]:
        """Events that a stretch of rows brings about, in the order of the rows that trigger them.

        Args:
            device, ts, offset: of the rows that were judged, in order (samples, or aligned rows).
            found: what was found in them, `found.row` being places in those columns.
            names: device names by id.
            by: offset of the record that released each of these rows; `offset` where none had to wait.
        """
        if not device.size or not (len(found) or self._open_of.any()):
            return []
        self._hold(int(device.max()) + 1)
        cursor, room = np.zeros(3, np.int64), 2 * len(found) + 2 * len(self._clear_ns) + 64
        events, raised = np.empty((room, WIDTH), np.int64), np.empty((room, 2))
        told: list[tuple[int, Alert]] = []
        whole = False
        while not whole:
            whole = walk(
                plain(device), plain(ts), found.row.astype(np.int64), plain(found.detector), plain(found.signal),
                plain(found.offset), plain(found.value), plain(found.score), self._clear_ns, self._at, self._level,
                self._open_of, cursor, events, raised,
            )  # fmt: skip
            count, cursor[2] = int(cursor[2]), 0
            made = zip(events[:count].tolist(), raised[:count].tolist(), strict=True)
            told += [(event[ROW], self._told(event, level, offset, by, found, names)) for event, level in made]
        return [alert for _, alert in sorted(told, key=lambda e: (e[0], e[1].id, e[1].state))]

    def _forget(self) -> None:
        self._at = np.full((len(self._clear_ns), 0, 4), NO_TIME, np.int64)
        self._level, self._open_of = np.zeros((len(self._clear_ns), 0, 2)), np.zeros(0, np.int64)

    def _hold(self, devices: int) -> None:
        """Room for so many devices; it doubles, so that growing one by one stays cheap."""
        missing = devices - self._open_of.size
        if missing <= 0:
            return
        more = max(missing, self._open_of.size)
        self._at = np.concatenate((self._at, np.full((len(self._clear_ns), more, 4), NO_TIME)), axis=1)
        self._level = np.concatenate((self._level, np.zeros((len(self._clear_ns), more, 2))), axis=1)
        self._open_of = np.concatenate((self._open_of, np.zeros(more, np.int64)))

    def _told(
        self, event: list[int], level: list[float], offset: I64, by: I64 | None, found: Anomalies, names: Sequence[str]
    ) -> Alert:
        name, hit, row = names[event[DEVICE]], event[HIT], event[ROW]
        after = int((offset if by is None else by)[row])
        if hit >= 0:
            [cause] = self._detect.causes(found.take(np.array([hit])))
            raised = self._alert(event, level, name, "raised", event[EVENT_SINCE], event[EVENT_OFFSET], after, cause)
            return replace(raised, ranked=self._ranked(found, hit))
        clear = self._detect.specs[event[DETECTOR]].clear_after_ns
        message = f"No anomaly for {clear / 1e9:g} s"
        at = int(offset[row])
        return self._alert(event, level, name, "returned", event[EVENT_LAST] + clear, at, after, message)

    def _ranked(self, found: Anomalies, hit: int) -> _Ranked:
        pairs = zip(found.ranked[hit].tolist(), found.share[hit].tolist(), strict=True)
        return tuple((self._detect.signals[s].name, share) for s, share in pairs if s >= 0)

    def _alert(
        self, event: list[int], level: list[float], name: str, state: Literal["raised", "returned"], ts_ns: int,
        offset: int, after: int, message: str,
    ) -> Alert:  # fmt: skip
        spec = self._detect.specs[event[DETECTOR]]
        value, score = level
        return Alert(
            id=alert_id(spec.id, name, event[EVENT_SINCE], event[EVENT_OFFSET]),
            rule=spec.id,
            device=name,
            signal=self._detect.signals[event[EVENT_SIGNAL]].name,
            state=state,
            severity="alarm" if score >= 2.0 * spec.threshold else "warn",
            ts_ns=ts_ns,
            offset=offset,
            value=value,
            limit=spec.threshold,
            message=message,
            command="",
            source="detector",
            score=score,
            lineage=Lineage(event[EVENT_OFFSET], after, self._versions.definition, self._versions.detector(spec)),
        )

    def snapshot(self) -> State:
        """The open episodes as two arrays, one row each, and what they were raised with."""
        detector, device = np.nonzero(self._at[:, :, SINCE] != NO_TIME)
        return {
            "key": np.column_stack([detector, device, self._at[detector, device]]).astype(np.int64),
            "value": self._level[detector, device],
        }

    def restore(self, state: State) -> None:
        """Take over a snapshot."""
        key = state["key"]
        self._forget()
        self._hold(int(key[:, 1].max(initial=-1)) + 1)
        self._at[key[:, 0], key[:, 1]] = key[:, 2:]
        self._level[key[:, 0], key[:, 1]] = state["value"]
        self._open_of += np.bincount(key[:, 1], minlength=self._open_of.size)
