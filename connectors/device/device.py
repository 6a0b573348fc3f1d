"""One device that speaks for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .station import Station
from .wire import Time


class Device(Station):
    """One device. `send` and `report` only write down what is to be sent and return; threads do the rest.

    Args:
        device: its name.
        bootstrap: host:port of a broker.
        options: see `Station`.

    >>> pump = Device("pump-7", "localhost:9092", spool=None)
    >>> @pump.on("set_speed")
    ... def set_speed(command):
    ...     return f"goes to {command.arguments['speed_rpm']} rpm"
    >>> pump.devices, pump.counts["waiting"]
    (['pump-7'], 0)
    """

    def __init__(self, device: str, bootstrap: str, **options: Any) -> None:
        super().__init__(bootstrap, [device], name=device, **options)

    def send(self, signals: Mapping[str, Any], ts: Time | None = None) -> None:
        """Have one sample of each signal sent; writes it down and returns.

        Args:
            signals: numbers by name; a list, tuple or array is a vector.
            ts: when it was, by the device's clock: a number (its size says the unit: docs/wire.md) or a datetime with
                zone; None: now.

        Raises:
            WrongMessage: the wire contract does not take it; nothing was sent.
        """
        self._put(self.name, lambda samples: samples.send(self.name, signals, ts))

    def report(self, document: Mapping[str, Any], ts: Time | None = None) -> None:
        """Have a document merged into the twin.

        Raises:
            WrongMessage: as `send`.
        """
        self._put(self.name, lambda samples: samples.report(self.name, document, ts))
