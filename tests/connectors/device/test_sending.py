"""What a device sends over a real broker is what telemetry reads, JSON and packed; wrong messages are refused."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.device import Device, Gateway
from connectors.device.wire import WrongMessage, checked, nanos, samples
from operators.frames import Frames
from tests.connectors.brokers import by_confluent, new_topic, until
from tests.connectors.device.reading import read
from tests.operators.wire_cases import ARM, decoder

T0 = 1_700_000_000_000_000_000


def test_json_messages_are_read_with_their_numbers_vectors_and_reports(broker: str, tmp_path: Path) -> None:
    topic = new_topic(broker)
    with Device("pump-7", broker, topic=topic, spool=tmp_path) as pump:
        pump.send({"flow": 1.5, "n": 1, "pos": (0.0, 0.25, 9.75)}, ts=T0)
        pump.send({"flow": np.float64(2.5), "pos": np.array([1.0, 2.0, 3.0])}, ts=1_700_000_001.5)
        pump.report({"task": "lift", "done": 0.5}, ts=datetime(2023, 11, 14, 22, 13, 22, tzinfo=UTC))
        pump.send({"n": 2})
        assert pump.flush(60) == 0
        assert pump.counts == {"waiting": 0, "delivered": 4, "refused": 0, "dropped": 0, "damaged": 0}
    found = read(broker, topic)
    assert found.dead == []
    assert found.samples[:9] == [
        ("pump-7", "flow", T0, 1.5), ("pump-7", "n", T0, 1.0), ("pump-7", "pos.0", T0, 0.0),
        ("pump-7", "pos.1", T0, 0.25), ("pump-7", "pos.2", T0, 9.75), ("pump-7", "flow", T0 + 1_500_000_000, 2.5),
        ("pump-7", "pos.0", T0 + 1_500_000_000, 1.0), ("pump-7", "pos.1", T0 + 1_500_000_000, 2.0),
        ("pump-7", "pos.2", T0 + 1_500_000_000, 3.0),
    ]  # fmt: skip
    assert found.reports == [{"task": "lift", "done": 0.5}]
    assert found.numbers == {"pump-7": [0, 1, 2, 3]}
    assert found.trusted == {True}  # the type says so; no header does
    [first, *_] = by_confluent(broker, topic)
    assert (first.key, first.headers) == (b"pump-7", {})
    assert list(json.loads(first.value or b"")) == ["device", "ts", "signals", "seq", "boot"]


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_packed_blocks_are_read_as_the_same_samples_as_json(broker: str, tmp_path: Path, rows: int) -> None:
    topics = new_topic(broker), new_topic(broker)
    sent: list[tuple[str, dict[str, Any], int]] = [
        (f"pump-{n % 2}", {"flow": n / 8, **({"n": n} if n % 3 else {}), "pos": [n, 0.5, 1.5]}, T0 + n * 10**6)
        for n in range(200)
    ]
    for topic, packed_rows in zip(topics, (0, rows), strict=True):
        options: dict[str, Any] = {"topic": topic, "spool": tmp_path / topic, "packed_rows": packed_rows}
        with Gateway(broker, ["pump-0", "pump-1"], packed_secs=60.0, **options) as gateway:
            for device, signals, ts in sent:
                gateway.send(device, signals, ts)
            gateway.report("pump-1", {"task": "x"})
            assert gateway.flush(60) == 0
    plain, packed = (read(broker, topic) for topic in topics)
    assert packed.dead == plain.dead == []
    assert sorted(packed.samples) == sorted(plain.samples)
    assert packed.reports == plain.reports
    for device in ("pump-0", "pump-1"):
        assert packed.of(device, "n") == plain.of(device, "n")
        assert packed.numbers[device] == list(range(len(packed.numbers[device])))


def test_a_block_is_held_back_no_longer_than_asked(broker: str, tmp_path: Path) -> None:
    topic = new_topic(broker)
    with Device("pump-7", broker, topic=topic, spool=tmp_path, packed_rows=5000, packed_secs=0.2) as pump:
        pump.send({"flow": 1})
        # nobody flushes: the thread sends what is old enough
        until(lambda: pump.counts["delivered"] == 2, "the schema and the block", 60.0)
    assert read(broker, topic).of("pump-7", "flow") == [1.0]


def test_a_block_stays_below_the_size_that_is_read_and_a_row_that_cannot_is_refused(
    broker: str, tmp_path: Path
) -> None:
    topic = new_topic(broker)
    with Device("pump-7", broker, topic=topic, spool=tmp_path, packed_rows=5000, packed_secs=60) as pump:
        wide = {f"s{i}": float(i) for i in range(400)}
        for n in range(600):
            pump.send({**wide, "n": n})
        with pytest.raises(WrongMessage, match=r"a row of pump-7 would have 80\d+ bytes"):
            pump.send({"cloud": [0.0] * 100_000})
        with pytest.raises(WrongMessage, match=r"a schema of 9\d+; .*: send such devices as JSON"):
            pump.send({f"s{i}": 1.0 for i in range(2000)})
        with pytest.raises(WrongMessage, match="signal 'n' of pump-7 has 2 elements; before: no vector"):
            pump.send({"n": [1, 2]})
        pump.send({"n": 600})
        assert pump.flush(60) == 0
    found = by_confluent(broker, topic)
    assert max(len(m.value or b"") for m in found) < 1_048_576
    assert read(broker, topic).of("pump-7", "n") == [float(n) for n in range(601)]


@pytest.mark.parametrize(
    ("signals", "ts", "said"),
    [
        ({}, None, "a message needs at least one signal"),
        ({"flow": math.nan}, None, "signal 'flow' is nan; only finite numbers are sent, leave the signal out"),
        ({"flow": True}, None, "signal 'flow' is True; it must be a number"),
        ({"flow": "1"}, None, "signal 'flow' is '1'; it must be a number"),
        ({"flow": None}, None, "signal 'flow' is None; it must be a number"),
        ({"flow": 10**400}, None, "only finite numbers are sent"),
        ({"flow": []}, None, "signal 'flow': an empty vector"),
        ({"flow": [1, [2]]}, None, "it must be a number"),
        ({"": 1}, None, "its name must have 1 to 256 bytes"),
        ({"a\nb": 1}, None, "its name has the control character"),
        ({"flow": 1}, 0, "ts 0 is not between 1970 and 2262"),
        ({"flow": 1}, math.inf, "ts is inf"),
        ({"flow": 1}, 10**20, "not between 1970 and 2262"),
        ({"flow": 1}, datetime(2026, 1, 1), "has no zone"),
    ],
)
def test_what_the_contract_would_refuse_is_refused_here_and_takes_no_number(
    signals: dict[str, Any], ts: Any, said: str
) -> None:
    with Device("pump-7", "127.0.0.1:1", spool=None) as pump:
        with pytest.raises(WrongMessage, match=said.replace("(", r"\(")):
            pump.send(signals, ts)
        assert pump.counts["waiting"] == 0
        pump.close(0)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\u200bb", "x" * 257])
def test_a_device_has_a_name_that_telemetry_takes(name: str) -> None:
    with pytest.raises(WrongMessage, match="device"):
        Device(name, "127.0.0.1:1", spool=None)


NAMES = st.text(max_size=8) | st.sampled_from(["temp", "imu", "speed", "a/b", "\u2028"])
NUMBERS = st.one_of(st.integers(-(10**320), 10**320), st.floats(), st.booleans(), st.none(), st.text(max_size=2))
VALUES = NUMBERS | st.lists(NUMBERS, max_size=3)


@given(signals=st.dictionaries(NAMES, VALUES, max_size=4))
def test_the_sdk_and_telemetry_agree_on_what_a_message_is(signals: dict[str, Any]) -> None:
    """What the SDK takes is no dead letter for its form; what it refuses would have been one."""
    by_type = {"bad_value", "wrong_length", "out_of_range", "bad_quaternion"}
    try:
        value = samples("arm-1", T0, checked(signals), 0, "b")
    except WrongMessage:
        raw = json.dumps({"device": "arm-1", "ts": T0, "signals": signals}, ensure_ascii=True).encode()
        assert decoder().push(Frames.of([raw])).dead.reason != []
        return
    reasons = set(decoder().push(Frames.of([value])).dead.reason)
    declared = {s.name for s in ARM.signals} | {v.name for v in ARM.vectors}
    assert reasons <= (by_type if declared & set(signals) else set())


@given(
    ts=st.one_of(
        st.integers(-5, 2**66),
        st.floats(-1, 1e19, allow_nan=False),
        st.datetimes(datetime(1970, 1, 2), datetime(2261, 1, 1), timezones=st.just(timezone(timedelta(hours=2)))),
    )
)
def test_a_time_is_read_as_telemetry_reads_it(ts: float | datetime) -> None:
    try:
        mine = nanos(ts)
    except WrongMessage:
        mine = None
    text = ts.isoformat() if isinstance(ts, datetime) else json.dumps(ts)
    raw = f'{{"device":"arm-1","ts":{json.dumps(text) if isinstance(ts, datetime) else text},"signals":{{"temp":1}}}}'
    out = decoder().push(Frames.of([raw.encode()]))
    assert mine == (out.batches[0].ts[0] if out.batches and len(out.batches[0]) else None)
