"""What the read-only user may run, decided on the engine's own parse of the statement.

The engine's `readonly = 1` refuses writes, settings and most table functions; it lets KILL, USE, INTO OUTFILE, the
scalar `file()` and schema inference on files pass. So a statement must also be one statement the engine classifies as
reading, and its canonical form (the engine's formatter: comments gone, escapes resolved) must name no function that
reaches outside the database. Which these are is asked from the engine: a table function not known to be harmless is
refused, so a later version brings no new way out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from infra.history.engine import Handle, Setup
from infra.history.errors import EngineError
from infra.history.sql import Statement

VERBS = frozenset({"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK"})
HARMLESS = frozenset(
    {"dictionary", "format", "generaterandom", "generateseries", "generate_series", "merge", "mergetreeindex", "null"}
    | {"numbers", "numbers_mt", "primes", "values", "view", "zeros", "zeros_mt"}
)
"""Table functions that read nothing but their arguments and this database."""
REACHING = frozenset({"file", "showcertificate", "catboostevaluate"})
"""Functions of values that read files; names starting with `ai` call services and are added from the engine's list."""
READER = Setup(reader=True)
_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)


class ReadOnly:
    """The rule for one engine, built once at start."""

    def __init__(self, handle: Handle) -> None:
        known = handle.run("SELECT lower(name) FROM system.table_functions").data.decode().split()
        values = handle.run("SELECT lower(name) FROM system.functions WHERE match(name, '^(ai|AI)[A-Z]')").data
        scalars = REACHING | set(values.decode().split())
        tables = set(known) - HARMLESS - scalars
        self._anywhere = frozenset(scalars)
        self._suspect = re.compile(rf"\\|\b(?:{'|'.join(sorted(tables | scalars))})\b", re.IGNORECASE)
        self._call = re.compile(rf"(?<![\w.`])`?({'|'.join(sorted(tables))})`?\s*\(", re.IGNORECASE)
        self._name = re.compile(rf"(?<![\w.])({'|'.join(sorted(scalars))})(?!\w)", re.IGNORECASE)

    def check(self, handle: Handle, sql: bytes, statement: Statement, params: Mapping[str, str]) -> None:
        """Let a statement pass or refuse it.

        Raises:
            EngineError: 164 when it does more than read this database; the engine's own error when it does not parse.
        """
        verb = statement.verb if statement.verb.isalpha() else "this statement"
        reads = handle.single_read(sql)
        if reads is None:
            self._canonical(handle, sql)
        if not reads or statement.verb not in VERBS or statement.outfile:
            raise EngineError.refused(f"{verb} is not allowed")
        text = sql.decode("utf-8", "replace")
        names = (value.strip("`\"' ").lower() for value in params.values())
        if "Identifier" in text and any(name in self._anywhere or "\\" in name for name in names):
            raise EngineError.refused("a parameter names a function that reads files")
        if self._suspect.search(text):
            plain = _LITERAL.sub("''", self._canonical(handle, sql))
            found = self._call.search(plain) or self._name.search(plain)
            if found:
                raise EngineError.refused(f"function {found[1]} is not allowed")

    @staticmethod
    def _canonical(handle: Handle, sql: bytes) -> str:
        """The statement as the engine's formatter writes it; raises the engine's syntax error."""
        text = sql.decode("utf-8", "replace").replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
        query = "SELECT formatQuerySingleLine({statement:String})"
        return handle.run(query, "TSVRaw", {"statement": text}).data.decode("utf-8", "replace")
