"""A redrive sends the original bytes again, once, with where they came from."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, Message, TopicPartition

from connectors.kafka_commit import Record
from dashboards.api.settings import ApiSettings
from flows.documents import document, raw_text
from flows.encode import to_bytes
from flows.tables import samples_table
from operators.types import Batch
from tests.api.serving import FLEET, PUMP, send, serving

PACKED = to_bytes(samples_table(Batch.of(series=[0], ts=[5], value=[1.0]), PUMP, ["pump-x"]))
RAW = [b'{"device":"pmp-1","ts":1,"signals":{"flow":1}}', "späte Pumpe".encode(), PACKED]


def letter(
    reason: str, offset: int, raw: bytes, *, key: str = "pmp-1", whole: bool = True, partition: int = 4
) -> Record:
    value = {
        "reason": reason, "detail": "", "topic": "samples", "partition": partition, "offset": offset, "arrival_ns": 1,
        "key": key, "samples": 1, "whole": whole, **raw_text(raw),
    }  # fmt: skip
    return document("dead-letters", key, value, partition=partition)


def read_samples(bootstrap: str, partition: int, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition("samples", partition, 0)])
    found: list[Message] = []
    end = time.monotonic() + 30
    while len(found) < count and time.monotonic() < end:
        found += [m for m in consumer.consume(100, 0.2) if m.error() is None]
    consumer.close()
    return found


def test_the_original_bytes_come_again_once_with_the_place_they_came_from(bootstrap: str) -> None:
    reason = "too_many_devices"
    letters = [letter(reason, i, raw) for i, raw in enumerate(RAW)]
    letters += [letter("bad_json", 77, b"{"), letter(reason, 8, RAW[0], whole=False), letter(reason, 9, b"", key="")]
    send(bootstrap, letters)
    with serving(ApiSettings(kafka=bootstrap, fleet=FLEET)) as served:
        body = {"reason": reason, "limit": 2}
        dry = {"reason": reason, "dry_run": True, "found": 5, "sent": 2, "left": 3, "passed_over": 0}
        assert served.ask("/api/dead-letters/redrive", body) == (200, dry)
        assert served.ask("/api/dead-letters/redrive", body) == (200, dry)
        real = body | {"dry_run": False}
        assert served.ask("/api/dead-letters/redrive", real)[1] == dry | {"dry_run": False}
        rest = served.ask("/api/dead-letters/redrive", real | {"limit": 100})[1]
        assert (rest["found"], rest["sent"], rest["passed_over"]) == (3, 2, 1)
        again = served.ask("/api/dead-letters/redrive", real | {"limit": 100})[1]
        assert (again["found"], again["sent"]) == (0, 0)
        assert served.ask("/api/dead-letters/redrive", {"reason": reason, "limit": 0})[0] == 400
    found = read_samples(bootstrap, 4, 4)
    assert [m.value() for m in found] == [*RAW, b""]
    assert [dict(m.headers() or ())["redrive"] for m in found] == [b"samples/4/%d" % i for i in (0, 1, 2, 9)]
    assert [m.key() for m in found] == [b"pmp-1"] * 3 + [None]
    assert dict(found[2].headers() or ())["content-type"] == b"application/vnd.apache.arrow.stream"
