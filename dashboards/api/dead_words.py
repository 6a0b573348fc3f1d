"""What each reason of a dead letter means, who can mend it, and whether the same bytes can pass later."""

from __future__ import annotations

from typing import NamedTuple


class Meaning(NamedTuple):
    """`plain`: what happened. `next`: what to do. `useful`: redriving helps once that is done."""

    plain: str
    next: str
    useful: bool


_PRODUCER = "Mend the producer. These bytes stay wrong, so a redrive brings them back here."
_DEVICE = "Look at how the device answers commands; see docs/commands.md."
_TYPE = "Correct the twin type, restart telemetry, then redrive."

MEANINGS: dict[str, Meaning] = {
    "bad_header": Meaning("A header is not as the wire contract says.", _PRODUCER, False),
    "empty": Meaning("The message has no value.", _PRODUCER, False),
    "too_large": Meaning("The message is longer than a message may be.", "Send smaller blocks.", False),
    "too_deep": Meaning("The JSON is nested too deep.", _PRODUCER, False),
    "bad_utf8": Meaning("The text is no UTF-8.", _PRODUCER, False),
    "bad_json": Meaning("The text is no JSON.", _PRODUCER, False),
    "duplicate_key": Meaning("A key stands twice in one object.", _PRODUCER, False),
    "bad_shape": Meaning("The JSON is no sample, vector, report or answer.", _PRODUCER, False),
    "unknown_schema": Meaning("The schema of a packed block was never sent.", "Send the schema, then redrive.", True),
    "bad_device": Meaning("The device name is missing or may not be used.", _PRODUCER, False),
    "wrong_key": Meaning("The record key is not the device.", "Key every record by its device.", False),
    "bad_seq": Meaning("The sequence number is no whole number.", _PRODUCER, False),
    "bad_boot": Meaning("The boot id is not as the wire contract says.", _PRODUCER, False),
    "unknown_type": Meaning(
        "No pattern of the fleet file names this device.",
        "Add it to the fleet file, restart telemetry, then redrive.",
        True,
    ),
    "too_many_devices": Meaning(
        "The shard holds as many devices as it may.", "Raise the limit or remove devices, then redrive.", True
    ),
    "no_time": Meaning("Neither the message nor the broker gives a time.", _PRODUCER, False),
    "bad_time": Meaning("The time is no time, or not above zero.", _PRODUCER, False),
    "bad_name": Meaning("A signal name may not be used.", _PRODUCER, False),
    "bad_value": Meaning("A value is no finite number.", _PRODUCER, False),
    "wrong_length": Meaning("A vector has not the length its type says.", _TYPE, True),
    "out_of_range": Meaning("A value is outside what can physically be read.", _TYPE, True),
    "bad_quaternion": Meaning("An orientation is no unit quaternion.", _PRODUCER, False),
    "bad_report": Meaning("A report does not fit its schema.", _TYPE, True),
    "bad_block": Meaning("A packed block cannot be read.", _PRODUCER, False),
    "wrong_unit": Meaning("A unit is not the one of the type.", _TYPE, True),
    "partial_vector": Meaning("Calibration needs the whole vector in one message.", "Send the vector whole.", False),
    "bad_id": Meaning("It does not say which command it is about.", _PRODUCER, False),
    "id_taken": Meaning(
        "Another command came under the id of a known one.", "Give each command an id of its own.", False
    ),
    "gate_full": Meaning("The gate could remember no more commands; nothing was decided.", "Ask anew.", False),
    "unknown_command": Meaning("An answer to a command that the gate does not know.", _DEVICE, False),
    "wrong_device": Meaning("An answer to a command of another device.", _DEVICE, False),
    "not_dispatched": Meaning("An answer to a command that was never sent.", _DEVICE, False),
    "after_the_end": Meaning("A second end of a command; the first counts.", _DEVICE, False),
    "poison": Meaning(
        "Our own code failed on it three times; it is kept, and everything else goes on.",
        "Report its detail; redrive it once that is mended.",
        True,
    ),
    "bad_record": Meaning("The record is damaged.", "Look at the producer and its network.", False),
    "bad_compression": Meaning(
        "The record batch cannot be unpacked.", "Look at the producer and its compression.", False
    ),
}
OTHER = Meaning("The message was refused.", "Look at its detail, mend the cause, then redrive.", True)


def meaning(reason: str) -> Meaning:
    """What a reason means; a general answer for one that is not known."""
    return MEANINGS.get(reason, OTHER)


def who(devices: dict[str, int]) -> str:
    """The devices most of them came from.

    >>> who({"p-1": 3, "p-2": 9, "p-3": 1, "": 2})
    'p-2, p-1 and 1 more'
    """
    named = sorted((d for d in devices if d), key=lambda d: (-devices[d], d))
    if not named:
        return "unknown"
    more = len(named) - 2
    return ", ".join(named[:2]) + (f" and {more} more" if more > 0 else "")
