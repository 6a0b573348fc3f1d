"""Simulated devices as a service: a fleet of models/physics, its faults, sent by connectors/simulator.

`python -m flows.simulate --kafka host:port` runs it; SIGTERM ends it with exit code 0. See docs/simulator.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import time
from collections.abc import Sequence

from connectors.device import Gateway
from connectors.kafka_wait import wait_for_topic
from connectors.simulator import BUFFER_MESSAGES, Outlet, SimulatorError, run
from connectors.stop_signal import set_on_signals
from flows.simulate_commands import SimulatedCommands
from models.faults import Fault, FaultError, parse
from models.physics.fleet import SCENARIOS, SimulatedFleet, names, scenario

log = logging.getLogger("twinflow.simulator")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 then, 1 when the broker refuses messages for good, 2 for a wrong argument."""
    parser = _parser()
    told = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        faults = _faults(told)
        fleet(told, time.time_ns(), faults)
    except (FaultError, ValueError) as error:
        parser.error(str(error))
    stop = set_on_signals(threading.Event())
    if not wait_for_topic(told.kafka, told.topic, 1, stop=stop):
        return 0
    devices = fleet(told, time.time_ns(), faults)
    outlet = Outlet(told.kafka, told.topic, f"sim-{devices.start_ns:x}", buffer_messages=told.buffer)
    gateway = Gateway(told.kafka, devices.devices, spool=None, handlers="poll")
    commands = SimulatedCommands(devices, gateway, due=lambda: outlet.counts.delivered > 0)
    log.info("%d devices into %s, faults: %s", len(devices.devices), told.topic, [f.text for f in faults] or "none")
    try:
        run(devices, outlet, stop, between=commands.between)
    except SimulatorError as error:
        log.error("%s", error)
        return 1
    finally:
        gateway.close()
        left = outlet.close()
        counts = outlet.counts
        log.info("%d sent, %d delivered, %d dropped, %d given up", counts.sent, counts.delivered, counts.dropped, left)
    return 0


def fleet(told: argparse.Namespace, start_ns: int, faults: Sequence[Fault]) -> SimulatedFleet:
    """The fleet that the arguments ask for.

    Raises:
        FaultError: a fault has nothing to act on.
        ValueError: a number is out of its range.
    """
    return SimulatedFleet(
        vehicles=told.vehicles,
        machines=told.machines,
        pumps=told.pumps,
        seed=told.seed,
        start_ns=start_ns,
        faults=faults,
        rate_scale=told.rate_scale,
    )


def _faults(told: argparse.Namespace) -> list[Fault]:
    """Those asked for; else those of the scenario."""
    if told.fault:
        return [parse(text) for text in told.fault]
    return scenario(told.scenario, names(told.vehicles, told.machines, told.pumps))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.simulate", description=main.__doc__)
    parser.add_argument("--kafka", required=True, help="host:port of a broker")
    parser.add_argument("--topic", default="samples")
    parser.add_argument("--vehicles", type=int, default=20)
    parser.add_argument("--machines", type=int, default=3)
    parser.add_argument("--pumps", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--scenario", default="default", choices=list(SCENARIOS), help="faults when --fault is not given"
    )
    parser.add_argument("--fault", action="append", default=[], metavar="KIND[:AMOUNT]@DEVICE@TIME")
    parser.add_argument("--rate-scale", type=float, default=1.0, help="samples per second, times this")
    parser.add_argument("--buffer", type=int, default=BUFFER_MESSAGES, help="messages kept while the broker is away")
    return parser


if __name__ == "__main__":
    sys.exit(main())
