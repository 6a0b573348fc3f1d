"""Just enough of ClickHouse's lexer: which kind of statement, its FORMAT, and where the data of an INSERT begins.

Statements are bytes and are looked at as latin-1, so positions are byte positions and any encoding passes. Nothing
here guards anything: what the read-only user may do is decided on the engine's own parse (`infra.history.readonly`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

_TOKEN = re.compile(
    r"""(?P<skip> \s+ | --[^\n]* | \#[!\ ][^\n]* | // [^\n]* | /\*.*?\*/ )
      | (?P<quoted> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` | (?P<here>\$\w*\$).*?(?P=here) )
      | (?P<word> [A-Za-z_]\w* )
      | (?P<mark> \d[\w.]* | . )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_TAIL_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_LONG = 1 << 16  # longer statements are lists of values: only their tail is searched for FORMAT
_READS = {"SELECT", "WITH", "FROM"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word (upper case, at depth 0 or deeper) or another sign; comments and space are left out."""

    text: str
    start: int
    end: int
    depth: int
    word: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """What the front must know of a statement before it runs it.

    Attributes:
        verb: first word, upper case; "" when there is none.
        format: its own FORMAT clause, "" without one.
        streams: the engine can hand its result out block by block.
        totals: has WITH TOTALS, which a block-wise result would lose.
        outfile: writes its result into a file of the server.
        several: another statement follows after a semicolon.
        temporary: makes or drops a temporary table.
    """

    verb: str
    format: str
    streams: bool
    totals: bool
    outfile: bool
    several: bool
    temporary: bool

    @property
    def of_session(self) -> bool:
        """Changes what later statements of the same session see."""
        return self.verb in {"SET", "USE"} or self.temporary


@dataclass(frozen=True, slots=True)
class InsertHead:
    """An INSERT up to its data: the statement without FORMAT, the format, and where the data begins."""

    sql: bytes
    format: str
    data_at: int


def tokens(text: bytes) -> Iterator[Token]:
    """All tokens but comments and space."""
    depth = 0
    for found in _TOKEN.finditer(text.decode("latin-1")):
        kind = found.lastgroup
        if kind == "skip":
            continue
        value = found.group()
        if value in (")", "]", "}"):
            depth -= 1
        word = kind == "word"
        yield Token(value.upper() if word else value, found.start(), found.end(), depth, word)
        if value in ("(", "[", "{"):
            depth += 1


def read(text: bytes) -> Statement:
    """Look at a statement.

    >>> found = read(b"/* x */ SELECT ';', format FROM t FORMAT JSONEachRow;")
    >>> found.verb, found.format, found.streams, found.several
    ('SELECT', 'JSONEachRow', True, False)
    """
    if len(text) > _LONG:
        tail = _TAIL_FORMAT.search(text[-200:])
        verb = next((t.text for t in tokens(text[:_LONG]) if t.word), "")
        return Statement(verb, tail[1].decode() if tail else "", verb in _READS, False, False, False, False)
    seen = list(tokens(text))
    top = [t for t in seen if t.depth <= 0]
    words = [t.text if t.word else "" for t in top]
    verb = next((t.text for t in seen if t.text != "("), "") if seen else ""
    last = next((i for i, t in enumerate(top) if t.text == ";"), len(top))
    pairs = set(pairwise(words))
    inserts = "INSERT" in words[:last]
    return Statement(
        verb=verb,
        format="" if inserts and "SELECT" not in words else _format(text, top[:last]),
        streams=verb in _READS and not inserts,
        totals=any(a.text == "WITH" and b.text == "TOTALS" for a, b in pairwise(seen)),
        outfile=("INTO", "OUTFILE") in pairs,
        several=any(t.text != ";" for t in top[last:]),
        temporary=verb in {"CREATE", "DROP"} and "TEMPORARY" in _words_before(words, "TABLE"),
    )


def _words_before(words: list[str], stop: str) -> list[str]:
    return words[: words.index(stop)] if stop in words else []


def _format(text: bytes, top: list[Token]) -> str:
    for at in range(len(top) - 2, 0, -1):
        follower = top[at + 2].text if at + 2 < len(top) else ""
        if top[at].text == "FORMAT" and top[at + 1].word and follower in ("", "SETTINGS", "INTO"):
            return text[top[at + 1].start : top[at + 1].end].decode()
    return ""


def insert_head(text: bytes, *, whole: bool) -> InsertHead | bool:
    """Where the data of an INSERT begins in the start of a request.

    Args:
        text: the beginning of statement and data.
        whole: there is nothing after it.

    Returns:
        The head; False when it is no INSERT with data (a SELECT, an INSERT ... SELECT, DDL); True when more bytes are
        needed to tell.

    >>> insert_head(b"INSERT INTO t (a) FORMAT CSV\\n1,2", whole=True)
    InsertHead(sql=b'INSERT INTO t (a)', format='CSV', data_at=29)
    >>> insert_head(b"INSERT INTO t (a) SELECT 1", whole=False), insert_head(b"INSERT INTO t (a", whole=False)
    (False, True)
    """
    seen: list[Token] = []
    for token in tokens(text):
        if not seen and token.text != "INSERT":
            cut = "INSERT".startswith(token.text) and token.end == len(text)
            return not whole and (cut or token.text in "/-#")  # a comment that is not over yet
        if token.end == len(text) and not whole:
            return True
        before = seen[-1] if seen else None
        seen.append(token)
        if before is None or not token.word or before.text in {"INTO", "TABLE", "."}:
            continue
        if token.text in {"SELECT", "WITH"} and (not token.depth or before.text == "("):
            return False
        if token.depth:
            continue
        if token.text == "INFILE":
            return False
        if before.text == "FORMAT" and seen[-3].text not in {"INTO", "TABLE", "."}:
            name = text[token.start : token.end].decode()
            return InsertHead(text[: before.start].rstrip(), name, _data(text, token.end))
        if token.text == "VALUES":
            return InsertHead(text[: token.start].rstrip(), "Values", token.end)
    if not whole:
        return True
    return InsertHead(text.rstrip().rstrip(b";"), "Values", len(text)) if seen else False


def _data(text: bytes, at: int) -> int:
    """Spaces and one line end belong to the statement."""
    while text[at : at + 1] in (b" ", b"\t"):
        at += 1
    if text[at : at + 1] == b"\r":
        at += 1
    return at + 1 if text[at : at + 1] == b"\n" else at
