"""Records that wait on disk: append-only segments, bounded, whole after a kill of the process. See docs/devices.md."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from .cursor import Cursor
from .records import Record
from .segments import Reader, Segment, create, encode, for_append, found, measure, records, repair

SEGMENT_BYTES = 4 << 20
SYNC_SECS, SYNC_RECORDS = 1.0, 500

log = logging.getLogger("twinflow.device")


class Spool:
    """A queue in a folder. Notes are not numbered: they are there for `history` alone.

    Args:
        folder: made when it is missing; one process at a time (see folder.py).
        max_bytes: beyond it the oldest segment that is not on its way is dropped; 0: no bound, nothing is dropped.
        keep_bytes: so much of what is done is kept for `history`.
        sync_each: each record is on the disk before `append` returns; else what was appended or done is at the latest
            a second later, and after a loss of power the last second may be missing or be sent again.
        opening: records that each new segment begins with.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 0,
        keep_bytes: int = 0,
        sync_each: bool = False,
        opening: Callable[[], list[Record]] = list,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.max_bytes, self.keep_bytes, self.sync_each = folder, max_bytes, keep_bytes, sync_each
        self._segment_bytes = min(SEGMENT_BYTES, max(max_bytes // 8, 64 << 10)) if max_bytes else SEGMENT_BYTES
        self._opening = opening
        self._lock = threading.RLock()
        self._cursor = Cursor(folder / "cursor")
        self._segments = found(folder)
        self._next = self._segments[-1].first + repair(self._segments[-1].path) if self._segments else 0
        self._ends = {s.first: n.first for s, n in zip(self._segments, self._segments[1:])}
        if len(self._segments) > 1:  # what was dropped lay behind the first
            first = self._segments[0]
            count, whole = measure(first.path)
            if whole:
                self._ends[first.first] = first.first + count
        self._sizes = {s.first: s.path.stat().st_size for s in self._segments}
        self._done: set[int] = set()
        self._stands_to = 0  # end of the segment the cursor stands in
        self._retired: list[int] = []  # descriptors of former segments, to be synced and closed
        self._unsynced = self._changed = 0
        self._synced_at = 0.0
        self._fd, self._closed = -1, False
        self._reader: Reader | None = None
        self._reading = Segment(-1, folder)
        self._read_next = 0
        if self._segments:
            self._fd = for_append(self._segments[-1].path)
            self._cursor.done_below = min(max(self._cursor.done_below, self._segments[0].first), self._next)
            self._advance()
            self.rewind()

    @property
    def waiting(self) -> int:
        with self._lock:
            below = self._cursor.done_below
            ends = [(s.first, self._ends.get(s.first, self._next)) for s in self._segments]
            return sum(max(end - max(first, below), 0) for first, end in ends) - len(self._done)

    @property
    def dropped(self) -> int:
        """Records given up so far because the spool was full or the disk was."""
        return self._cursor.dropped

    @property
    def damaged(self) -> int:
        """Records that could not be read back."""
        return self._cursor.damaged

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        with self._lock:
            return sum(self._sizes.values())

    def history(self, *, newest_segment: bool = False) -> Iterator[Record]:
        """All that is kept, also what is done, also notes, in order."""
        for segment in self._segments[-1:] if newest_segment else list(self._segments):
            yield from records(segment.path)

    def append(self, record: Record) -> None:
        """Put a record behind the others.

        Raises:
            OSError: it cannot be written, and nothing may be dropped.
        """
        frame = encode(record)
        with self._lock:
            try:
                self._write(frame, record)
            except OSError as error:
                if not self.max_bytes:
                    raise
                self._make_room(error)
                try:
                    self._write(frame, record)
                except OSError:
                    self._cursor.dropped += 1
                    self._changed += 1

    def take(self, limit: int) -> list[tuple[int, Record]]:
        """The next records not yet taken, with their numbers."""
        taken: list[tuple[int, Record]] = []
        with self._lock:
            while len(taken) < limit and self._reader is not None:
                record = self._reader.next()
                if record is None:
                    if not self._next_segment():
                        break
                elif record.topic:
                    number, self._read_next = self._read_next, self._read_next + 1
                    if number >= self._cursor.done_below and number not in self._done:
                        taken.append((number, record))
        return taken

    def done(self, number: int) -> None:
        """The broker has it, or it is given up."""
        with self._lock:
            self._done.add(number)
            self._changed += 1
            self._advance()

    def rewind(self, first: int = 0) -> None:
        """Have everything from this number on that is not done taken again, in order."""
        with self._lock:
            first = max(first, self._cursor.done_below)
            at = [s for s in self._segments if s.first <= first][-1:] or self._segments[:1]
            for segment in at:
                self._open_reader(segment)

    def settle(self) -> None:
        """Write down how far it is done; what is older than a second reaches the disk."""
        with self._lock:
            if self._changed:
                self._cursor.write()
            self._unsynced += self._changed
            self._changed = 0
            age = time.monotonic() - self._synced_at
            if not self._unsynced or self._fd < 0 or (age < SYNC_SECS and self._unsynced < SYNC_RECORDS):
                return
            self._unsynced, self._synced_at = 0, time.monotonic()
            data, self._retired = [*self._retired, os.dup(self._fd)], []
        for fd in data:  # without the lock: a slow disk must not hold up `append`
            with suppress(OSError):
                os.fsync(fd)
            os.close(fd)
        self._cursor.sync()

    def close(self) -> None:
        """Write everything down and close the files; what is appended later is refused, or counted as dropped."""
        self._unsynced, self._synced_at = self._unsynced + 1, 0.0
        self.settle()
        with self._lock:
            reader, self._reader = self._reader, None
            if reader is not None:
                reader.close()
            fd, self._fd, self._closed = self._fd, -1, True
            if fd >= 0:
                os.close(fd)
            self._cursor.close()

    def roll(self) -> None:
        """Begin a new segment, with a new opening.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            opening = self._opening()
            made = create(self.folder, self._next, b"".join(map(encode, opening)), sync=self.sync_each)
            if self._segments:
                if self._segments[-1].first == self._next:  # it held no record
                    del self._segments[-1]
                else:
                    self._ends[self._segments[-1].first] = self._next
                self._retired.append(self._fd)
            self._segments.append(made)
            self._sizes[made.first] = made.path.stat().st_size
            self._next += sum(1 for r in opening if r.topic)
            self._fd = for_append(made.path)
            if self._reader is None or self._reading.first == made.first:
                self._open_reader(made)
            self._stands_to = 0
            self._advance()
            while self.max_bytes and sum(self._sizes.values()) + self._segment_bytes > self.max_bytes:
                if not self._make_room(None):
                    break

    def _write(self, frame: bytes, record: Record) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the spool is closed")
        if not self._segments or self._sizes[self._segments[-1].first] + len(frame) > self._segment_bytes:
            self.roll()
        last = self._segments[-1]
        written = 0
        try:
            written = os.write(self._fd, frame)
            if self.sync_each:
                os.fsync(self._fd)
        finally:
            if written != len(frame):
                with suppress(OSError):
                    os.ftruncate(self._fd, self._sizes[last.first])
        if written != len(frame):
            raise OSError(errno.ENOSPC, "no space left for a record of the spool")
        self._sizes[last.first] += len(frame)
        self._unsynced += 1
        if record.topic:
            self._next += 1

    def _make_room(self, why: OSError | None) -> bool:
        """Drop the oldest segment of which nothing is on its way; False: there is none."""
        below = self._cursor.done_below
        for segment in self._segments[:-1]:
            if self._read_next > max(segment.first, below) and self._reading.first >= segment.first:
                continue
            gone = max(self._ends[segment.first] - max(segment.first, below), 0)
            self._cursor.dropped += gone
            self._changed += 1
            log.error("the spool is full (%s): %d records dropped", why or f"{self.max_bytes} bytes", gone)
            self._remove(segment)
            self._stands_to = 0
            self._advance()
            return True
        return False

    def _next_segment(self) -> bool:
        """Read on in the next segment; False when there is none."""
        later = [s for s in self._segments if s.first > self._reading.first]
        if not later:
            return False
        below, end = self._cursor.done_below, self._ends.get(self._reading.first, later[0].first)
        lost = [n for n in range(max(self._read_next, below), end) if n not in self._done]
        if lost:
            self._cursor.damaged += len(lost)
            log.error("%s is damaged: %d records are lost", self._reading.path, len(lost))
            self._done.update(lost)
            self._changed += 1
            self._advance()
        self._open_reader(later[0])
        return True

    def _open_reader(self, segment: Segment) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._reading, self._read_next = Reader(segment.path), segment, segment.first

    def _advance(self) -> None:
        """Move the cursor over what is done and over what was dropped behind it."""
        below = self._cursor.done_below
        while below in self._done:
            self._done.discard(below)
            below += 1
            if below >= self._stands_to:
                below = self._over_a_hole(below)
        self._cursor.done_below = self._over_a_hole(below) if below >= self._stands_to else below

    def _over_a_hole(self, below: int) -> int:
        """Where the cursor stands that has left a segment: behind what was dropped. Done segments go."""
        later = [s.first for s in self._segments if s.first > below]
        for segment in self._segments:
            end = self._ends.get(segment.first, self._next)
            if segment.first <= below < end or (segment is self._segments[-1] and below >= segment.first):
                self._stands_to = end if segment is not self._segments[-1] else self._next + (1 << 62)
                later = []
        if later:
            return self._over_a_hole(later[0])
        self._cursor.done_below = below
        self._tidy()
        return below

    def _tidy(self) -> None:
        """Remove segments that are done, beyond what is kept; the last one stays, it says what was counted."""
        kept = 0
        for segment in reversed(self._segments[:-1]):
            kept += self._sizes[segment.first]
            if self._ends[segment.first] <= self._cursor.done_below and kept > self.keep_bytes:
                self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        if self._reading.first == segment.first:
            later = [s for s in self._segments if s.first > segment.first]
            self._open_reader(later[0])
        self._segments.remove(segment)
        self._sizes.pop(segment.first)
        self._ends.pop(segment.first)
        with suppress(OSError):
            segment.path.unlink()
