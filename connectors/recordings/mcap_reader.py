"""MCAP (https://mcap.dev/spec) as pieces: ROS 2 messages (cdr, ros2msg) and JSON, one chunk in memory at a time.

Records are framed here, so that a chunk that does not unpack costs only itself and a file that was cut off gives all
that came before; the packages mcap and mcap-ros2-support read what is in a record.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import breakup_chunk
from mcap_ros2.decoder import DecoderFactory

from connectors.recordings.binding import SAME, Binder, Scale
from connectors.recordings.faults import Faults, MappingError, RecordingError, nearest
from connectors.recordings.instants import checked
from connectors.recordings.mapping import Mapping, Source
from connectors.recordings.piece import Piece
from operators.types import NO_TIME

MAGIC = b"\x89MCAP0\r\n"
LARGEST_CHUNK = 256 << 20
_WANTED = {Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE, Opcode.CHUNK}


@dataclass(frozen=True, slots=True)
class Contents:
    """Channels and schemas by id, as far as the file tells them up front."""

    channels: dict[int, Channel]
    schemas: dict[int, Schema]

    @property
    def topics(self) -> set[str]:
        return {c.topic for c in self.channels.values()}


def is_mcap(path: Path) -> bool:
    """Whether the file is an MCAP, by its ending."""
    return path.suffix.lower() == ".mcap"


def contents(path: Path) -> Contents:
    """From the summary at the end; of a file without one, from all of it.

    Raises:
        RecordingError: it is no MCAP.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            fix = "a ROS 1 bag or a .db3 is converted by `mcap convert` first"
            raise RecordingError(what=str(path), why="is no MCAP", fix=fix)
        file.seek(0)
        try:
            summary = make_reader(file, validate_crcs=True).get_summary()
        except (McapError, ValueError, struct.error, OSError):
            summary = None
    found = Contents({}, {})
    if summary is not None and summary.channels:
        return Contents(dict(summary.channels), dict(summary.schemas))
    for _, record in _records(path, Faults()):
        _note(record, found)
    return found


def _note(record: object, found: Contents) -> None:
    if isinstance(record, Channel):
        found.channels[record.id] = record
    elif isinstance(record, Schema):
        found.schemas[record.id] = record


def _records(path: Path, faults: Faults) -> Iterator[tuple[int, object]]:
    """Schemas, channels and messages in file order, each with the byte of the record that holds it."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        at = file.seek(len(MAGIC))
        while True:
            head = file.read(9)
            opcode, length = struct.unpack("<BQ", head) if len(head) == 9 else (0, 0)
            if len(head) < 9 or at + 9 + length > size:
                faults.add("cut_off", f"byte {at}", f"the file ends at byte {size}, without a footer")
                return
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                return
            if opcode in _WANTED:
                yield from _unpacked(file, at, opcode, length, faults)
            at = file.seek(at + 9 + length)


def _unpacked(file: BinaryIO, at: int, opcode: int, length: int, faults: Faults) -> Iterator[tuple[int, object]]:
    try:
        if length > LARGEST_CHUNK:
            raise McapError(f"{length} bytes, at most {LARGEST_CHUNK} are read")
        stream = ReadDataStream(io.BytesIO(file.read(length)))
        if opcode == Opcode.CHUNK:
            chunk = Chunk.read(stream)
            if chunk.uncompressed_size > LARGEST_CHUNK:
                raise McapError(f"unpacks to {chunk.uncompressed_size} bytes, at most {LARGEST_CHUNK} are read")
            records: list[object] = list(breakup_chunk(chunk, validate_crc=True))
        elif opcode == Opcode.MESSAGE:
            records = [Message.read(stream, length)]
        else:
            records = [Channel.read(stream) if opcode == Opcode.CHANNEL else Schema.read(stream)]
    except Exception as error:  # each compressor has its own errors, and a damaged record may raise any
        kind = "bad_chunk" if opcode == Opcode.CHUNK else "bad_message"
        faults.add(kind, f"byte {at}", f"{length} bytes lost: {str(error)[:200] or type(error).__name__}")
        return
    yield from ((at, record) for record in records)


def check_topics(path: Path, mapping: Mapping, found: Contents) -> None:
    """Refuse a file that lacks a topic.

    Raises:
        RecordingError: it names the topic and the nearest one there is.
    """
    missing = [t for t in mapping.topics if t not in found.topics]
    if missing:
        why = f"has no topic {missing[0]!r} ({mapping.source} asks for it)"
        raise RecordingError(what=str(path), why=why, fix=nearest(missing[0], sorted(found.topics)))


def read_mcap(path: Path, mapping: Mapping, device: str, binder: Binder, *, faults: Faults) -> Iterator[Piece]:
    """All messages of the mapped topics, in file order; one piece per chunk.

    Raises:
        RecordingError: no MCAP, a topic is missing or is neither cdr nor JSON; see also Binder.of.
        MappingError: a message has no such field.
    """
    found = contents(path)
    check_topics(path, mapping, found)
    scales = binder.of(device).scales
    topics: dict[str, list[tuple[str, Source]]] = {}
    for name, source in mapping.signals.items():
        topics.setdefault(source.topic, []).append((name, source))
    readers: dict[int, _Topic] = {}
    rows: list[tuple[int, str, int]] = []
    place = -1
    for at, record in _records(path, faults):
        if at != place and rows:
            yield _piece(device, rows)
            rows = []
        place = at
        _note(record, found)
        if not isinstance(record, Message):
            continue
        channel = found.channels.get(record.channel_id)
        if channel is None:
            faults.add("bad_message", f"byte {at}", f"channel {record.channel_id} was never described")
        elif channel.topic in topics:
            reader = readers.get(channel.id)
            if reader is None:
                schema = found.schemas.get(channel.schema_id)
                reader = readers[channel.id] = _Topic(path, mapping, channel, schema, topics[channel.topic], scales)
            row = reader.row(record, at, faults)
            if row is not None:
                rows.append(row)
    if rows:
        yield _piece(device, rows)


def _piece(device: str, rows: list[tuple[int, str, int]]) -> Piece:
    ts, body, samples = zip(*rows, strict=True)
    return Piece([device] * len(rows), np.array(ts, np.int64), body, np.array(samples, np.int64))


class _Topic:
    """Messages of one channel to rows."""

    def __init__(
        self, path: Path, mapping: Mapping, channel: Channel, schema: Schema | None, signals: list[tuple[str, Source]],
        scales: dict[str, tuple[Scale, ...]],
    ) -> None:  # fmt: skip
        self.mapping, self.topic, self.sound = mapping, channel.topic, False
        self.truth = channel.message_encoding != "json"
        self.decode = _decoder(path, channel, schema)
        self.signals = [
            (name, json.dumps(name, ensure_ascii=False), source.vector, [attrgetter(f) for f in source.names], source,
             scales[name])
            for name, source in signals
        ]  # fmt: skip

    def row(self, message: Message, at: int, faults: Faults) -> tuple[int, str, int] | None:
        """Time, members and number of values of a message; None where it brings nothing.

        Raises:
            MappingError: the first message has no such field; once one had them all, it is the message that is bad.
        """
        where = f"byte {at}, log time {message.log_time}"
        try:
            tree = self.decode(message.data)
        except Exception as error:  # a damaged message may raise anything
            faults.add("bad_message", where, f"{self.topic}: {str(error)[:200] or type(error).__name__}")
            return None
        try:
            ts = self._time(message, tree)
            found = [[_scalar(get(tree)) for get in getters] for _, _, _, getters, _, _ in self.signals]
        except AttributeError as error:
            if not self.sound:
                raise self._mismatch(tree) from None
            faults.add("bad_message", where, f"{self.topic}: {error}")
            return None
        self.sound = True
        if ts == NO_TIME:
            faults.add("bad_time", where, f"{self.topic}: {self.mapping.time.field} is no time")
            return None
        members: list[str] = []
        samples = 0
        for (name, key, vector, _, _, scales), raw in zip(self.signals, found, strict=True):
            values = [_number(v, truth=self.truth) for v in raw]
            if any(math.isinf(v) for v in values):
                shown = next(v for v, number in zip(raw, values, strict=True) if math.isinf(number))
                faults.add("bad_value", where, f"{self.topic}: {name} = {str(shown)[:60]!r} is no finite number")
            elif not any(math.isnan(v) for v in values):
                if any(scale != SAME for scale in scales):
                    values = [v * f + o for v, (f, o) in zip(values, scales, strict=True)]
                members.append(f"{key}:{values if vector else values[0]!r}")
                samples += len(values)
        return (ts, ",".join(members), samples) if members else None

    def _time(self, message: Message, tree: Any) -> int:
        field = self.mapping.time.field
        if field in ("log_time", "publish_time"):
            return checked(int(getattr(message, field)))
        stamp = attrgetter(field)(tree)
        try:
            if isinstance(stamp, int | float):
                return checked(int(stamp))
            return checked(int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec))
        except (AttributeError, TypeError, ValueError, OverflowError):
            if not self.sound:
                fix = "use log_time, or a field with sec and nanosec, or nanoseconds"
                raise self.mapping.error("time.field", f"{self.topic} has no time at {field!r}", fix) from None
            return NO_TIME

    def _mismatch(self, tree: object) -> MappingError:
        """What the mapping asks for and the message does not have."""
        for name, _, _, getters, source, _ in self.signals:
            for get in getters:
                try:
                    _scalar(get(tree))
                except AttributeError as error:
                    detail = f"{self.topic} has no number at {', '.join(source.names)}: {error}"
                    return self.mapping.error(f"signals.{name}", detail, f"its fields: {', '.join(_paths(tree))[:400]}")
        fix = "use log_time, or a field with sec and nanosec, or nanoseconds"
        return self.mapping.error("time.field", f"{self.topic} has no time at {self.mapping.time.field!r}", fix)


def _decoder(path: Path, channel: Channel, schema: Schema | None) -> Callable[[bytes], Any]:
    if channel.message_encoding == "json":
        return lambda data: json.loads(data, object_pairs_hook=_object)
    decoder = DecoderFactory().decoder_for(channel.message_encoding, schema)
    if decoder is None:
        why = f"topic {channel.topic} is {channel.message_encoding!r} ({schema.encoding if schema else 'no schema'})"
        raise RecordingError(what=str(path), why=why, fix="cdr with ros2msg schemas and json are read")
    return decoder


class _Object:
    def __init__(self, members: dict[str, object]) -> None:
        self.__dict__.update(members)


def _object(pairs: list[tuple[str, object]]) -> _Object:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return _Object(members)


def _scalar(value: object) -> str | float | None:
    """The value where it may stand for one number, as far as its kind goes."""
    if value is None or isinstance(value, str | int | float):
        return value
    raise AttributeError(f"{type(value).__name__.strip('_')} is no number")


def _number(value: str | float | None, *, truth: bool) -> float:
    """NaN where there is no value, infinity where there is no finite number; `truth`: true and false are numbers."""
    if value is None:
        return math.nan
    if isinstance(value, str) or (isinstance(value, bool) and not truth):
        return math.inf
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _paths(tree: object, prefix: str = "", depth: int = 0) -> Iterator[str]:
    for name, value in vars(tree).items() if hasattr(tree, "__dict__") and depth < 5 else ():
        if hasattr(value, "__dict__"):
            yield from _paths(value, f"{prefix}{name}.", depth + 1)
        elif isinstance(value, int | float):
            yield prefix + name
