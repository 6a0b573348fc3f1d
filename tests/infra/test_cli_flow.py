"""`twinflow flow`: what a person decides about a flow that cannot go on by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka_commit import Settled, ShardTransactions
from flows.state_folder import StateFolder
from infra.errors import ExitCode
from tests.connectors.batches import Sent
from tests.connectors.brokers import produce
from tests.infra.command import Command


@pytest.fixture
def twinflow(tmp_path: Path) -> Command:
    return Command(tmp_path / "data")


@pytest.fixture
def state(twinflow: Command) -> StateFolder:
    made = StateFolder(twinflow.data / "state" / "telemetry")
    with made.owned():
        made.shards.mkdir()
    (made.shards / "03gb.1.log").write_bytes(b"")
    made.accept_loss(3, 10)
    return made


def test_reset_says_what_it_means_and_does_nothing_without_yes(twinflow: Command, state: StateFolder) -> None:
    done = twinflow("flow", "reset", "telemetry")
    assert done.returncode == ExitCode.USAGE
    assert str(state.shards) in done.stdout
    assert "not delivered again" in done.stdout
    assert "--yes" in done.stderr
    assert (state.shards / "03gb.1.log").exists()


def test_reset_with_yes_leaves_nothing_to_resume_from(twinflow: Command, state: StateFolder) -> None:
    assert twinflow("flow", "reset", "telemetry", "--yes").returncode == ExitCode.OK
    assert {path.suffix for path in state.shards.iterdir()} == {".reset"}
    assert state.accepted_losses() == {}
    assert twinflow("flow", "reset", "telemetry", "--yes").returncode == ExitCode.OK


def test_a_flow_that_runs_is_not_touched(twinflow: Command, state: StateFolder) -> None:
    with state.owned():
        done = twinflow("flow", "reset", "telemetry", "--yes")
    assert done.returncode == ExitCode.FAILED
    assert "twinflow down" in done.stderr
    assert (state.shards / "03gb.1.log").exists()


@pytest.mark.parametrize(
    "words", [("reset", "nonsense", "--yes"), ("skip", "samples/3"), ("skip", "samples", "3"), ("stop", "telemetry")]
)
def test_a_wrong_call_is_a_usage_error(twinflow: Command, words: tuple[str, ...]) -> None:
    assert twinflow("flow", *words).returncode == ExitCode.USAGE


def test_skip_accepts_only_what_is_gone(twinflow: Command, broker: str) -> None:
    """Deletes the start of one partition of samples."""
    here = Command(twinflow.data, env={"TWINFLOW_KAFKA": broker})
    produce(broker, "samples", [Sent(None, b"{")] * 30, partition=9)
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    part = TopicPartition("samples", 9)
    first = next(iter(admin.delete_records([TopicPartition("samples", 9, 20)]).values())).result(20).low_watermark
    refused = here("flow", "skip", "samples/9", str(first + 1))
    assert refused.returncode == ExitCode.USAGE
    assert "still there" in refused.stderr
    assert here("flow", "skip", "samples/9", str(first)).returncode == ExitCode.OK
    assert StateFolder(here.data / "state" / "telemetry").accepted_losses() == {part.partition: first}


def test_redeliver_forgets_the_committed_offsets(twinflow: Command, broker: str) -> None:
    shard = ShardTransactions(broker, group="telemetry", shard="test", source=("samples", 9))
    shard.write(Settled(5))
    shard.commit()
    here = Command(twinflow.data, env={"TWINFLOW_KAFKA": broker})
    done = here("flow", "reset", "telemetry", "--redeliver", "--yes")
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    asking = Consumer({"bootstrap.servers": broker, "group.id": "telemetry"})
    assert asking.committed([TopicPartition("samples", 9)], timeout=10)[0].offset < 0
    asking.close()
