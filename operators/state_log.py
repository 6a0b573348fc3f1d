"""The log that keeps a shard's state: a full image, then deltas of the rows that changed.

An append is checksummed and synced to disk before it returns. `restore` gives the newest state that belongs to what
was committed elsewhere, and cuts off what lies behind it. A log that outgrows its image by `COMPACT_RATIO` starts a
new generation; the one before stays until the new one has been appended to twice, because the last state that was
committed may be in it.

Layout of an entry (little endian): length u32, crc32 u32 of the body, then the body: header length u32, a JSON header
`[[name, dtype, shape, how], ...]`, then per array the bytes. how = "full" | "same" | "rows" (count i64, indices i64[],
rows). A file opens with MAGIC and the version of this layout.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.errors import StateError
from operators.types import State

MAGIC = b"TWSL"
VERSION = 1
COMPACT_RATIO = 4
COMPACT_FLOOR_BYTES = 1 << 20
_PREFIX = MAGIC + VERSION.to_bytes(4, "little")


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
        self._image: State = {}
        self._generation = max((_generation(p) for p in folder.glob(f"{name}.*.log")), default=0)
        self._appended = 0
        self._length = 0
        self._full_bytes = 0
        self._file: int | None = None

    def append(self, state: State) -> None:
        """Write what changed since the last append; on return it is on disk."""
        body = _encode(state, self._image)
        if self._file is None or self._length + len(body) > COMPACT_RATIO * self._full_bytes + COMPACT_FLOOR_BYTES:
            body = _encode(state, {})
            self._start_generation(len(body))
        assert self._file is not None
        entry = len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body
        _write_all(self._file, entry)
        os.fsync(self._file)
        self._length += len(entry)
        self._image = {k: v.copy() for k, v in state.items()}
        self._appended += 1
        if self._appended == 3:
            self._forget_older()

    def restore(self, fits: Callable[[State], bool]) -> Restored:
        """The newest state that fits; what lies behind it is cut off. Of each file the states before the first that
        does not fit are looked at, the newest file first.

        Raises:
            StateError: a file is of another version of this layout.
        """
        damaged = ""
        for path in sorted(self.folder.glob(f"{self.name}.*.log"), key=_generation, reverse=True):
            data = path.read_bytes()
            best: State | None = None
            length = 0
            for state, end, wrong in _states(data, path):
                damaged = damaged or wrong
                if wrong or not fits(state):
                    break
                best, length = state, end
            if best is not None:
                self._go_on(path, best, length, int.from_bytes(data[8:12], "little"))
                return Restored({k: v.copy() for k, v in best.items()}, damaged)
        return Restored(None, damaged)

    def _go_on(self, path: Path, image: State, length: int, full_bytes: int) -> None:
        os.truncate(path, length)
        self._image, self._generation, self._length, self._appended = image, _generation(path), length, 1
        self._full_bytes = full_bytes
        self._open()
        for newer in self.folder.glob(f"{self.name}.*.log"):
            if _generation(newer) > self._generation:
                newer.unlink()

    def close(self) -> None:
        """Close the file; nothing is pending."""
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
        _write_all(self._file, _PREFIX)
        _sync_folder(self.folder)
        self._length, self._full_bytes, self._appended = len(_PREFIX), full_bytes, 0

    def _forget_older(self) -> None:
        for path in self.folder.glob(f"{self.name}.*.log"):
            if _generation(path) < self._generation:
                path.unlink()


def _generation(path: Path) -> int:
    return int(path.name.rsplit(".", 2)[1])


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _row_bytes(x: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(x).view(np.uint8).reshape(x.shape[0], -1)


def _changed_rows(new: NDArray[Any], old: NDArray[Any] | None) -> NDArray[np.intp] | None:
    """Rows of `new` that differ from `old` (rows added at the end differ); None where only a full write will do."""
    if old is None or new.ndim == 0 or new.dtype != old.dtype or new.shape[1:] != old.shape[1:]:
        return None
    kept = old.shape[0]
    if kept > new.shape[0] or new.size == 0 or old.size == 0:
        return None
    differs = (_row_bytes(new[:kept]) != _row_bytes(old)).any(axis=1)
    return np.concatenate([np.flatnonzero(differs), np.arange(kept, new.shape[0])])


def _encode(state: State, image: State) -> bytes:
    header: list[tuple[str, str, tuple[int, ...], str]] = []
    parts: list[bytes] = []
    for name, column in state.items():
        rows = _changed_rows(column, image.get(name))
        how = "full" if rows is None or 2 * rows.size > column.shape[0] else "rows" if rows.size else "same"
        header.append((name, column.dtype.str, column.shape, how))
        if how == "full":
            parts.append(column.tobytes())
        elif how == "rows" and rows is not None:
            parts += [rows.size.to_bytes(8, "little"), rows.astype("<i8").tobytes(), column[rows].tobytes()]
    text = json.dumps(header).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, *parts])


def _states(data: bytes, path: Path) -> Iterator[tuple[State, int, str]]:
    """Each state of a file with the position behind it; where an entry is damaged, that as the last item."""
    if len(data) < len(_PREFIX):
        return
    if data[: len(_PREFIX)] != _PREFIX:
        fix = "start the version of twinflow that wrote it, or give the state up: twinflow flow reset telemetry --yes"
        raise StateError(where=str(path), detail=f"is no state log of layout version {VERSION}", fix=fix)
    state: State = {}
    at = len(_PREFIX)
    while at < len(data):
        size, crc = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if len(body) < size or zlib.crc32(body) != crc:
            yield {}, at, f"{path}: the entry at byte {at} is damaged"
            return
        state = _decode(body, state)
        at += 8 + size
        yield state, at, ""


def _decode(body: bytes, image: State) -> State:
    header_end = 4 + int.from_bytes(body[:4], "little")
    at = header_end
    state: State = {}
    for name, dtype_text, shape, how in json.loads(body[4:header_end]):
        dtype = np.dtype(dtype_text)
        if how == "same":
            state[name] = image[name]
            continue
        if how == "full":
            count = int(np.prod(shape))
            state[name] = np.frombuffer(body, dtype, count, at).reshape(shape).copy()
            at += count * dtype.itemsize
            continue
        count = int.from_bytes(body[at : at + 8], "little")
        rows = np.frombuffer(body, "<i8", count, at + 8)
        at += 8 + 8 * count
        column = np.zeros(shape, dtype)
        column[: image[name].shape[0]] = image[name]
        values = count * int(np.prod(shape[1:]))
        column[rows] = np.frombuffer(body, dtype, values, at).reshape(count, *shape[1:])
        at += values * dtype.itemsize
        state[name] = column
    return state
