"""Simulated devices act on commands as real ones do: through the device SDK, between two steps of their plants."""

from __future__ import annotations

import logging
from collections.abc import Callable

from connectors.device import LATER, Command, Gateway, Refused
from models.physics.fleet import SimulatedFleet

log = logging.getLogger("twinflow.simulator")


class SimulatedCommands:
    """Takes commands from `gateway` (its handlers run by `poll`), has `fleet` act, and tells how that ends.

    Args:
        due: whether to begin to listen; asked before each step until it says so. Listening loads a Kafka client, which
            should not delay the first samples.
    """

    def __init__(self, fleet: SimulatedFleet, gateway: Gateway, *, due: Callable[[], bool] = lambda: True) -> None:
        self._fleet, self._gateway, self._due = fleet, gateway, due
        self._listening = False
        self._going_on: list[tuple[Command, Callable[[], bool | str]]] = []
        gateway.on("*")(self._act)

    def between(self) -> None:
        """Between two steps: act on what came, look what became of what goes on."""
        if not self._listening:
            self._listening = self._due()
            if self._listening:
                self._gateway.start()
            return
        self._gateway.poll()
        if self._going_on:
            self._going_on = [(c, progress) for c, progress in self._going_on if not _ended(c, progress())]

    def _act(self, command: Command) -> object:
        result = self._fleet.command(command.device, command.verb, command.arguments)
        if not result.accepted:
            raise Refused(result.detail)
        if result.progress is None:
            return result.detail
        command.accept(result.detail)
        self._going_on.append((command, result.progress))
        return LATER


def _ended(command: Command, said: bool | str) -> bool:
    if isinstance(said, str):
        command.fail(said)
    elif said:
        command.done()
    return bool(said)
