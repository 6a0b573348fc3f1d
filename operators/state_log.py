"""The log that keeps a shard's state: a full image, then deltas of the rows that changed.

An append is checksummed and synced to disk before it returns. The position it returns is what a checkpoint stores;
`restore` truncates to that position, so state and source offset always belong together. A log that outgrows its
image by `COMPACT_RATIO` starts a new generation; the one before stays until the new one has been appended to twice,
because the checkpoint that names it may be the last one that was committed.

Layout of an entry (little endian): length u32, crc32 u32 of the body, then the body: header length u32, a JSON header
`[[name, dtype, shape, how], ...]`, then per array the bytes. how = "full" | "same" | "rows" (count i64, indices i64[],
rows). A file opens with MAGIC and the version of this layout.
"""

from __future__ import annotations

import json
import os
import zlib
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
class Position:
    """Where a snapshot ends: what the checkpoint stores instead of the state."""

    file: str
    length: int
    version: int = VERSION


class StateLog:
    """Append-only log of one shard's state.

    >>> import tempfile
    >>> log = StateLog(Path(tempfile.mkdtemp()), "03gb")
    >>> at = log.append({"count": np.array([1, 2, 3])})
    >>> at = log.append({"count": np.array([1, 5, 3, 4])})
    >>> StateLog(log.folder, "03gb").restore(at)["count"].tolist()
    [1, 5, 3, 4]
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

    def append(self, state: State) -> Position:
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
        return Position(self._path(self._generation).name, self._length)

    def restore(self, at: Position) -> State:
        """State as of a position; what lies behind it is cut off.

        Raises:
            StateError: the file is missing, shorter than the position, damaged, or of an unknown version.
        """
        path = self.folder / at.file
        fresh = f"twinflow flow reset {self.folder.parent.name} --yes"
        fix = f"restore {path} from a backup, or rebuild the state from the input that is kept: {fresh}"
        if at.version != VERSION:
            raise StateError(where=str(path), detail=f"layout version {at.version}, this is {VERSION}", fix=fix)
        if not path.exists():
            raise StateError(where=str(path), detail="the checkpoint names this file and it is gone", fix=fix)
        data = path.read_bytes()
        if len(data) < at.length:
            detail = f"{len(data)} bytes, the checkpoint needs {at.length}"
            raise StateError(where=str(path), detail=detail, fix=fix)
        self._image = _replay(data[: at.length], str(path), fix)
        os.truncate(path, at.length)
        self._generation, self._length, self._appended = _generation(path), at.length, 1
        self._full_bytes = int.from_bytes(data[8:12], "little")
        self._open()
        for newer in self.folder.glob(f"{self.name}.*.log"):
            if _generation(newer) > self._generation:
                newer.unlink()
        return {k: v.copy() for k, v in self._image.items()}

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


def _replay(data: bytes, where: str, fix: str) -> State:
    if data[:4] != MAGIC or data[4:8] != _PREFIX[4:]:
        raise StateError(where=where, detail="this is not a state log of this version", fix=fix)
    state: State = {}
    at = len(_PREFIX)
    while at < len(data):
        size, crc = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if len(body) < size or zlib.crc32(body) != crc:
            raise StateError(where=where, detail=f"entry at byte {at} is damaged", fix=fix)
        state = _decode(body, state)
        at += 8 + size
    return state


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
