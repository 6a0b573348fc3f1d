"""infra/topics.yaml: what it must hold, what it refuses, and that a cluster is brought in line with it once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from jsonschema import Draft202012Validator
from pytest import TempPathFactory, raises
from yaml import safe_load

from infra.kafka.errors import TopicError
from infra.kafka.ready import wait_ready
from infra.kafka.topics import TOPICS, Topic, TopicsReport, ensure_topics, load_topics, schema
from tests.support_kafka import running_broker

SHARDED = (
    *("samples", "frames", "twin-live", "alerts", "command-requests", "commands", "command-acks", "command-events"),
    *(
        "readings",
        "windows",
        "named-windows",
        "rows",
        "gaps",
        "ledger",
        "anomalies",
        "twin-states",
        "forecasts",
        "health",
        "late",
        "dead-letters",
    ),
)
NAMES = {*SHARDED, "clock-sync", "work-orders", "estop", "tasks", "assignments", "plans", "map-updates", "definitions"}
MINIMAL = """
version: 1
classes: {raw: {cleanup: delete, retain: 6h, segment: 1MiB}}
topics: {samples: {key: device, partitions: 12, class: raw, max_message: 4MiB}}
"""


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: TempPathFactory) -> Iterator[str]:
    with running_broker(tmp_path_factory.mktemp("topics") / "kafka") as bootstrap:
        yield bootstrap


def written(folder: Path, text: str) -> Path:
    path = folder / "topics.yaml"
    path.write_text(text)
    return path


def test_the_file_holds_the_topics_of_the_design_and_shards_where_flows_need_them() -> None:
    topics = load_topics()
    assert set(topics) == NAMES
    assert {name for name, topic in topics.items() if topic.partitions == 12} == set(SHARDED)
    assert topics["estop"].partitions == topics["definitions"].partitions == 1


def test_arrival_is_the_brokers_in_every_topic_and_compaction_only_where_the_latest_counts() -> None:
    topics = load_topics()
    assert {t.config["message.timestamp.type"] for t in topics.values()} == {"LogAppendTime"}
    assert {n for n, t in topics.items() if t.config["cleanup.policy"] == "compact"} == {"twin-states", "definitions"}


def test_a_dead_letter_can_hold_any_message_that_samples_take_and_more() -> None:
    topics = load_topics()
    room = int(topics["dead-letters"].config["max.message.bytes"])
    assert room >= 4 / 3 * int(topics["samples"].config["max.message.bytes"])


def test_all_topics_together_stay_under_30_gib_and_a_size_limit_can_bite() -> None:
    total = 0
    for topic in load_topics().values():
        if topic.config["cleanup.policy"] == "delete":
            total += topic.partitions * int(topic.config["retention.bytes"])
            assert int(topic.config["segment.bytes"]) * 4 <= int(topic.config["retention.bytes"]), topic.name
    assert total <= 30 << 30


def test_the_file_is_valid_by_its_own_json_schema() -> None:
    Draft202012Validator.check_schema(schema())
    Draft202012Validator(schema()).validate(safe_load(TOPICS.read_text()))


def test_ages_and_sizes_become_kafkas_settings(tmp_path: Path) -> None:
    assert load_topics(written(tmp_path, MINIMAL))["samples"].config == {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": "4194304",
        "segment.bytes": "1048576",
        "retention.ms": "21600000",
        "retention.bytes": "-1",
    }


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("partitions: 12", "partitions: 0", r"Expected `int` >= 1 - at `\$.topics"),
        ("partitions: 12", "partitons: 12", "unknown field `partitons`"),
        ("retain: 6h", "retain: 6 hours", r"matching regex .* - at `\$.classes"),
        ("class: raw", "class: rwa", r"topics.samples: class 'rwa' is not one of raw"),
        ("key: device", "key: sensor", "Invalid enum value 'sensor'"),
        ("version: 1", "version: 2", "Invalid enum value 2"),
        ("version: 1", "version: [", "expected"),
    ],
)
def test_what_breaks_the_schema_is_refused_with_its_place(tmp_path: Path, right: str, wrong: str, says: str) -> None:
    with raises(TopicError, match=says) as caught:
        load_topics(written(tmp_path, MINIMAL.replace(right, wrong)))
    assert str(caught.value).startswith("topics.yaml")
    assert "\n" not in str(caught.value)


def test_making_all_topics_again_changes_nothing(bootstrap: str) -> None:
    wait_ready(bootstrap, topics=load_topics(), timeout_secs=30)
    assert ensure_topics(bootstrap) == TopicsReport(kept=tuple(sorted(NAMES)))
    present = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=20).topics
    assert {name: len(t.partitions) for name, t in present.items() if not name.startswith("__")} == {
        name: topic.partitions for name, topic in load_topics().items()
    }


def test_new_limits_are_brought_to_a_topic_that_exists(bootstrap: str) -> None:
    first = Topic("limits", "device", 1, {"retention.ms": "1000", "segment.bytes": "1048576"})
    second = Topic("limits", "device", 1, {"retention.ms": "2000", "segment.bytes": "1048576"})
    assert ensure_topics(bootstrap, [first]) == TopicsReport(created=("limits",))
    assert ensure_topics(bootstrap, [second]) == TopicsReport(changed=("limits",))
    assert ensure_topics(bootstrap, [second]) == TopicsReport(kept=("limits",))


def test_another_number_of_partitions_is_an_error_and_then_nothing_is_made(bootstrap: str) -> None:
    ensure_topics(bootstrap, [Topic("drift", "device", 2, {})])
    with raises(TopicError, match=r"^topic drift: exists with 2 partitions, infra/topics.yaml says 3; drain it"):
        ensure_topics(bootstrap, [Topic("beside-drift", "device", 1, {}), Topic("drift", "device", 3, {})])
    assert "beside-drift" not in AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics().topics


def test_a_setting_the_cluster_refuses_is_one_line(bootstrap: str) -> None:
    with raises(TopicError, match=r"^topics at 127.0.0.1:\d+: .*; check the cluster"):
        ensure_topics(bootstrap, [Topic("refused", "device", 1, {"segment.bytes": "-5"})])
