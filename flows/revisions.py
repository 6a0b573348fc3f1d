"""Alerts with the revision that their twin had after the record that brought them about, however the log was cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from operators.rules import Alert
from operators.types import I32, I64


class Revisions:
    """Knows the devices of one lane by name.

    Args:
        names: device names by id; grows as devices appear.
        revision: the revision of a device as it is now.
    """

    def __init__(self, names: Sequence[str], revision: Callable[[int], int]) -> None:
        self._names, self._revision = names, revision
        self._ids: dict[str, int] = {}

    def put(self, alerts: list[Alert], device: I32, offset: I64) -> list[Alert]:
        """The alerts of one fetch, completed.

        Args:
            device, offset: of each change of this fetch; a change after an alert's record is not yet in its revision.
        """
        if not alerts:
            return alerts
        self._ids.update((name, i) for i, name in enumerate(self._names[len(self._ids) :], len(self._ids)))
        order = np.lexsort((offset, device))
        return [self._one(alert, device[order], offset[order]) for alert in alerts]

    def _one(self, alert: Alert, device: I32, offset: I64) -> Alert:
        if alert.lineage is None:
            return alert
        d = self._ids[alert.device]
        first, past = np.searchsorted(device, [d, d + 1]).tolist()
        later = past - first - int(np.searchsorted(offset[first:past], alert.lineage.offset, side="right"))
        return replace(alert, lineage=replace(alert.lineage, revision=self._revision(d) - later))
