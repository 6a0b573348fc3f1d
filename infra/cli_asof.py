"""The verb `asof`: the whole graph at one instant, as it was known at another; once final always the same bytes."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from connectors.clickhouse import ClickHouse
from connectors.history_asof import asof_graph, canonical, frontier
from infra.errors import CommandError, ExitCode, NotRunning, UsageFault
from infra.paths import Folders
from infra.settings import Settings
from operators.times import nanos_of_text

LONGEST_NS = (1 << 63) - 1
STILL_SECS = 60.0
POLL_SECS = 0.2


def asof(at: str, known_at: str | None, twin: str | None, url: str, *, wait: bool = False) -> dict[str, Any]:
    """The graph as plain data; `infra.cli_asof.text` makes its bytes.

    Args:
        at: event time, RFC 3339 with zone or ns since 1970.
        known_at: what had arrived by then counts; the frontier when left out.
        twin: only this one.
        url: of ClickHouse, with user and password; a reader is enough.
        wait: until the answer is final; `known_at` is then the present when left out.

    Raises:
        UsageFault: a time that is none.
        CommandError: it waited, and nothing moves.
        HistoryError: the history refuses or does not answer.
    """
    at_ns = instant(at, "--at")
    known_ns = None if known_at is None else instant(known_at, "--known-at")
    with ClickHouse(url) as client:
        if wait:
            known_ns = known_ns or time.time_ns()
            _await_frontier(client, known_ns)
        found = asof_graph(client, at_ns, known_ns, twin or "")
    answer = {"at": rfc3339(found["at_ns"]), "known_at": rfc3339(found["known_ns"]), **found}
    return answer if found["final"] else {**answer, "frontier": rfc3339(found["frontier_ns"])}


def _await_frontier(client: ClickHouse, known_ns: int) -> None:
    """Wait until all that arrived by then is stored; a frontier that stands still for STILL_SECS is an error."""
    reached, deadline = 0, time.monotonic() + STILL_SECS
    while (now := frontier(client)) < known_ns:
        if now > reached:
            reached, deadline = now, time.monotonic() + STILL_SECS
        if time.monotonic() > deadline:
            why = f"the history stands at {rfc3339(reached)} and has not moved for {STILL_SECS:g} s"
            fix = "twinflow status shows what does not run; without --wait asof tells what is there"
            raise CommandError(what=f"as known at {rfc3339(known_ns)}", why=why, fix=fix)
        time.sleep(POLL_SECS)


def text(answer: dict[str, Any]) -> str:
    """Canonical JSON: one line, keys in order."""
    return canonical(answer).decode()


def instant(given: str, name: str) -> int:
    """Nanoseconds of a time as people and scripts write it.

    >>> instant("2023-11-14T22:13:20.5Z", "--at"), instant("1700000000500000000", "--at")
    (1700000000500000000, 1700000000500000000)

    Raises:
        UsageFault: it is neither.
    """
    ns = int(given) if given.isascii() and given.isdecimal() and len(given) <= 19 else nanos_of_text(given)
    if ns is None or not 0 < ns <= LONGEST_NS:
        fix = "write RFC 3339 with a zone, e.g. 2026-01-31T12:00:00Z, or nanoseconds since 1970"
        raise UsageFault(what=name, why=f"{given!r} is no time", fix=fix)
    return ns


def rfc3339(ns: int) -> str:
    """UTC with nine decimals.

    >>> rfc3339(1700000000500000000)
    '2023-11-14T22:13:20.500000000Z'
    """
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def history_url(folders: Folders, settings: Settings) -> str:
    """Where the history answers and as whom: a real ClickHouse where one is set, else the one of this folder's stack.

    Raises:
        NotRunning: neither.
    """
    from infra.history.users import from_environment, load
    from infra.stack import running

    external = settings.text("clickhouse")
    if external:
        if urlsplit(external).username:
            return external
        user, password = settings.text("clickhouse_user"), settings.text("clickhouse_password")
        return external.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)
    state = running(folders)
    if state is None or "clickhouse" not in state.endpoints:
        raise NotRunning(what="history", why=f"nothing runs in {folders.data}", fix="twinflow up")
    users = from_environment(settings.environment()) or load(folders.history_users)
    user, password = quote(users.reader.user, safe=""), quote(users.reader.password, safe="")
    return state.endpoints["clickhouse"].replace("://", f"://{user}:{password}@", 1)


def show(at: str, known_at: str | None, twin: str | None, url: str, *, as_json: bool, wait: bool = False) -> ExitCode:
    """Print the graph: canonical JSON, or one line per value."""
    answer = asof(at, known_at, twin, url, wait=wait)
    if as_json:
        sys.stdout.write(text(answer) + "\n")
        return ExitCode.OK
    final = "final" if answer["final"] else f"not final: all that arrived by {answer['frontier']} is in"
    sys.stdout.write(f"at {answer['at']} as known at {answer['known_at']}: {len(answer['twins'])} twins, {final}\n")
    for name, state in sorted(answer["twins"].items()):
        sys.stdout.write(f"{name}  {state['type']}  {state['state']}\n")
        for signal, cell in sorted(state["reported"].items()):
            sys.stdout.write(f"  {signal} = {cell['value']}  ({rfc3339(cell['ts_ns'])}, quality {cell['quality']})\n")
        for alarm in state["alarms"]:
            sys.stdout.write(f"  {alarm['severity']}: {alarm['cause']} (since {rfc3339(alarm['raised_ns'])})\n")
        for command in state["commands"]:
            sys.stdout.write(f"  command {command['id']}: {command['verb']}, {command['stage']}\n")
    return ExitCode.OK
