"""Questions to the history as text, for people who go on asking with a client of their own."""

from __future__ import annotations

from collections.abc import Sequence


def series_sql(twin: str, signals: Sequence[str], from_ns: int, to_ns: int, known_ns: int | None = None) -> str:
    """The samples that `HistoryReader.series` reads, as a statement to paste into any ClickHouse client.

    >>> print(series_sql("pump-7", ["flow"], 10, 20))
    SELECT signal, fromUnixTimestamp64Nano(ts_ns, 'UTC') AS time_utc, value, quality
    FROM samples FINAL
    WHERE device = 'pump-7' AND signal IN ('flow')
      AND ts_ns >= 10 AND ts_ns < 20
    ORDER BY signal, ts_ns, seq, ko, kr
    """
    known = "" if known_ns is None else f" AND known_ns <= {int(known_ns)}"
    return (
        "SELECT signal, fromUnixTimestamp64Nano(ts_ns, 'UTC') AS time_utc, value, quality\n"
        "FROM samples FINAL\n"
        f"WHERE device = {_quoted(twin)} AND signal IN ({', '.join(map(_quoted, signals))})\n"
        f"  AND ts_ns >= {int(from_ns)} AND ts_ns < {int(to_ns)}{known}\n"
        "ORDER BY signal, ts_ns, seq, ko, kr"
    )


def _quoted(text: str) -> str:
    """A text literal of ClickHouse.

    >>> _quoted("it's \\\\ so")
    "'it\\\\'s \\\\\\\\ so'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
