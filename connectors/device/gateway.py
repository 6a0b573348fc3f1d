"""Many devices behind one connection: their samples go out, their commands come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .station import Station
from .wire import Time


class Gateway(Station):
    """Devices of one process. `send` and `report` only write down what is to be sent and return; threads do the rest.

    Args:
        devices: their names; more may join by `add`.
        name: of the gateway.
        options: see `Station`.

    >>> gateway = Gateway("localhost:9092", ["pump-7", "pump-8"], spool=None)
    >>> gateway.counts["waiting"], gateway.devices
    (0, ['pump-7', 'pump-8'])
    """

    def __init__(self, bootstrap: str, devices: Iterable[str] = (), *, name: str = "gateway", **options: Any) -> None:
        super().__init__(bootstrap, devices, name=name, **options)

    def send(self, device: str, signals: Mapping[str, Any], ts: Time | None = None) -> None:
        """Have one sample of each signal sent; writes it down and returns.

        Args:
            signals: numbers by name; a list, tuple or array is a vector.
            ts: when it was, by the device's clock: a number (its size says the unit: docs/wire.md) or a datetime with
                zone; None: now.

        Raises:
            WrongMessage: the wire contract does not take it; nothing was sent.
            KeyError: no such device here.
        """
        self._put(device, lambda samples: samples.send(device, signals, ts))

    def report(self, device: str, document: Mapping[str, Any], ts: Time | None = None) -> None:
        """Have a document merged into the twin of the device.

        Raises:
            WrongMessage, KeyError: as `send`.
        """
        self._put(device, lambda samples: samples.report(device, document, ts))
