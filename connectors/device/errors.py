"""What can go wrong, as a tree: `DeviceError` and its children come from the SDK, `Refused` from handlers of yours."""

from __future__ import annotations


class DeviceError(Exception):
    """Base of all errors of the SDK."""


class Refused(Exception):
    """Raise it in a handler: the device will not act, and its text is the reason that people read."""
