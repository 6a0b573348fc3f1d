"""CSV as text columns, in pieces of whole lines: structure first, so that a broken line costs only itself.

Lines are counted and cut here, by numpy; pyarrow splits what is known to be well-formed. A piece that holds a quote
goes through the csv module line by line, with the same result for every line without one.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from connectors.recordings.faults import Faults, RecordingError
from connectors.recordings.mapping import Csv
from operators.types import I64, Mask

LONGEST_LINE = 131_072
"""Bytes of a line that are read."""
NEWLINE, RETURN, QUOTE = 10, 13, 34


@dataclass(frozen=True, slots=True)
class TextRows:
    """Rows of a table: `row`, int64[n], is the line in the file (the header is 1); `table` has text columns."""

    row: I64
    table: pa.Table


def lines(path: Path, chunk_bytes: int, faults: Faults) -> Iterator[bytes]:
    """Whole lines, many at a time, each ending in a newline; `.gz` is unpacked; a cut file gives what is whole."""
    rest = b""
    with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
        while chunk := _read(file, chunk_bytes, faults):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            rest = rest[: LONGEST_LINE + 2]
            if newline:
                yield whole + b"\n"
    if rest and not faults.counts["cut_off"]:
        yield rest + b"\n"


def _read(file: BinaryIO | gzip.GzipFile, size: int, faults: Faults) -> bytes:
    try:
        return file.read1(size) if isinstance(file, gzip.GzipFile) else file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        faults.add("cut_off", f"byte {file.tell()}", f"the rest cannot be unpacked: {error}")
        return b""


def read_header(path: Path, spec: Csv) -> list[str]:
    """Names of the columns, from the first line that is not blank.

    Raises:
        RecordingError: there is none, or it is no text.
    """
    for piece in lines(path, 65_536, Faults()):
        for line in piece.splitlines():
            if line.strip():
                return _names(path, line, spec)
    raise RecordingError(what=str(path), why="is empty", fix="give a CSV with a header line")


def _names(path: Path, line: bytes, spec: Csv) -> list[str]:
    try:
        text = line.decode("utf-8-sig" if spec.encoding == "utf-8" else spec.encoding)
        return [name.strip() for name in next(csv.reader([text], delimiter=spec.separator, strict=True))]
    except (UnicodeDecodeError, csv.Error) as error:
        fix = "give csv.encoding and csv.separator in the mapping"
        raise RecordingError(what=str(path), why=f"its header cannot be read: {error}", fix=fix) from None


def read_csv(path: Path, columns: list[str], spec: Csv, *, chunk_bytes: int, faults: Faults) -> Iterator[TextRows]:
    """The rows below the header, the given columns only.

    Raises:
        RecordingError: see read_header.
    """
    header = read_header(path, spec)
    row, seen_header = 1, False
    for piece in lines(path, chunk_bytes, faults):
        piece = piece.replace(b"\r\n", b"\n")
        if spec.encoding != "utf-8":
            piece = piece.decode(spec.encoding, "replace").encode()
        text = np.frombuffer(piece, np.uint8)
        end = np.flatnonzero(text == NEWLINE).astype(np.int64)
        start = np.concatenate([[0], end[:-1] + 1]).astype(np.int64)
        number = np.arange(row, row + end.size, dtype=np.int64)
        row += end.size
        keep = np.array([bool(piece[a:b].strip()) for a, b in zip(start, end, strict=True)], np.bool_)
        if not seen_header and keep.any():
            seen_header = True
            keep[int(np.argmax(keep))] = False
        yield from _piece(piece, header, columns, spec, _Lines(number, start, end, keep), faults)


@dataclass(frozen=True, slots=True)
class _Lines:
    number: I64
    start: I64
    end: I64
    keep: Mask


def _piece(
    piece: bytes, header: list[str], columns: list[str], spec: Csv, cut: _Lines, faults: Faults
) -> Iterator[TextRows]:
    text = np.frombuffer(piece, np.uint8)

    def count(byte: int) -> I64:
        return np.bincount(np.searchsorted(cut.end, np.flatnonzero(text == byte)), minlength=cut.end.size)

    fields = count(ord(spec.separator)) + 1
    odd = (count(QUOTE) > 0) | (count(RETURN) > 0) | (fields != len(header)) | (cut.end - cut.start > LONGEST_LINE)
    if not _is_text(piece):
        odd |= np.array([not _is_text(_at(piece, cut, i)) for i in range(cut.end.size)], np.bool_)
    keep = cut.keep.copy()
    cells: dict[int, list[str]] = {}
    for i in np.flatnonzero(cut.keep & odd).tolist():
        found = _odd_line(_at(piece, cut, i), header, spec.separator)
        if isinstance(found, list):
            cells[i] = found
        else:
            keep[i] = False
            faults.add(found[0], f"row {cut.number[i]}", found[1])
    rows = np.flatnonzero(keep)
    if rows.size and cells:
        yield TextRows(cut.number[rows], _by_csv(piece, cut, rows, cells, header, columns, spec))
    elif rows.size:
        yield TextRows(cut.number[rows], _by_arrow(piece, cut, rows, header, columns, spec))


def _odd_line(line: bytes, header: list[str], separator: str) -> list[str] | tuple[str, str]:
    """Cells of a line that is not plain, or the kind and detail of its fault."""
    if len(line) > LONGEST_LINE:
        return "long_row", f"is over {LONGEST_LINE} bytes long"
    if not _is_text(line):
        return "bad_text", "is no UTF-8"
    if RETURN in line:
        return "bad_row", "has a carriage return inside"
    try:
        cells = next(csv.reader([line.decode()], delimiter=separator, strict=True))
    except csv.Error as error:
        return "bad_row", str(error)
    if len(cells) != len(header):
        return "bad_row", f"{len(cells)} field{'s' * (len(cells) != 1)}, the header has {len(header)}"
    return cells


def _at(piece: bytes, cut: _Lines, i: int) -> bytes:
    return piece[int(cut.start[i]) : int(cut.end[i])]


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _by_csv(
    piece: bytes, cut: _Lines, rows: I64, cells: dict[int, list[str]], header: list[str], columns: list[str], spec: Csv
) -> pa.Table:
    split = [cells.get(i) or _at(piece, cut, i).decode().split(spec.separator) for i in rows.tolist()]
    places = [header.index(c) for c in columns]
    return pa.table(
        {c: pa.array([cell[p] for cell in split], pa.string()) for c, p in zip(columns, places, strict=True)}
    )


def _by_arrow(piece: bytes, cut: _Lines, rows: I64, header: list[str], columns: list[str], spec: Csv) -> pa.Table:
    clean = piece if rows.size == cut.end.size else b"\n".join(_at(piece, cut, i) for i in rows.tolist()) + b"\n"
    places = [header.index(c) for c in columns]
    names = [str(i) for i in range(len(header))]
    table = arrow_csv.read_csv(
        pa.BufferReader(clean),
        read_options=arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(clean) + 1),
        parse_options=arrow_csv.ParseOptions(delimiter=spec.separator, quote_char=False, ignore_empty_lines=False),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=[names[p] for p in places],
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[],
            strings_can_be_null=False,
        ),
    )
    return table.combine_chunks().rename_columns(columns)
