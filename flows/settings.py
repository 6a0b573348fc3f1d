"""What a flow reads from its environment: where Kafka and the data folder are, which fleet it serves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from connectors.shards import SHARDS
from operators.errors import TwinflowError

TWINS = Path(__file__).resolve().parent.parent / "models" / "twins"


class SettingError(TwinflowError):
    """A setting that a flow cannot do without is missing or makes no sense."""


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """Settings of one flow process.

    Attributes:
        kafka: host:port of a broker (TWINFLOW_KAFKA).
        state: folder of this flow's snapshots and state logs (TWINFLOW_DATA/state/<flow>).
        fleet: file that says which device is of which type (TWINFLOW_FLEET).
        types: folder of the twin types (TWINFLOW_TYPES).
        epoch_secs: seconds between two commits of the settled path (TWINFLOW_EPOCH_SECS).
        health_port: loopback port of /health, /ready and /metrics, 0 for none (TWINFLOW_HEALTH_PORT).
        topic, group: what is read, and the consumer group that owns the offsets.
        process, processes: number of this process among those that share the shards (TWINFLOW_PROCESS, "0/2").
    """

    kafka: str
    state: Path
    fleet: Path = TWINS / "fleet.yaml"
    types: Path = TWINS
    epoch_secs: float = 1.0
    health_port: int = 0
    topic: str = "samples"
    group: str = "telemetry"
    process: int = 0
    processes: int = 1

    @property
    def definitions(self) -> Path:
        """Where every set of definitions is kept that a flow of this data folder ran with."""
        return self.state.parent / "definitions"

    @property
    def partitions(self) -> list[int]:
        """Partitions of this process: spread evenly, the same ones for the same number of processes."""
        return list(range(self.process, len(SHARDS), self.processes))

    @staticmethod
    def from_environment(flow: str) -> FlowSettings:
        """Settings of the named flow.

        Raises:
            SettingError: a needed variable is missing or unusable.
        """
        kafka, data = os.environ.get("TWINFLOW_KAFKA", ""), os.environ.get("TWINFLOW_DATA", "")
        for name, value in (("TWINFLOW_KAFKA", kafka), ("TWINFLOW_DATA", data)):
            if not value:
                raise SettingError(f"{name} is not set: flow {flow!r} cannot start; `twinflow up` sets it")
        epoch = os.environ.get("TWINFLOW_EPOCH_SECS", "1")
        try:
            epoch_secs = float(epoch)
        except ValueError:
            raise SettingError(f"TWINFLOW_EPOCH_SECS: {epoch!r} is not a number; write seconds, e.g. 1") from None
        process, processes = _share(os.environ.get("TWINFLOW_PROCESS") or "0/1")
        return FlowSettings(
            kafka=kafka,
            state=Path(data) / "state" / flow,
            fleet=Path(os.environ.get("TWINFLOW_FLEET") or TWINS / "fleet.yaml"),
            types=Path(os.environ.get("TWINFLOW_TYPES") or TWINS),
            epoch_secs=epoch_secs,
            health_port=int(os.environ.get("TWINFLOW_HEALTH_PORT") or 0),
            topic=os.environ.get("TWINFLOW_SAMPLES_TOPIC") or "samples",
            group=flow,
            process=process,
            processes=processes,
        )


def _share(text: str) -> tuple[int, int]:
    """Number and count of processes from "0/2".

    >>> _share("1/3")
    (1, 3)
    """
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count) <= len(SHARDS)):
        raise SettingError(f"TWINFLOW_PROCESS: {text!r} is not NUMBER/COUNT with NUMBER < COUNT <= {len(SHARDS)}")
    return int(number), int(count)
