"""The offset of a device clock from the broker's: known offsets are found within the bound that is told with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.device import Device
from connectors.device.clock import ClockError, bounded
from tests.connectors.brokers import by_confluent, new_topic
from tests.connectors.device.reading import read
from tests.support_kafka import free_ports

MS = 1_000_000


@given(
    offset=st.integers(-(10**15), 10**15),
    trips=st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 50 * MS), st.integers(0, 50 * MS)), min_size=1, max_size=12
    ),
)
def test_the_true_offset_lies_within_the_bound_however_the_delays_fall(
    offset: int, trips: list[tuple[int, int, int]]
) -> None:
    """The broker's clock is the device's + offset, told in whole milliseconds."""
    found = bounded([(at, (at + out + offset) // MS * MS, at + out + back) for at, out, back in trips])
    assert abs(found.offset_ns - offset) <= found.uncertainty_ns
    quickest = min(out + back for _, out, back in trips)
    assert found.round_trip_ns == quickest
    assert found.uncertainty_ns <= (quickest + MS) // 2 + 1
    assert found.exchanges == len(trips)


def test_an_exchange_that_contradicts_the_quickest_does_not_count() -> None:
    found = bounded([(0, 5 * MS, MS), (10 * MS, 900 * MS, 12 * MS)])
    assert (found.offset_ns, found.exchanges) == (5 * MS, 1)


@pytest.mark.parametrize("offset_ns", [3_700_000_000, -86_400_000_000_000], ids=["3.7 s fast", "a day slow"])
def test_a_clock_that_is_off_is_measured_against_a_real_broker_and_corrected(
    broker: str, tmp_path: Path, offset_ns: int
) -> None:
    """The device's clock is this machine's + offset, the broker's is this machine's: so the truth is known."""
    topic, clocks = new_topic(broker), new_topic(broker)

    def wrong() -> int:
        return time.time_ns() + offset_ns

    with Device("pump-7", broker, topic=topic, clock_topic=clocks, spool=tmp_path, time_ns=wrong) as pump:
        pump.send({"n": 1})
        found = pump.clock.sync(trust=True)
        assert abs(found.offset_ns + offset_ns) <= found.uncertainty_ns
        assert found.uncertainty_ns <= (found.round_trip_ns + MS) // 2 + 1
        assert 1 <= found.exchanges <= 16
        before = time.time_ns()
        pump.send({"n": 2})
        pump.send({"n": 3}, ts=(before + offset_ns) / 1e9)
        after = time.time_ns()
        assert pump.flush(60) == 0
    stamped = {int(value): ts for _, _, ts, value in read(broker, topic).samples}
    assert abs(stamped[1] - before - offset_ns) < 60 * 10**9  # as the device's clock had it
    assert before - found.uncertainty_ns <= stamped[2] <= after + found.uncertainty_ns
    assert abs(stamped[3] - before) <= found.uncertainty_ns + 1000
    clock = [m.headers.get("clock") for m in by_confluent(broker, topic)]
    assert clock == [None, b"trusted", b"trusted"]


def test_a_topic_that_keeps_the_producers_time_and_a_broker_that_is_away_are_said(broker: str) -> None:
    wrong = new_topic(broker, message_timestamp_type="CreateTime")
    [port] = free_ports(1)
    given: list[tuple[Callable[[], Device], str]] = [
        (lambda: Device("p", broker, clock_topic=wrong, spool=None), "does not stamp the arrival"),
        (lambda: Device("p", broker, clock_topic="nowhere", spool=None), "topic nowhere at"),
        (lambda: Device("p", f"127.0.0.1:{port}", spool=None), f"no broker answers: 127.0.0.1:{port}: "),
    ]
    for made, said in given:
        device = made()
        with pytest.raises(ClockError, match=said):
            device.clock.sync()
        assert device.clock.offset is None
        device.close()


def test_the_topic_for_it_is_one_of_the_stack(broker: str) -> None:
    device = Device("pump-7", broker, spool=None)
    assert device.clock.sync(exchanges=3).exchanges >= 1
    device.close()
