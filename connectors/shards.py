"""The shards: fixed slices of devices, the unit of state and of scaling. Partition = shard, by place in the list."""

from __future__ import annotations

SHARDS = ("00bg", "01ae", "02bd", "03gb", "04ac", "05bf", "06ac", "07aa", "08af", "09bh", "10gh", "11ah")
"""Names by partition. Their SipHash modulo 12 is their place, so Bytewax's routing of keys agrees with the partitions
for 1, 2, 3, 4 and 6 workers."""


def shard_name(partition: int) -> str:
    """The name of the shard of a partition; its number where a topic has more of them.

    >>> shard_name(3), shard_name(12)
    ('03gb', '12')
    """
    return SHARDS[partition] if partition < len(SHARDS) else str(partition)
