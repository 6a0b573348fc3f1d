"""The verb `replay`: a recording to the topic `samples`, paced, keyed by device, as a producer with a trusted clock."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.recordings.faults import Faults, RecordingError
from connectors.recordings.piece import Piece
from connectors.recordings.recording import Recording, open_recording
from connectors.recordings.replay_clock import At, ReplayClock, Span, cut_between, parse_limit, parse_speed
from infra.address import kafka_address
from infra.errors import ExitCode, UsageFault
from infra.paths import Folders
from infra.settings import Settings
from operators.definition_yaml import load_fleet

TWINS = Path(__file__).resolve().parent.parent / "models" / "twins"
TOPIC = "samples"
FLUSH_SECS = 60.0
LONGEST_WAIT_SECS = 0.1


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for; `start`, `end`: a time, or a duration since the first message, "" = open."""

    path: str
    mapping: str | None = None
    speed: str = "1"
    start: str = ""
    end: str = ""
    loop: bool = False
    at: str = "now"
    device: str = ""


@dataclass
class Report:
    """What was sent. Times ns UTC as sent; `faults`: by kind; `undelivered`: what Kafka did not take."""

    path: str
    mapping: str
    devices: list[str] = field(default_factory=list)
    messages: int = 0
    samples: int = 0
    rounds: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    seconds: float = 0.0
    undelivered: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    def note(self, piece: Piece) -> None:
        """Count what is about to be sent."""
        self.devices += sorted(set(piece.device) - set(self.devices))
        self.messages += len(piece)
        self.samples += int(piece.samples.sum())
        low, high = int(piece.ts.min()), int(piece.ts.max())
        self.first_ns = low if self.first_ns is None else min(self.first_ns, low)
        self.last_ns = high if self.last_ns is None else max(self.last_ns, high)


class Sink:
    """Kafka as a replay needs it: idempotent, waits where the queue is full, counts what was refused.

    Ctrl-C is only noted and raised between two calls: inside a delivery report the client would lose it.
    """

    def __init__(self, bootstrap: str) -> None:
        self.interrupted = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self._headers: list[tuple[str, str | bytes | None]] = [("clock", b"trusted")]
        self.refused = 0
        self.why = ""

    def send(self, device: str, value: bytes) -> None:
        """Queue one message."""
        while True:
            self._raise_interrupt()
            try:
                self._producer.produce(TOPIC, value, device.encode(), headers=self._headers, on_delivery=self._told)
            except BufferError:
                self._producer.poll(LONGEST_WAIT_SECS)
            except KafkaException as error:
                self.refused, self.why = self.refused + 1, str(error.args[0])
                return
            else:
                return

    def wait(self, secs: float) -> None:
        """Let time pass while deliveries are told."""
        self._producer.poll(max(0.0, secs))
        self._raise_interrupt()

    def _raise_interrupt(self) -> None:
        if self.interrupted.is_set():
            raise KeyboardInterrupt

    def close(self) -> int:
        """Number of messages that did not arrive."""
        return self.refused + self._producer.flush(FLUSH_SECS)

    def _told(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self.refused, self.why = self.refused + 1, error.str()


def replay(folders: Folders, settings: Settings, wish: Wish, *, as_json: bool) -> ExitCode:
    """Send a recording; OK when all of it could be read and was taken, FAILED when something was lost.

    Raises:
        RecordingError, MappingError: nothing of it can be sent.
        UsageFault: options that do not go together.
        NotRunning: there is no Kafka to send to.
    """
    speed, at = _checked(wish)
    fleet = load_fleet(TWINS / "fleet.yaml", TWINS)
    recording = open_recording(wish.path, wish.mapping, device=wish.device, type_of=fleet.type_of)
    if recording.device:
        recording.binder.of(recording.device)
    bootstrap = kafka_address(folders, settings, [TOPIC])
    _say(f"{recording.path.name}: {recording.chosen}")
    report = Report(str(recording.path), recording.mapping.recording)
    sink = Sink(bootstrap)
    interrupted = False
    started = time.monotonic()
    try:
        with _noted(sink.interrupted), _progress(shown=sys.stderr.isatty() and not as_json) as tell:
            for piece, due in _rounds(recording, wish, speed, at, report):
                _send(piece, due, sink, report, tell)
    except KeyboardInterrupt:
        interrupted = True
    report.undelivered = sink.close()
    report.seconds = round(time.monotonic() - started, 3)
    report.faults = dict(recording.faults.counts)
    _tell(report, recording, sink.why, as_json=as_json)
    if interrupted and not wish.loop:
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if report.undelivered or report.faults else ExitCode.OK


@contextmanager
def _noted(interrupted: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set an event instead of raising wherever the program is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _checked(wish: Wish) -> tuple[float, At]:
    try:
        speed = parse_speed(wish.speed)
    except ValueError:
        fix = "give a number over 0, or max"
        raise UsageFault(what=f"--speed {wish.speed}", why="is no speed", fix=fix) from None
    if wish.at not in ("now", "recorded"):
        raise UsageFault(what=f"--at {wish.at}", why="is neither now nor recorded", fix="leave it out for now")
    if wish.loop and wish.speed == "max":
        raise UsageFault(what="--loop", why="goes with no --speed max", fix="give a number as speed")
    return speed, "recorded" if wish.at == "recorded" else "now"


def _rounds(
    recording: Recording, wish: Wish, speed: float, at: At, report: Report
) -> Iterator[tuple[Piece, list[float]]]:
    """Pieces as they are to be sent, and when each message is due. A later round follows the one before it in time."""
    span, start, end = _selection(recording, wish)
    shift = span.shift_ns(time.time_ns(), at=at, speed=speed)
    clock = ReplayClock(speed=speed, start_secs=time.monotonic(), first_ns=span.first + shift)
    while True:
        faults = None if report.rounds == 0 else Faults()
        for whole in recording.pieces(faults):
            piece = cut_between(whole, start, end).shifted(shift)
            if len(piece):
                yield piece, clock.due(piece.ts).tolist()
        report.rounds += 1
        if not wish.loop:
            return
        shift += span.last - span.first + span.gap_ns


def _selection(recording: Recording, wish: Wish) -> tuple[Span, int | None, int | None]:
    """What of the recording is meant. It is read once for this: its ends are known only after that."""

    unread = Faults()

    def pieces() -> Iterator[Piece]:
        return recording.pieces(unread)

    whole = Span.of(pieces())
    if whole is None:
        first = f"; first of {unread.total} faults: {unread.first[0]}" if unread.total else ""
        why = f"holds no message ({recording.mapping.source}){first}"
        raise RecordingError(what=str(recording.path), why=why, fix="check file and mapping")
    if not wish.start and not wish.end:
        return whole, None, None
    start = parse_limit(wish.start, whole.first, "--from") if wish.start else None
    end = parse_limit(wish.end, whole.first, "--to") if wish.end else None
    span = Span.of(cut_between(p, start, end) for p in pieces())
    if span is None:
        secs = (whole.last - whole.first) / 1e9
        fix = f"it is {secs:.0f} s long and begins {_iso(whole.first)}"
        raise RecordingError(what=str(recording.path), why="holds no message between --from and --to", fix=fix)
    return span, start, end


def _send(piece: Piece, due: list[float], sink: Sink, report: Report, tell: Callable[[int, int], None]) -> None:
    report.note(piece)
    sent = 0
    try:
        for device, value, secs in zip(piece.device, piece.messages(), due, strict=True):
            while (left := secs - time.monotonic()) > 0:
                tell(report.messages - len(piece) + sent, report.rounds)
                sink.wait(min(left, LONGEST_WAIT_SECS))
            sink.send(device, value)
            sent += 1
            if sent % 1000 == 0:
                sink.wait(0.0)
                tell(report.messages - len(piece) + sent, report.rounds)
    except KeyboardInterrupt:
        report.messages -= len(piece) - sent
        report.samples -= int(piece.samples[sent:].sum())
        raise


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Gives what is told of messages and rounds; a line that moves, where there is a terminal."""
    if not shown:
        yield lambda messages, rounds: None
        return
    from rich.console import Console

    with Console(stderr=True).status("replay") as status:
        yield lambda messages, rounds: status.update(f"replay: {messages} messages, round {rounds + 1}")


def _tell(report: Report, recording: Recording, why: str, *, as_json: bool) -> None:
    for fault in recording.faults.first:
        _say(f"{recording.path.name}: {fault}")
    hidden = recording.faults.total - len(recording.faults.first)
    if hidden:
        _say(f"{recording.path.name}: {hidden} more faults of these kinds")
    if report.undelivered:
        _say(f"{report.undelivered} messages were not delivered: {why or 'no answer in time'}")
    if as_json:
        sys.stdout.write(json.dumps(asdict(report), indent=2) + "\n")
        return
    names = ", ".join(report.devices[:5]) + (", ..." if len(report.devices) > 5 else "")
    times = f", {_iso(report.first_ns)} to {_iso(report.last_ns)}" if report.first_ns and report.last_ns else ""
    lost = f"; {recording.faults.total} faults" if report.faults else ""
    sys.stdout.write(
        f"{report.messages} messages ({report.samples} samples) of {names or 'no device'} in {report.seconds:.1f} s"
        f"{times}{lost}\n"
    )


def _iso(nanos: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(nanos // 1_000_000_000))


def _say(text: str) -> None:
    sys.stderr.write(f"twinflow: {text}\n")
