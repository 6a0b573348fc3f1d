"""Recordings that ship as a service: a robot, a meter and a home, over and over, sent by connectors/simulator.

`python -m flows.recordings --kafka host:port` runs it; SIGTERM ends it with exit code 0. See docs/replay.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.kafka_wait import wait_for_topic
from connectors.recordings.binding import TypeOf
from connectors.recordings.endless import Endless, Loop
from connectors.recordings.recording import open_recording
from connectors.simulator import Outlet, SimulatorError, run
from connectors.stop_signal import set_on_signals
from flows.settings import TWINS
from operators.definition_yaml import load_fleet
from operators.errors import TwinflowError

SECOND = 1_000_000_000

log = logging.getLogger("twinflow.recordings")


@dataclass(frozen=True, slots=True)
class Cut:
    """How a recording is looped: recorded seconds in one, what is left out of its beginning, the pause between rounds.

    The pause is longer than what is interpolated over and shorter than what counts as silence.
    """

    lapse: float = 1.0
    skip_ns: int = 0
    pause_ns: int = SECOND


CUTS: Mapping[str, Cut] = {
    "husky": Cut(skip_ns=3 * SECOND),
    "nab": Cut(lapse=3600),
    "citylearn": Cut(lapse=3600),
}
"""The robot starts from rest and ends at speed: without its start a round follows a round as if it drove on. The other
two have a reading an hour, here one a second."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 then, 1 when the broker refuses messages for good, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="python -m flows.recordings", description=main.__doc__)
    parser.add_argument("--kafka", required=True, help="host:port of a broker")
    parser.add_argument("--topic", default="samples")
    parser.add_argument("--fleet", type=Path, default=TWINS / "fleet.yaml", help="which device is of which type")
    parser.add_argument("--types", type=Path, default=TWINS, help="folder of the twin types")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CUTS)}; all when left out")
    told = parser.parse_args(arguments)
    unknown = sorted({*told.names} - CUTS.keys())
    if unknown:
        parser.error(f"no recording {unknown[0]!r}; there are {', '.join(CUTS)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = set_on_signals(threading.Event())
    loops = loops_of(told.names or list(CUTS), load_fleet(told.fleet, told.types).type_of)
    if not wait_for_topic(told.kafka, told.topic, 1, stop=stop):
        return 0
    if not loops:
        stop.wait()
        return 0
    start_ns = time.time_ns()
    outlet = Outlet(told.kafka, told.topic, f"loop-{start_ns:x}")
    log.info("%d recordings into %s", len(loops), told.topic)
    try:
        run(Endless(loops, start_ns), outlet, stop)
    except SimulatorError as error:
        log.error("%s", error)
        return 1
    finally:
        left = outlet.close()
        counts = outlet.counts
        log.info("%d sent, %d delivered, %d dropped, %d given up", counts.sent, counts.delivered, counts.dropped, left)
    return 0


def loops_of(names: Sequence[str], type_of: TypeOf) -> list[Loop]:
    """The recordings that fit these types, as devices `NAME-loop`; one that does not is told and left out."""
    loops = []
    for name in names:
        cut = CUTS[name]
        try:
            recording = open_recording(name, device=f"{name}-loop", type_of=type_of)
            loops.append(Loop.of(recording, lapse=cut.lapse, skip_ns=cut.skip_ns, pause_ns=cut.pause_ns))
        except TwinflowError as error:
            log.warning("recording %s is left out: %s", name, error)
    return loops


if __name__ == "__main__":
    sys.exit(main())
