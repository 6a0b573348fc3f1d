"""What can be wrong with a recording: what refuses it, and what only costs a row.

    TwinflowError
    |-- RecordingError        the file cannot be read at all, or not by this mapping
    `-- DefinitionError
        `-- MappingError      a mapping file does not hold together, with its line

Everything smaller is a `Fault`: counted, the first ones kept in words, the rest of the recording goes on.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from operators.errors import DefinitionError, TwinflowError

SHOWN = 10
"""Faults of one kind that are kept in words."""


class RecordingError(TwinflowError):
    """A recording that is refused.

    >>> str(RecordingError(what="x.csv", why="has no column 'Presure'", fix="did you mean 'Pressure'?"))
    "x.csv: has no column 'Presure'; did you mean 'Pressure'?"
    """

    def __init__(self, *, what: str, why: str, fix: str) -> None:
        super().__init__(f"{what}: {why}; {fix}")


class MappingError(DefinitionError):
    """A mapping file is refused: names file, line, key and what would be right."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that could not be read.

    `kind`: bad_row, long_row, bad_text, bad_time, bad_value, bad_device, bad_chunk, bad_message or cut_off; `where`:
    the row of a table (the header of a CSV is row 1), the byte of a container.
    """

    kind: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.detail}"


@dataclass
class Faults:
    """Counts by kind, and the first few of each in words.

    >>> faults = Faults()
    >>> faults.add("bad_row", "row 7", "4 fields, the header has 11")
    >>> faults.total, str(faults.first[0])
    (1, 'bad_row: row 7: 4 fields, the header has 11')
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: list[Fault] = field(default_factory=list)

    def add(self, kind: str, where: str, detail: str) -> None:
        """One more."""
        self.counts[kind] += 1
        if self.counts[kind] <= SHOWN:
            self.first.append(Fault(kind, where, detail))

    @property
    def total(self) -> int:
        return self.counts.total()


def nearest(name: str, known: Iterable[str]) -> str:
    """What to write instead of a name that is not there.

    >>> nearest("presure", ["Pressure", "flow"]), nearest("x", ["a"])
    ("did you mean 'Pressure'?", 'there are: a')
    """
    names = list(known)
    lowered = {n.lower(): n for n in reversed(names)}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    return f"there are: {', '.join(names[:12]) or 'none'}{', ...' if len(names) > 12 else ''}"
