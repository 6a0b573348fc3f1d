"""Numbers of messages: `boot` and, for each device, the next `seq`; on disk they go on where the last process ended."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable

from .folder import machine_boot
from .records import Record


class Counters:
    """Counts the messages of one process, or of several in a row over one spool.

    Args:
        history: records of the newest segment of the spool, whose first is a note of ours.

    Attributes:
        boot: a new one when nothing is known, or when the machine was started anew: then the last second may be lost,
            and no number must be given to two messages.
        renewed: whether `boot` is new, so that a segment with a note of it must be begun.

    >>> first = Counters([])
    >>> first.next("pump-7"), first.count("pump-7"), first.next("pump-7")
    (0, None, 1)
    """

    def __init__(self, history: Iterable[Record]) -> None:
        self._machine = machine_boot()
        self._next: dict[str, int] = {}
        self.boot = ""
        for record in history:
            if not record.topic:
                note = json.loads(record.value)
                self.boot = note["boot"] if note["machine"] == self._machine != "" else ""
                self._next = dict(note["next"]) if self.boot else {}
            elif record.seq >= 0:
                self._next[record.key.decode()] = record.seq + 1
        self.renewed = not self.boot
        if self.renewed:
            self.boot, self._next = secrets.token_hex(8), {}

    def next(self, device: str) -> int:
        """The number of its next message."""
        return self._next.get(device, 0)

    def count(self, device: str) -> None:
        """That message is under way."""
        self._next[device] = self.next(device) + 1

    def note(self) -> Record:
        """For the beginning of a segment."""
        return Record("", b"", json.dumps({"boot": self.boot, "machine": self._machine, "next": self._next}).encode())
