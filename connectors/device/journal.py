"""What a device did with each command, written down before it acts: so it never acts twice, also after a restart."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from .commands import ENDS, FAILED, Command
from .records import Queue, Record

REMEMBERED = 20_000
"""Ids kept in memory; the deadline guards against older ones."""
RESTARTED = "the device was restarted while it acted on this; it does not try again"


@dataclass
class _Known:
    device: str
    last: Record | None = None  # the answer to repeat
    ended: bool = False


class Journal:
    """Answers to commands. They leave through the queue they are stored in, and none is ever dropped.

    Args:
        queue: notes and answers, in order; on disk they are found again after a restart.
        topic: where answers go.
        history: what the queue held when it was opened, also what was sent.

    Attributes:
        positions: next offset to read by partition of the topic of commands; empty when nothing is known.
    """

    def __init__(self, queue: Queue, *, topic: str = "command-acks", history: Iterable[Record] = ()) -> None:
        self.positions: dict[int, int] = {}
        self._queue, self._topic = queue, topic
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.RLock()
        for record in history:
            self._recall(record)

    def unfinished(self) -> list[str]:
        """Ids that were begun and have no end: after a restart nobody will finish them."""
        with self._lock:
            return [command for command, known in self._known.items() if not known.ended]

    def give_up(self, ts_ns: int) -> int:
        """Answer all that is unfinished with `failed`; how many."""
        left = self.unfinished()
        for command in left:
            self._store(command, self._known[command].device, FAILED, RESTARTED, ts_ns)
        return len(left)

    def knows(self, command: str) -> bool:
        """Whether this id was seen."""
        with self._lock:
            return command in self._known

    def repeat(self, command: str) -> None:
        """Send the stored answer again; nothing while there is none."""
        with self._lock:
            last = self._known[command].last
            if last is not None:
                self._queue.append(last)

    def begin(self, command: Command, partition: int, offset: int) -> None:
        """Write down that it is begun, and where it stood, before anything is done.

        Raises:
            OSError: it cannot be written; then it must not be begun.
        """
        with self._lock:
            self.positions[partition] = offset + 1
            self._note({"begun": command.id, "device": command.device, "partition": partition, "offset": offset + 1})
            self._remember(command.id, _Known(command.device))

    def answer(self, command: Command, status: str, detail: str, ts_ns: int) -> None:
        """Store an answer and send it.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._store(command.id, command.device, status, detail, ts_ns)

    def moved(self, partition: int, offset: int) -> None:
        """All before this offset is dealt with."""
        with self._lock:
            self.positions[partition] = offset
            self._note({"partition": partition, "offset": offset})

    def _store(self, command: str, device: str, status: str, detail: str, ts_ns: int) -> None:
        value = {"id": command, "device": device, "status": status, "detail": detail, "ts_ns": ts_ns}
        record = Record(self._topic, device.encode(), json.dumps(value, separators=(",", ":")).encode())
        self._queue.append(record)
        self._remember(command, _Known(device, record, status in ENDS))

    def _note(self, what: dict[str, object]) -> None:
        self._queue.append(Record("", b"", json.dumps(what).encode()))

    def _remember(self, command: str, known: _Known) -> None:
        self._known[command] = known
        self._known.move_to_end(command)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _recall(self, record: Record) -> None:
        value = json.loads(record.value)
        if record.topic:
            self._remember(value["id"], _Known(value["device"], record, value["status"] in ENDS))
        else:
            if "begun" in value:
                self._known.setdefault(value["begun"], _Known(value["device"]))
            self.positions[value["partition"]] = value["offset"]
