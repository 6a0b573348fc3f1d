"""`twinflow flow`: what a person may decide about a flow that cannot go on by itself."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connectors.topic_tail import TopicTail
from flows.state_folder import StateFolder
from infra.address import kafka_address
from infra.errors import CommandError, ExitCode, UsageFault
from infra.paths import Folders
from infra.settings import Settings

READS = {"telemetry": "samples"}
"""What each flow reads; its consumer group has its name."""
ANSWER_SECS = 10.0
RESET = """\
reset {name}: deletes {folders}. At its next start the flow rebuilds its state from what `{topic}` still keeps;
what happened before that is forgotten (open windows, counters, clock estimates, deduplication)."""
KEPT = "What was delivered is not delivered again."
ANEW = "Its committed offsets are deleted too: results of all that is kept come once more, beside the old ones."


@dataclass(frozen=True, slots=True)
class Wish:
    """The command line: see `twinflow flow --help`."""

    verb: str
    what: str
    offset: int | None
    yes: bool
    redeliver: bool


def flow(folders: Folders, settings: Settings, wish: Wish) -> ExitCode:
    """Reset or skip.

    Raises:
        UsageFault: something else is asked for, or --yes is missing.
        FlowRuns: the flow runs.
        NotRunning: Kafka is needed and does not answer.
    """
    if wish.verb == "reset":
        return _reset(folders, settings, wish)
    if wish.verb == "skip":
        return _skip(folders, settings, wish)
    raise UsageFault(what=f"flow {wish.verb}", why="there is no such verb", fix="take reset or skip")


def _reset(folders: Folders, settings: Settings, wish: Wish) -> ExitCode:
    topic = READS.get(wish.what)
    if topic is None:
        raise UsageFault(what=f"flow reset {wish.what}", why="no such flow", fix=f"take one of {', '.join(READS)}")
    state = StateFolder(folders.data / "state" / wish.what)
    kept = [str(folder) for folder in (state.shards,) if folder.exists()]
    means = RESET.format(name=wish.what, folders=" and ".join(kept) or "nothing, there is no state", topic=topic)
    sys.stdout.write(f"{means}\n{ANEW if wish.redeliver else KEPT}\n")
    if not wish.yes:
        raise UsageFault(what="flow reset", why="nothing was done", fix="add --yes to do it")
    with state.owned():
        if wish.redeliver:
            _forget_offsets(kafka_address(folders, settings), wish.what)
        state.forget()
    sys.stdout.write("done\n")
    return ExitCode.OK


def _forget_offsets(bootstrap: str, group: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        admin.delete_consumer_groups([group], request_timeout=ANSWER_SECS)[group].result(ANSWER_SECS)
    except KafkaException as error:
        why = error.args[0].str()
        raise CommandError(what=f"group {group}", why=why, fix="nothing was deleted; ask again") from error


def _skip(folders: Folders, settings: Settings, wish: Wish) -> ExitCode:
    match = re.fullmatch(r"([a-zA-Z0-9._-]+)/([0-9]{1,6})", wish.what)
    name = next((flow for flow, topic in READS.items() if match and topic == match[1]), "")
    if match is None or not name or wish.offset is None:
        fix = "write it as the log of the flow says: twinflow flow skip samples/3 1234"
        raise UsageFault(what=f"flow skip {wish.what}", why="TOPIC/PARTITION and OFFSET are needed", fix=fix)
    topic, partition = match[1], int(match[2])
    tail = TopicTail(kafka_address(folders, settings, [topic]), topic)
    tail.close()
    first = tail.first.get(partition)
    if first is None:
        raise UsageFault(what=wish.what, why="there is no such partition", fix=f"there are 0 to {max(tail.first)}")
    if wish.offset > first:
        why = f"offset {first} and what follows is still there, so it will be read"
        raise UsageFault(what=f"flow skip {wish.what} {wish.offset}", why=why, fix=f"skip at most to {first}")
    state = StateFolder(folders.data / "state" / name)
    with state.owned():
        state.accept_loss(partition, first)
    sys.stdout.write(
        f"{name} goes on at offset {first} of {wish.what}; the ledger will count what is lost as skipped\n"
    )
    return ExitCode.OK
