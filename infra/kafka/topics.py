"""infra/topics.yaml, checked, and a cluster brought in line with it."""

from __future__ import annotations

import re
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from infra.kafka.errors import TopicError
from infra.kafka.ready import wait_ready

TOPICS = Path(__file__).parent.parent / "topics.yaml"
TIMESTAMP_TYPE = "LogAppendTime"
REQUEST_TIMEOUT_SECS = 30.0

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

Age = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]*[smhd]$", description="30s, 15m, 6h, 7d")]
Size = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]*(KiB|MiB|GiB)$", description="256KiB, 4MiB, 1GiB")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,99}$")]


class _Class(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    cleanup: Literal["delete", "compact"]
    segment: Size
    retain: Age | None = None
    retain_size: Size | None = None
    tombstones: Age | None = None


class _Topic(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"kind": "class"}):
    key: Literal["device", "twin", "site", "shard"]
    partitions: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    kind: str
    max_message: Size


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    version: Literal[1]
    classes: dict[Name, _Class]
    topics: dict[Name, _Topic]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, ready to be made.

    Attributes:
        name: on the cluster.
        key: what its record key is: "device", "twin", "site" or "shard".
        partitions: how many; 12 where a partition is a shard.
        config: Kafka's own topic settings, as text.
    """

    name: str
    key: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What `ensure_topics` did: names, sorted."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def load_topics(path: Path = TOPICS) -> dict[str, Topic]:
    """The topics by name, in file order.

    Raises:
        TopicError: unreadable, or breaks the schema; names the place in the file.

    >>> topics = load_topics()
    >>> topics["samples"].partitions, topics["samples"].config["message.timestamp.type"]
    (12, 'LogAppendTime')
    """
    try:
        file = msgspec.yaml.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError) as error:
        why = " ".join(str(error).split())
        raise TopicError(what=path.name, why=why, fix="correct it there, then start again") from error
    return {name: _topic(name, raw, file.classes, path.name) for name, raw in file.topics.items()}


def schema() -> dict[str, object]:
    """JSON Schema of topics.yaml."""
    return msgspec.json.schema(_File)


def _topic(name: str, raw: _Topic, classes: dict[str, _Class], source: str) -> Topic:
    if raw.kind not in classes:
        why = f"class {raw.kind!r} is not one of {', '.join(classes)}"
        raise TopicError(what=f"{source}: topics.{name}", why=why, fix="name one of these or add the class")
    kind = classes[raw.kind]
    config = {
        "cleanup.policy": kind.cleanup,
        "message.timestamp.type": TIMESTAMP_TYPE,
        "max.message.bytes": str(byte_count(raw.max_message)),
        "segment.bytes": str(byte_count(kind.segment)),
        "retention.ms": str(seconds(kind.retain) * 1000) if kind.retain else "-1",
        "retention.bytes": str(byte_count(kind.retain_size)) if kind.retain_size else "-1",
    }
    if kind.tombstones:
        config["delete.retention.ms"] = str(seconds(kind.tombstones) * 1000)
    return Topic(name, raw.key, raw.partitions, config)


def seconds(age: str) -> int:
    """
    >>> seconds("7d")
    604800
    """
    return int(age[:-1]) * _AGES[age[-1]]


def byte_count(size: str) -> int:
    """
    >>> byte_count("4MiB")
    4194304
    """
    number, unit = re.findall(r"\d+|\D+", size)
    return int(number) * _SIZES[unit]


def ensure_topics(bootstrap: str, topics: Collection[Topic] | None = None) -> TopicsReport:
    """Makes the topics that are missing, sets retention and limits of those that differ; doing it again does nothing.

    When it returns, every partition has a leader: clients may start.

    Args:
        bootstrap: a ready cluster (`infra.kafka.ready.wait_ready`).
        topics: those of infra/topics.yaml unless given.

    Raises:
        TopicError: a topic exists with another number of partitions (nothing is changed then), or the cluster refuses.
        BrokerError: the topics are made, but have no leaders in time.
    """
    wanted = {topic.name: topic for topic in (load_topics().values() if topics is None else topics)}
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        present = {
            name: len(t.partitions) for name, t in admin.list_topics(timeout=REQUEST_TIMEOUT_SECS).topics.items()
        }
        _refuse_drift(wanted, present)
        created = _create(admin, [t for name, t in wanted.items() if name not in present])
        wait_ready(bootstrap, topics=wanted, timeout_secs=REQUEST_TIMEOUT_SECS)  # brokers learn of new topics later
        changed = _align(admin, [t for name, t in wanted.items() if name not in created])
    except KafkaException as error:
        why = error.args[0].str() if error.args and isinstance(error.args[0], KafkaError) else str(error)
        raise TopicError(
            what=f"topics at {bootstrap}", why=why, fix="check the cluster and your rights there"
        ) from error
    kept = wanted.keys() - created - changed
    return TopicsReport(tuple(sorted(created)), tuple(sorted(changed)), tuple(sorted(kept)))


def _refuse_drift(wanted: dict[str, Topic], present: dict[str, int]) -> None:
    for name, topic in wanted.items():
        if name in present and present[name] != topic.partitions:
            raise TopicError(
                what=f"topic {name}",
                why=f"exists with {present[name]} partitions, infra/topics.yaml says {topic.partitions}",
                fix="drain it and make it anew, or correct the file: keys would move to other shards",
            )


def _create(admin: AdminClient, missing: list[Topic]) -> set[str]:
    """Replication is the cluster's own default. Another `up` that was faster is no error."""
    if not missing:
        return set()
    new = [NewTopic(t.name, num_partitions=t.partitions, replication_factor=-1, config=t.config) for t in missing]
    created = set()
    for name, done in admin.create_topics(new, operation_timeout=REQUEST_TIMEOUT_SECS).items():
        try:
            done.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            created.add(name)
    return created


def _align(admin: AdminClient, topics: list[Topic]) -> set[str]:
    """Sets what differs from the file, nothing else; returns the names of the topics it touched."""
    if not topics:
        return set()
    resources = {t.name: ConfigResource(ResourceType.TOPIC, t.name) for t in topics}
    held = {r.name: _held(done) for r, done in admin.describe_configs(list(resources.values())).items()}
    altered = []
    for topic in topics:
        for key, value in topic.config.items():
            if held[topic.name][key].value != value:
                entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                resources[topic.name].add_incremental_config(entry)
        if resources[topic.name].incremental_configs:
            altered.append(resources[topic.name])
    if altered:
        for done in admin.incremental_alter_configs(altered).values():
            done.result()
    return {resource.name for resource in altered}


def _held(done: Future[dict[str, ConfigEntry]]) -> dict[str, ConfigEntry]:
    return done.result()
