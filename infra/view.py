"""What people see while `up` runs: a live table on a terminal, one line per event elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from infra.supervisor.service import ChildState, ProcessRow, held

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

COLOURS = {
    ChildState.READY: "green",
    ChildState.UNREADY: "yellow",
    ChildState.BACKOFF: "yellow",
    ChildState.HELD: "red",
    ChildState.FAILED: "red",
    ChildState.STOPPED: "dim",
}


class View(Protocol):
    """Shows rows and events until closed."""

    def tell(self, name: str, text: str) -> None: ...
    def show(self, rows: list[ProcessRow]) -> None: ...
    def close(self) -> None: ...


class PlainView:
    """One line per event."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def tell(self, name: str, text: str) -> None:
        self._out.write(event_line(name, text) + "\n")
        self._out.flush()

    def show(self, rows: list[ProcessRow]) -> None:
        return

    def close(self) -> None:
        return


class TableView:
    """A table that stays in place, the last events below it."""

    def __init__(self, console: Console, title: str) -> None:
        from rich.live import Live

        self._title, self._rows = title, list[ProcessRow]()
        self._since: dict[str, tuple[ChildState, float]] = {}
        self._events: deque[str] = deque(maxlen=6)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4)
        self._live.start()

    def tell(self, name: str, text: str) -> None:
        self._events.append(event_line(name, text))

    def show(self, rows: list[ProcessRow]) -> None:
        self._rows = rows
        for row in rows:
            if self._since.get(row.name, (None, 0.0))[0] is not row.state:
                self._since[row.name] = (row.state, time.monotonic())

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        now = time.monotonic()
        ages = {name: now - since for name, (_, since) in self._since.items()}
        why = [Text(text, style="red") for text in (held(self._rows),) if text]
        table = process_table(self._rows, ages)
        return Group(Text(self._title, style="bold"), *why, table, *map(Text, self._events))


def open_view(title: str) -> View:
    """The table where stderr is a terminal that can move its cursor."""
    if not sys.stderr.isatty():
        return PlainView(sys.stderr)
    from rich.console import Console

    console = Console(stderr=True)
    return PlainView(sys.stderr) if console.is_dumb_terminal else TableView(console, title)


class Recorded:
    """A view that also writes every event to a log file."""

    def __init__(self, view: View, log: Path) -> None:
        self._view, self._log = view, log

    def tell(self, name: str, text: str) -> None:
        self._view.tell(name, text)
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.now().astimezone().isoformat(timespec='milliseconds')} {name}: {text}\n")
        except OSError as error:
            self._view.tell("log", f"{self._log}: {error.strerror}")


def event_line(name: str, text: str) -> str:
    return f"{datetime.now().astimezone():%H:%M:%S} {name}: {text}"


def process_table(rows: list[ProcessRow], ages: dict[str, float] | None = None) -> Table:
    """The status table; `ages`: seconds since each process entered its state."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("process", "state", "pid", "restarts", "ready after"):
        table.add_column(title, justify="left" if title in ("process", "state") else "right")
    table.add_column("for" if ages is not None else "", justify="right")
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for row in rows:
        age = "" if ages is None else f"{ages.get(row.name, 0.0):.0f} s"
        after = "" if row.ready_s is None else f"{row.ready_s:.1f} s"
        state = Text(str(row.state), style=COLOURS.get(row.state, ""))
        table.add_row(row.name, state, str(row.pid or ""), str(row.restarts), after, age, Text(row.why))
    return table
