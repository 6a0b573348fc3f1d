"""Nothing is there yet: a device that starts before its broker or its topics, and says so once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from connectors.device import Device
from tests.connectors.brokers import new_topic, until
from tests.connectors.device.reading import read
from tests.support_kafka import free_ports


def test_a_topic_that_is_missing_is_told_once_and_holds_up_nothing_else(
    broker: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(broker)
    caplog.set_level(logging.DEBUG, "twinflow.device")
    with Device("pump-7", broker, topic=topic, commands_topic="nowhere", spool=tmp_path) as pump:
        pump.on("stop")(lambda _command: None)
        for n in range(50):
            pump.send({"n": n})
        assert pump.flush(60) == 0
        until(lambda: caplog.text.count("topic nowhere is not there") > 1, "a few tries", 60.0)
        assert not pump.wait_ready(0)
    assert read(broker, topic).of("pump-7", "n") == [float(n) for n in range(50)]
    told = [r for r in caplog.records if "topic nowhere is not there" in r.getMessage()]
    assert [r.levelname for r in told if r.levelno >= logging.WARNING] == ["WARNING"]


def test_a_device_without_a_broker_goes_on_says_how_many_wait_and_ends_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [port] = free_ports(1)
    with Device("pump-7", f"127.0.0.1:{port}", spool=tmp_path) as pump:
        for n in range(100):
            pump.send({"n": n})
        until(lambda: "no broker answers" in caplog.text, "it says so", 60.0)
        assert pump.close(0) == 100
    assert f"no broker answers: 127.0.0.1:{port}: " in caplog.text
    assert "records wait" in caplog.text
    assert len([r for r in caplog.records if "no broker answers" in r.getMessage()]) == 1
