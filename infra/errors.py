"""What the command says when it cannot do what was asked: one line (what, why, what next) and one exit code each.

CommandError
|-- UsageFault       the call or a setting is wrong            exit 2
|-- NotRunning       there is nothing to ask or to stop        exit 3
|-- Held             another process owns the data folder      exit 4
`-- CannotStart      port, disk, broken child, missing file    exit 5
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from operators.errors import TwinflowError


class ExitCode(IntEnum):
    """Exit codes of every verb; the table in docs/operations.md is checked against this class."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    HELD = 4
    CANNOT_START = 5
    COMMAND_REFUSED = 10
    COMMAND_FAILED = 11
    COMMAND_TIMED_OUT = 12
    NO_VERDICT = 13
    INTERNAL = 70
    INTERRUPTED = 130


class CommandError(TwinflowError):
    """A verb ends early.

    >>> str(CannotStart(what="port 9092", why="held by pid 17", fix="stop it or set kafka_port"))
    'port 9092: held by pid 17; stop it or set kafka_port'
    """

    code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, *, what: str, why: str, fix: str) -> None:
        super().__init__(f"{what}: {why}; {fix}")


class UsageFault(CommandError):
    """The call, a setting or its file is wrong."""

    code = ExitCode.USAGE


class NotRunning(CommandError):
    """No stack runs in this data folder."""

    code = ExitCode.NOT_RUNNING


class Held(CommandError):
    """Another process owns the data folder."""

    code = ExitCode.HELD


class CannotStart(CommandError):
    """The stack did not come up and was taken down again."""

    code = ExitCode.CANNOT_START
