"""The verb `command`: asks the gate for a command and follows its life to the end."""

from __future__ import annotations

import getpass
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from connectors.command_events import CommandEvents
from connectors.command_requests import CommandRequests
from connectors.live_records import CommandRecord
from infra.address import kafka_address
from infra.errors import ExitCode, UsageFault
from infra.paths import Folders
from infra.settings import Settings
from operators.definition_check import duration_ns

TOPICS = ("command-requests", "command-events")
EXIT = {
    "effect": ExitCode.OK,
    "refused": ExitCode.COMMAND_REFUSED,
    "failed": ExitCode.COMMAND_FAILED,
    "timed_out": ExitCode.COMMAND_TIMED_OUT,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """The command line: see `twinflow command --help`."""

    device: str
    verb: str
    arguments: tuple[str, ...] = ()
    reason: str = ""
    wait: bool = True


def command(folders: Folders, settings: Settings, wish: Wish, *, as_json: bool) -> ExitCode:
    """Ask, and unless told otherwise wait for the end; the exit code says which it was.

    Raises:
        UsageFault: an argument is not KEY=VALUE.
        NotRunning: there is no Kafka to ask through.
        RequestNotSent: Kafka did not confirm the request.
    """
    now_ns = time.time_ns()
    arguments = _arguments(wish, now_ns)
    bootstrap = kafka_address(folders, settings, TOPICS)
    events = CommandEvents(bootstrap)
    try:
        made = CommandRequests(bootstrap).send(
            device=wish.device,
            verb=wish.verb,
            arguments=arguments,
            reason=wish.reason,
            issuer=f"person:{getpass.getuser()}",
            ts_ns=time.time_ns(),
        )
        if not as_json:
            sys.stdout.write(f"asked as {made}\n")
        found = _follow(events, made, shown=not as_json) if wish.wait else []
    finally:
        events.close()
    end = found[-1].stage if found and found[-1].stage in EXIT else None
    if as_json:
        told = [{"stage": e.stage, "ts_ns": e.ts_ns, "reason": e.reason, "detail": e.detail} for e in found]
        fields = {"id": made, "device": wish.device, "verb": wish.verb, "arguments": arguments}
        sys.stdout.write(json.dumps({**fields, "end": end, "events": told}, indent=2) + "\n")
    if not wish.wait or end is not None:
        return EXIT[end] if end else ExitCode.OK
    where = f"it stands at {found[-1].stage}" if found else "the gate said nothing"
    sys.stderr.write(f"twinflow: command {made}: no end: {where}; twinflow status shows whether `commands` runs\n")
    return ExitCode.NO_VERDICT


def _follow(events: CommandEvents, made: str, *, shown: bool) -> list[CommandRecord]:
    found: list[CommandRecord] = []
    for event in events.of(made):
        found.append(event)
        if shown:
            after_secs = (event.ts_ns - found[0].ts_ns) / 1e9
            sys.stdout.write(f"{after_secs:8.3f} s  {event.stage:<13} {event.reason or ''}".rstrip() + "\n")
            sys.stdout.flush()
    return found


def _arguments(wish: Wish, now_ns: int) -> dict[str, Any]:
    """KEY=VALUE as an object; of `shelve`, `for=2h` is a way to say `until_ns`.

    >>> _arguments(Wish("p", "set", ("speed_rpm=1200", "mode=eco", 'tag="7"')), 0)
    {'speed_rpm': 1200, 'mode': 'eco', 'tag': '7'}
    >>> _arguments(Wish("p", "shelve", ("alarm=a-1", "for=1min")), 7)
    {'alarm': 'a-1', 'until_ns': 60000000007}
    """
    found: dict[str, Any] = {}
    for word in wish.arguments:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UsageFault(what=f"argument {word}", why="is not KEY=VALUE", fix="write e.g. share=0.5")
        if wish.verb == "shelve" and key == "for":
            try:
                found["until_ns"] = now_ns + duration_ns(text)
            except ValueError:
                raise UsageFault(what=word, why=f"{text!r} is no duration", fix="write e.g. for=2h") from None
        elif wish.verb in ("acknowledge", "shelve", "unshelve") and key == "alarm":
            found[key] = text
        else:
            found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    """JSON where it is some, else the text itself; NaN is a text too."""
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text
