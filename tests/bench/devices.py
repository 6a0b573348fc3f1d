"""Many devices of one ordinary twin type: ten signals, rows, windows, a velocity, a detector on all signals, a rule."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.shards import SHARDS

SIGNALS = 10
START_S = 1_700_000_000
TYPE = f"""\
twin_type: machine
version: 1
signals: {{{", ".join(f"s{i}: {{unit: m, rate_hz: 1}}" for i in range(SIGNALS))}}}
align: {{every: 1s, max_gap: 2s}}
velocity: [s0]
detectors: [{{id: spikes, method: ewma_z, threshold: 6}}]
rules: [{{id: high, signal: s0, above: 1000}}]
"""
FLEET = "devices: {'machine-*': machine}\n"


def message(device: int, second: int) -> bytes:
    """All signals of one device at one second; `seq` counts the seconds."""
    signals = b",".join(b'"s%d":%d.%d' % (i, (device + i) % 40, (second * 7 + i) % 10) for i in range(SIGNALS))
    return b'{"device":"machine-%d","ts":%d,"boot":"b","seq":%d,"signals":{%s}}' % (
        device, START_S + second, second, signals,
    )  # fmt: skip


def of_shard(partition: int, devices: int) -> range:
    """The devices of one shard, out of so many."""
    return range(partition, devices, len(SHARDS))


def messages(devices: Iterable[int], second: int) -> list[bytes]:
    """One message of each device."""
    return [message(device, second) for device in devices]
