"""Every error of twinflow: the tree first, then one class per way to fail.

    TwinflowError
    |-- ContractError         an input broke the wire contract      -> dead letter, the flow goes on
    |-- DefinitionError       a twin type does not hold together    -> refused at load, with file and line
    |-- UnsortedTime          a time column goes back               -> stops the worker
    |-- StateError            a snapshot cannot be used             -> stops the worker, loudly
    `-- CommandRejected       the gate refused a command            -> command result topic

Each class takes its values by keyword and builds its own sentence: what, where, how much, what next.
"""

from __future__ import annotations


class TwinflowError(Exception):
    """Root of all errors this project raises on purpose."""


class ContractError(TwinflowError):
    """A message broke the wire contract; it becomes a dead letter with `reason`.

    >>> str(ContractError(reason="bad_json", where="samples/3@117", detail="unexpected end at byte 41"))
    'bad_json: samples/3@117: unexpected end at byte 41; fix the producer, then redrive the dead letter'
    """

    def __init__(self, *, reason: str, where: str, detail: str) -> None:
        self.reason, self.where, self.detail = reason, where, detail
        super().__init__(f"{reason}: {where}: {detail}; fix the producer, then redrive the dead letter")


class DefinitionError(TwinflowError):
    """A twin type is refused: names the file, the line, the key and what would be right.

    >>> str(DefinitionError(source="pump.yaml", line=7, key="window.hop", detail="over length", fix="shorten it"))
    'pump.yaml:7: window.hop: over length; shorten it'
    """

    def __init__(self, *, source: str, line: int, key: str, detail: str, fix: str) -> None:
        self.source, self.line, self.key = source, line, key
        super().__init__(f"{source}:{line}: {key}: {detail}; {fix}")


class UnsortedTime(TwinflowError):
    """A column that must ascend goes back.

    >>> str(UnsortedTime(step="align", column="right_t", row=41, back_nanos=3_200_000))
    "step 'align': column 'right_t' goes back 3.2 ms at row 41; put reorder before align"
    """

    def __init__(self, *, step: str, column: str, row: int, back_nanos: int) -> None:
        super().__init__(
            f"step {step!r}: column {column!r} goes back {back_nanos / 1e6:g} ms at row {row}; "
            f"put reorder before {step}"
        )


class StateError(TwinflowError):
    """A snapshot is missing, damaged or from an unknown version."""

    def __init__(self, *, where: str, detail: str, fix: str) -> None:
        super().__init__(f"state {where}: {detail}; {fix}")


class CommandRejected(TwinflowError):
    """The command gate said no; nothing was sent to the device."""

    def __init__(self, *, command_id: str, device: str, reason: str, detail: str) -> None:
        self.command_id, self.reason = command_id, reason
        super().__init__(f"device {device!r}: {detail}; command {command_id} was not sent")
