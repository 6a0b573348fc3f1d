"""Follows commands by the events of the gate, from now on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from connectors.kafka_records import RecordReader, ends_of
from connectors.live_commands import ENDS
from connectors.live_records import CommandRecord

PARTITIONS = 12
POLL_SECS = 0.1
FIRST_SECS = 10.0
"""The gate says something about a request within this time, or it does not run."""
GRACE_SECS = 10.0
"""An end may be told this much after the wait for an answer is over."""


class CommandEvents:
    """Events that come after it was made: make it before the request is sent.

    Args:
        bootstrap: host:port of a broker.

    Raises:
        ReadBackError: the broker does not answer.
    """

    def __init__(self, bootstrap: str, *, topic: str = "command-events") -> None:
        self._reader = RecordReader(bootstrap, ends_of(bootstrap, topic, PARTITIONS), name="twinflow-command-events")

    def of(self, command: str) -> Iterator[CommandRecord]:
        """The events of one command up to its end; ends without one when the gate says nothing any more."""
        silent_at = time.monotonic() + FIRST_SECS
        while time.monotonic() < silent_at:
            for got in self._reader.poll(POLL_SECS):
                event = _read(got.value)
                if event is None or event.id != command:
                    continue
                yield event
                if event.stage in ENDS:
                    return
                left_secs = max(0.0, (event.deadline_ns - time.time_ns()) / 1e9)
                silent_at = time.monotonic() + left_secs + GRACE_SECS

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()


def _read(value: bytes | None) -> CommandRecord | None:
    try:
        return msgspec.json.decode(value or b"", type=CommandRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
