"""Times and states in plain words."""

from __future__ import annotations

from connectors.live_view import Status

UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def ago(age_ns: int) -> str:
    """An age as people say it.

    >>> ago(400_000_000), ago(12 * 10**9), ago(180 * 10**9), ago(11_520 * 10**9)
    ('now', '12 s', '3 min', '3 h 12 min')
    """
    secs = max(age_ns, 0) // 1_000_000_000
    if secs < 1:
        return "now"
    for size, name, smaller, rest_name in UNITS:
        if secs >= size:
            rest = secs % size // smaller
            return f"{secs // size} {name}" + (f" {rest} {rest_name}" if rest and size > 60 else "")
    return f"{secs} s"


def cause(status: Status, now_ns: int) -> str:
    """Why a twin is in its state, in one sentence; "" where all is well."""
    if status.state == "offline":
        if status.heard_ns is None:
            return "No sample since the page looks back. Its device may be off."
        return f"Last sample {ago(now_ns - status.heard_ns)} ago. The device, its network or telemetry is silent."
    return status.worst.cause if status.worst is not None else ""
