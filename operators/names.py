"""Names that come from outside: of devices, signals, boots. They are data and must be readable by people."""

from __future__ import annotations

import unicodedata

LONGEST_NAME = 256
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def name_fault(name: str) -> str:
    """What is wrong with a name as text, "" where nothing is: empty, too long, control or direction characters."""
    if not name:
        return "is empty"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "holds a lone surrogate"
    if size > LONGEST_NAME:
        return f"has {size} bytes, at most {LONGEST_NAME} are taken"
    if not name.isascii() or not name.isprintable():
        for c in name:
            if unicodedata.category(c) in _UNSAFE:
                return f"holds U+{ord(c):04X}"
    return ""


def device_fault(name: str) -> str:
    """As `name_fault`; a device name also is no path.

    >>> device_fault("pump-7"), device_fault("../pump")
    ('', 'is or holds a path')
    """
    fault = name_fault(name)
    if not fault and ("/" in name or "\\" in name or name in (".", "..")):
        fault = "is or holds a path"
    return fault
