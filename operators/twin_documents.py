"""Report documents of twins: JSON objects that grow by merge patches, ordered by event time per top-level key."""

from __future__ import annotations

import json

import numpy as np

from operators.errors import StateError
from operators.merge_patch import Json, merge
from operators.types import NO_SEQ, State


class Documents:
    """One JSON object per device, kept as canonical UTF-8 JSON: sorted keys, no blanks.

    Each top-level key remembers the newest (event time, seq) that wrote or removed it. A patch is applied to the keys
    where it is not older than that; of equal (time, seq) the later call counts.

    >>> documents = Documents()
    >>> documents.report(0, {"task": {"id": 7, "step": 1}, "zone": "A"}, ts_ns=20)
    True
    >>> documents.report(0, {"task": {"step": 2}, "zone": None}, ts_ns=30)
    True
    >>> documents.report(0, {"zone": "B"}, ts_ns=25)
    False
    >>> documents.read(0)
    {'task': {'id': 7, 'step': 2}}
    """

    def __init__(self) -> None:
        self._bytes: dict[int, bytes] = {}

    def report(self, device: int, patch: dict[str, Json], ts_ns: int, seq: int = NO_SEQ) -> bool:
        """Merge a patch (RFC 7396) of one event time; True if any key of it was applied.

        Raises:
            ValueError: a number of the patch is not finite, so it is no JSON.
        """
        document, at = self._load(device)
        order = [ts_ns, seq]
        fresh = {key: value for key, value in patch.items() if key not in at or order >= at[key]}
        if not fresh:
            return False
        stored = {"at": at | dict.fromkeys(fresh, order), "report": merge(document, fresh)}
        text = json.dumps(stored, sort_keys=True, separators=(",", ":"), allow_nan=False)
        self._bytes[device] = text.encode()
        return True

    def read(self, device: int) -> dict[str, Json]:
        """The document of one device, {} where nothing was reported; it is the caller's own."""
        return self._load(device)[0]

    def _load(self, device: int) -> tuple[dict[str, Json], dict[str, list[int]]]:
        if device not in self._bytes:
            return {}, {}
        stored = json.loads(self._bytes[device])
        return stored["report"], stored["at"]

    def snapshot(self) -> State:
        """doc_device, doc_end: int64[k]; doc_json: uint8[], the documents one after the other, by device."""
        devices = sorted(self._bytes)
        ends = np.cumsum([len(self._bytes[d]) for d in devices], dtype=np.int64)
        text = np.frombuffer(b"".join(self._bytes[d] for d in devices), np.uint8).copy()
        return {"doc_device": np.array(devices, np.int64), "doc_end": ends, "doc_json": text}

    def restore(self, state: State) -> None:
        """Take over a snapshot; other keys are not looked at.

        Raises:
            StateError: columns are missing, do not fit, or hold no such documents.
        """
        try:
            ends, text = state["doc_end"].tolist(), state["doc_json"].tobytes()
            pieces = [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]
            if any(json.loads(x).keys() != {"at", "report"} for x in pieces):
                raise ValueError("a document without 'at' and 'report'")
            self._bytes = dict(zip(state["doc_device"].tolist(), pieces, strict=True))
        except (KeyError, ValueError, AttributeError) as error:
            raise StateError(where="documents", detail=str(error), fix="restore an older snapshot") from error
