"""The log that keeps a shard's state: a full image, then deltas of the rows that changed.

An append is checksummed, and with the system when it returns: a process that is killed loses none. It goes to the disk
in the background, and the next append waits for that: a power cut loses no more than the last one. `restore` gives the
newest state that belongs to what was committed elsewhere, and cuts off what lies behind it. A log that outgrows its
image by `COMPACT_RATIO` starts a new generation; the one before stays for `KEPT_APPENDS` more appends, because the last
state that was committed may be in it.

Layout of an entry (little endian): length u32, crc32 u32 of the body, then the body: header length u32, a JSON header
`[[name, dtype, shape, how], ...]`, then per array the bytes. how = "full" | "same" | "rows" (count i64, indices i64[],
rows). A file opens with MAGIC and the version of this layout; what the arrays mean is the business of whoever appends.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.compiled import kernel
from operators.errors import StateError
from operators.state_entries import Part, applied, encode
from operators.touched import Changed
from operators.types import I64, Rows, State

MAGIC = b"TWSL"
VERSION = 1
LAST_VERSION = 0xFFFF
"""A larger number, or 0, is no version but what a power cut or a bad disk left of one."""
COMPACT_RATIO = 2
COMPACT_FLOOR_BYTES = 1 << 20
KEPT_APPENDS = 3
"""A state so many appends old is still there: a commit may be two behind."""
PARTS_PER_WRITE = os.sysconf("SC_IOV_MAX")
BLOCK_WORDS = 128
"""Columns are compared in blocks of rows of about so many words: equal ones are passed over by vector instructions."""
_PREFIX = MAGIC + VERSION.to_bytes(4, "little")
_HEADER = 8
_NONE: Rows = np.zeros(0, np.int64)
_SYNC = ThreadPoolExecutor(1, thread_name_prefix="state-sync")  # ended by the interpreter, once all is on the disk


@dataclass(frozen=True, slots=True)
class Restored:
    """What a log gave back: the state, None where none fits; `damaged` says what could not be read, "" for nothing.

    A damaged end is ordinary after a crash; whether anything is missing, only the offset of the state can tell.
    """

    state: State | None
    damaged: str


def anything(_state: State) -> bool:
    """Every state fits."""
    return True


class StateLog:
    """Append-only log of one shard's state.

    >>> import tempfile
    >>> log = StateLog(Path(tempfile.mkdtemp()), "03gb")
    >>> log.append({"count": np.array([1, 2, 3])})
    >>> log.append({"count": np.array([1, 5, 3, 4])})
    >>> StateLog(log.folder, "03gb").restore(anything).state["count"].tolist()
    [1, 5, 3, 4]
    >>> StateLog(log.folder, "03gb").restore(lambda state: len(state["count"]) < 4).state["count"].tolist()
    [1, 2, 3]
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._image: State = {}  # as written last; of columns whose changes are named only the shape counts
        self._generation = max((_generation(p) for p in folder.glob(f"{name}.*.log")), default=0)
        self._appended = 0
        self._begun: dict[int, int] = {}  # appends before the image of each generation that is there
        self._length = 0
        self._full_bytes = 0
        self._file: int | None = None
        self._syncing: Future[None] | None = None

    def append(self, state: State, changed: Changed | None = None) -> None:
        """Write what changed since the last append, once that one is on the disk.

        Args:
            state: read, not kept.
            changed: by column, the rows that may have changed since; rows added at the end need no mention. A column
                that is not named is compared with what was written last, of which a copy is kept.

        Raises:
            StateError: the disk takes no more.
        """
        self._await_disk()
        named = changed or {}
        before = self._image
        rows = {name: _changed_rows(column, before.get(name), named.get(name)) for name, column in state.items()}
        parts = encode(state, rows)
        size = sum(map(len, parts))
        grown = self._length + size > COMPACT_RATIO * self._full_bytes + COMPACT_FLOOR_BYTES
        if anew := self._file is None or grown:
            parts = encode(state, dict.fromkeys(state))
            size = sum(map(len, parts))
        self._image = {}  # an append that fails, on a full disk, leaves nothing to build on
        try:
            if anew:
                self._start_generation(size)
            self._write(parts, size)
        except OSError as error:
            self.close()
            detail = f"{size} bytes could not be appended: {error.strerror}"
            fix = "nothing is lost: free space there, and the flow goes on from its last snapshot"
            raise StateError(where=str(self._path(self._generation)), detail=detail, fix=fix) from error
        self._image = {
            name: (_shape_of if name in named else _noted)(column, before.get(name)) for name, column in state.items()
        }
        self._appended += 1
        self._forget_older()

    def _write(self, parts: Sequence[Part], size: int) -> None:
        file, crc = self._file, 0
        assert file is not None
        for part in parts:
            crc = zlib.crc32(part, crc)
        _write_all(file, [size.to_bytes(4, "little") + crc.to_bytes(4, "little"), *parts])
        self._syncing = _SYNC.submit(os.fsync, file)
        self._length += size + _HEADER

    def restore(self, fits: Callable[[State], bool]) -> Restored:
        """The newest state that fits; what lies behind it is cut off. Of each file the states before the first that
        does not fit are looked at, the newest file first. What comes back is to be read before the next append.

        Raises:
            StateError: a file is of another version of this layout.
        """
        damaged = ""
        for path in sorted(self.folder.glob(f"{self.name}.*.log"), key=_generation, reverse=True):
            with _mapped(path) as data:
                found = _Found(data, path)
                state = found.newest(fits)
                full_bytes = int.from_bytes(data[8:12], "little")
            damaged = damaged or found.damaged
            if state is not None:
                self._go_on(path, state, found.end, full_bytes)
                return Restored(state, damaged)
        return Restored(None, damaged)

    def _go_on(self, path: Path, image: State, length: int, full_bytes: int) -> None:
        os.truncate(path, length)
        self._image, self._generation, self._length, self._full_bytes = (
            dict(image),
            _generation(path),
            length,
            full_bytes,
        )
        self._open()
        for newer in self.folder.glob(f"{self.name}.*.log"):
            if _generation(newer) > self._generation:
                newer.unlink()
        self._begun = {_generation(p): 0 for p in self.folder.glob(f"{self.name}.*.log")}

    def _await_disk(self) -> None:
        """Wait until all that was appended is on the disk."""
        if self._syncing is not None:
            self._syncing.result()
            self._syncing = None

    def close(self) -> None:
        """Close the file, once all is on the disk."""
        self._await_disk()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _path(self, generation: int) -> Path:
        return self.folder / f"{self.name}.{generation}.log"

    def _open(self) -> None:
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(self._path(self._generation), flags, 0o600)

    def _start_generation(self, full_bytes: int) -> None:
        self._generation += 1
        self._open()
        assert self._file is not None
        _write_all(self._file, [_PREFIX])
        _sync_folder(self.folder)
        self._length, self._full_bytes = len(_PREFIX), full_bytes
        self._begun[self._generation] = self._appended

    def _forget_older(self) -> None:
        """Drop the generations before the newest whose image is old enough."""
        oldest = max((g for g, begun in self._begun.items() if self._appended - begun > KEPT_APPENDS), default=0)
        older = [generation for generation in self._begun if generation < oldest]
        if older:
            self._await_disk()
        for generation in older:
            self._path(generation).unlink(missing_ok=True)
            del self._begun[generation]


def _generation(path: Path) -> int:
    return int(path.name.rsplit(".", 2)[1])


def _write_all(file: int, parts: Sequence[Part]) -> None:
    """Write all parts, in as few calls as the system allows."""
    views = [memoryview(part) for part in parts if len(part)]
    while views:
        done = os.writev(file, views[:PARTS_PER_WRITE])
        gone = 0
        while gone < len(views) and done >= len(views[gone]):
            done -= len(views[gone])
            gone += 1
        views = views[gone:]
        if done:
            views[0] = views[0][done:]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _shape_of(column: NDArray[Any], before: NDArray[Any] | None) -> NDArray[Any]:
    """An array of this kind and shape that holds no memory: nobody reads its values."""
    if (
        before is not None
        and not before.flags.writeable
        and (before.shape, before.dtype) == (column.shape, column.dtype)
    ):
        return before
    return np.broadcast_to(np.zeros((), column.dtype), column.shape)


def _comparable(new: NDArray[Any], old: NDArray[Any] | None) -> bool:
    """Whether `old` holds the values of the first rows of `new`, as they were."""
    if old is None or new.ndim == 0 or new.dtype != old.dtype or new.shape[1:] != old.shape[1:]:
        return False
    return 0 < old.size <= new.size and old.flags.writeable


def _noted(column: NDArray[Any], before: NDArray[Any] | None) -> NDArray[Any]:
    """A copy of a column; the one before has become one where both were compared."""
    if before is not None and before.shape == column.shape and _comparable(column, before):
        return before
    return column.copy()


def _words(column: NDArray[Any]) -> NDArray[Any]:
    """The bytes of a column, row after row, in the largest words that a row is made of."""
    row_bytes = column.nbytes // column.shape[0]
    word = np.uint64 if row_bytes % 8 == 0 else np.uint8
    return np.ascontiguousarray(column).reshape(-1).view(word)


def _changed_rows(new: NDArray[Any], old: NDArray[Any] | None, named: Rows | None) -> Rows | None:
    """Rows of `new` that may differ from `old`, those added at the end too; None where only a full write will do.

    Where they are compared, `old` takes over what differs.
    """
    if old is None:
        return None
    if named is not None:
        same = new.dtype == old.dtype and new.shape[1:] == old.shape[1:] and old.shape[0] <= new.shape[0]
        return _unless_most(_and_added(named[named < old.shape[0]], old, new), new) if same else None
    if not _comparable(new, old):
        return None
    rows = np.empty(old.shape[0], np.int64)
    now, then = _words(new[: old.shape[0]]), _words(old)
    found = _differing(now, then, then.size // old.shape[0], rows)
    return _unless_most(_and_added(rows[:found], old, new), new) if found or len(old) < len(new) else _NONE


def _and_added(rows: Rows, old: NDArray[Any], new: NDArray[Any]) -> Rows:
    if old.shape[0] == new.shape[0]:
        return rows
    return np.concatenate([rows, np.arange(old.shape[0], new.shape[0])])


@kernel
def _differing(new: NDArray[Any], old: NDArray[Any], width: int, rows: I64) -> int:
    """Rows, of so many words each, that are not equal, the first so many of `rows`; in `old` they become equal."""
    found, step, words = 0, max(1, BLOCK_WORDS // width), new.size
    for first in range(0, words, step * width):
        end = min(first + step * width, words)
        differ = new[first] ^ old[first]
        for k in range(first + 1, end):
            differ |= new[k] ^ old[k]
        if differ == 0:
            continue
        for row in range(first // width, end // width):
            for k in range(row * width, (row + 1) * width):
                if new[k] != old[k]:
                    for rest in range(k, (row + 1) * width):
                        old[rest] = new[rest]
                    rows[found] = row
                    found += 1
                    break
    return found


def warm() -> None:
    """Compile, or load from the cache, the loop that compares.

    >>> warm()
    """
    for word in (np.uint64, np.uint8):
        _differing(np.zeros(1, word), np.ones(1, word), 1, np.zeros(1, np.int64))


def _unless_most(rows: Rows, column: NDArray[Any]) -> Rows | None:
    return None if 2 * rows.size > column.shape[0] else rows


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file, without reading them all into memory of our own."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:  # cannot be mapped
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


class _Found:
    """The states in one file.

    Attributes:
        end: position behind the state that `newest` gave.
        damaged: what could not be read, "" for nothing.
    """

    def __init__(self, data: mmap.mmap | bytes, path: Path) -> None:
        self._data, self._path = data, path
        self.end = 0
        self.damaged = ""

    def newest(self, fits: Callable[[State], bool]) -> State | None:
        """The last of the states before the first that does not fit; None where there is none."""
        taken: list[tuple[int, int]] = []
        state: State = {}
        for start, end in self._entries():
            state = applied(self._data, start, end, state)
            if not fits(state):
                state = {}
                for again in taken:  # deltas are put in place, so what was before has to be made anew
                    state = applied(self._data, *again, state)
                break
            taken.append((start, end))
        if not taken:
            return None
        self.end = taken[-1][1]
        return state

    def _entries(self) -> Iterator[tuple[int, int]]:
        """Where the body of each sound entry starts and ends, up to the first that is damaged."""
        data, at = self._data, len(_PREFIX)
        if len(data) < at:
            return
        if data[: len(MAGIC)] != MAGIC or not 0 < int.from_bytes(data[len(MAGIC) : at], "little") <= LAST_VERSION:
            self.damaged = f"{self._path}: the head is damaged"
            return
        if data[:at] != _PREFIX:
            fix = (
                "start the version of twinflow that wrote it, or give the state up: twinflow flow reset telemetry --yes"
            )
            raise StateError(where=str(self._path), detail=f"is no state log of layout version {VERSION}", fix=fix)
        while at < len(data):
            size, crc = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 4 : at + 8], "little")
            start, end = at + _HEADER, at + _HEADER + size
            with memoryview(data) as view:
                sound = 0 < size <= len(data) - start and zlib.crc32(view[start:end]) == crc
            if not sound:
                self.damaged = f"{self._path}: the entry at byte {at} is damaged"
                return
            yield start, end
            at = end
