"""The order to end, as an event: SIGTERM and Ctrl-C are noted, never raised in the middle of something."""

from __future__ import annotations

import signal
import threading


def set_on_signals(stop: threading.Event) -> threading.Event:
    """Have SIGTERM and SIGINT set `stop`, which is returned; only the main thread may ask for it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
