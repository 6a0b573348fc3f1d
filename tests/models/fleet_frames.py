"""A simulated fleet as the frames that telemetry reads, without a broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from connectors.simulator import encode, headers
from flows.shard import Shard
from models.physics.fleet import Reading, SimulatedFleet
from operators.definition_yaml import load_fleet
from operators.frames import Frames
from operators.ledger import Ledger
from operators.rules import Alert
from operators.types import Quality

TWINS = Path(__file__).resolve().parents[2] / "models" / "twins"
FLEET = load_fleet(TWINS / "fleet.yaml", TWINS)
START_NS = 1_800_000_000_000_000_000
LATENCY_NS = 4_000_000


def frames(readings: list[Reading], arrival: list[int], first_offset: int) -> Frames:
    """As the broker would hand them over; arrivals in ms."""
    return Frames.of(
        [encode(r, "b1") for r in readings],
        keys=[r.device.encode() for r in readings],
        headers={i: {k: v for k, v in headers(r) if isinstance(v, bytes)} for i, r in enumerate(readings)},
        arrival=[a // 1_000_000 * 1_000_000 for a in arrival],
        first_offset=first_offset,
    )


@dataclass
class Telemetry:
    """A fleet and one shard behind it."""

    fleet: SimulatedFleet
    shard: Shard = field(default_factory=lambda: Shard(FLEET.type_of))
    ledger: Ledger = field(default_factory=Ledger)
    alerts: list[Alert] = field(default_factory=list)
    flagged: dict[str, int] = field(default_factory=dict)  # device/signal: samples flagged
    reasons: list[str] = field(default_factory=list)  # of dead letters
    missing: int = 0
    _offset: int = 0

    def run(self, seconds: float, *, per_fetch_s: float = 5.0) -> Telemetry:
        """So many simulated seconds."""
        end = self.fleet.next_ns + round(seconds * 1e9)
        while self.fleet.next_ns < end:
            readings, arrival = list[Reading](), list[int]()
            stop = min(end, self.fleet.next_ns + round(per_fetch_s * 1e9))
            while self.fleet.next_ns < stop:
                now = self.fleet.next_ns + LATENCY_NS
                made = self.fleet.step()
                readings += made
                arrival += [now] * len(made)
            self._push(frames(readings, arrival, self._offset))
            self._offset += len(readings)
        return self

    def _push(self, fetch: Frames) -> None:
        out = self.shard.push(fetch)
        self.ledger += out.ledger
        self.reasons += out.dead.reason
        for lane in out.lanes:
            self.alerts += lane.alerts
            self.missing += 0 if lane.gaps is None else int(lane.gaps.missing.sum())
            names = [s.name for s in lane.twin.signals]
            bad = lane.readings.series[(lane.readings.quality & (Quality.SUSPECT | Quality.STUCK)) != 0]
            for s in bad.tolist():
                key = f"{lane.names[s // len(names)]}/{names[s % len(names)]}"
                self.flagged[key] = self.flagged.get(key, 0) + 1

    def raised(self, device: str) -> list[Alert]:
        """Alerts of a device that were raised, in order."""
        return [a for a in self.alerts if a.device == device and a.state == "raised"]

    def open(self, device: str) -> set[str]:
        """Rules and detectors that are raised now."""
        now: set[str] = set()
        for a in self.alerts:
            if a.device == device:
                now = now | {a.rule} if a.state == "raised" else now - {a.rule}
        return now


def new(**settings: int | float) -> SimulatedFleet:
    """A fleet of the default size unless told otherwise, from START_NS on."""
    return SimulatedFleet(
        vehicles=int(settings.get("vehicles", 20)),
        machines=int(settings.get("machines", 3)),
        pumps=int(settings.get("pumps", 1)),
        seed=int(settings.get("seed", 1)),
        rate_scale=float(settings.get("rate_scale", 1.0)),
        start_ns=START_NS,
    )
