"""A spool on disk: a queue that is the same after its process ended, however that was; bounded; whole or counted."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.device.folder import SpoolInUse, lock
from connectors.device.records import MemoryQueue, Queue, Record
from connectors.device.segments import records
from connectors.device.spool import Spool

ROOT = Path(__file__).parents[3]
RECORDS = st.builds(
    Record,
    topic=st.sampled_from(["samples", "command-acks"]),
    key=st.binary(max_size=20),
    value=st.binary(max_size=300),
    headers=st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=9)), max_size=2).map(tuple),
    seq=st.integers(-1, 2**63 - 1),
)
NOTE = Record("", b"", b"a note")


def record(n: int, size: int = 1000) -> Record:
    return Record("samples", b"pump-7", b"%d " % n + b"x" * size, (), n)


def taken(queue: Queue) -> list[int]:
    """Numbers in the values of all that can be taken now."""
    found: list[int] = []
    while some := queue.take(7):
        found += [int(r.value.split()[0]) for _, r in some]
    return found


class Model:
    """What a queue is: everything ever put in, which of it is done, how far it was taken."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.done: set[int] = set()
        self.at = 0

    def take(self, limit: int) -> list[tuple[int, Record]]:
        untaken = [n for n in range(self.at, len(self.records)) if n not in self.done][:limit]
        self.at = untaken[-1] + 1 if len(untaken) == limit else len(self.records)
        return [(n, self.records[n]) for n in untaken]

    @property
    def done_below(self) -> int:
        return next((n for n in range(len(self.records)) if n not in self.done), len(self.records))

    def start_anew(self) -> None:
        """Only the numbers below the first that is not done are known to be done."""
        self.at, self.done = self.done_below, set(range(self.done_below))


STEPS = st.lists(
    st.one_of(
        st.lists(RECORDS, min_size=1, max_size=4),
        st.tuples(st.sampled_from(["take", "done", "rewind"]), st.integers(1, 6)),
        st.sampled_from(["note", "roll", "again"]),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, disk=st.booleans())
def test_it_gives_everything_in_order_until_it_is_done_also_over_restarts(steps: list[object], disk: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        queue: Queue = Spool(Path(folder)) if disk else MemoryQueue()
        model = Model()
        flying: list[int] = []
        for step in steps:
            if isinstance(step, list):
                for one in step:
                    queue.append(one)
                model.records += step
            elif isinstance(step, tuple):
                what, n = step
                if what == "take":
                    some = queue.take(n)
                    assert some == model.take(n)
                    flying += [number for number, _ in some]
                elif what == "rewind":
                    queue.rewind()
                    model.at, flying = model.done_below, []
                elif flying:
                    number = flying.pop(n % len(flying))
                    queue.done(number)
                    model.done.add(number)
            elif step == "note":
                queue.append(NOTE)
            elif isinstance(queue, Spool):
                if step == "roll":
                    queue.roll()
                else:
                    queue.close()
                    queue = Spool(Path(folder))
                    model.start_anew()
                    flying = []
            assert queue.waiting == len(model.records) - len(model.done)
        queue.close()


def test_beyond_its_bound_the_oldest_are_dropped_and_counted_and_what_is_on_its_way_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, max_bytes=1 << 20)
    for n in range(10):
        spool.append(record(n))
    flying = spool.take(3)
    with caplog.at_level(logging.CRITICAL, "twinflow.device"):
        for n in range(10, 3000):
            spool.append(record(n))
    assert spool.size <= 1 << 20
    assert spool.waiting + spool.dropped == 3000
    assert spool.dropped > 1500
    rest = taken(spool)
    assert [n for n, _ in flying] == [0, 1, 2]
    assert rest[-1] == 2999
    assert rest == sorted(rest)
    assert len(rest) == spool.waiting - 3
    dropped = spool.dropped
    spool.close()
    again = Spool(tmp_path, max_bytes=1 << 20)
    assert (again.dropped, again.waiting) == (dropped, 3000 - dropped)
    assert taken(again) == [0, 1, 2, *rest]
    for n, _ in [*flying, *[(n, None) for n in rest]]:
        again.done(n)
    assert again.waiting == 0
    assert len(list(tmp_path.glob("*.seg"))) == 1
    again.close()


def test_nothing_is_dropped_without_a_bound_and_what_is_done_is_kept_as_long_as_asked(tmp_path: Path) -> None:
    spool = Spool(tmp_path, keep_bytes=5 << 20)
    for n in range(12_000):
        spool.append(record(n))
    for n, _ in spool.take(20_000):
        spool.done(n)
    kept = [r.seq for r in spool.history()]
    assert kept == list(range(kept[0], 12_000))
    assert 5_000 < len(kept) < 10_000
    assert spool.waiting == 0
    spool.close()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 3000), wrong=st.booleans(), data=st.data())
def test_a_torn_end_costs_only_what_was_torn(cut: int, wrong: bool, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        for n in range(20):
            spool.append(record(n, 100))
        spool.close()
        [segment] = Path(folder).glob("*.seg")
        whole = segment.read_bytes()
        if wrong:
            at = data.draw(st.integers(len(whole) - min(cut, len(whole)), len(whole) - 1)) if cut else len(whole) - 1
            segment.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        else:
            segment.write_bytes(whole[: max(len(whole) - cut, 0)])
        again = Spool(Path(folder))
        left = again.waiting
        again.append(record(77, 100))
        assert taken(again) == [*range(left), 77]
        assert left >= 20 - -(-max(cut, 1) // 120) - 1
        again.close()


def test_damage_in_the_middle_costs_the_rest_of_that_segment_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, max_bytes=8 << 20)
    for n in range(3000):
        spool.append(record(n))
    spool.close()
    first, *_ = sorted(tmp_path.glob("*.seg"))
    damaged = bytearray(first.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    first.write_bytes(bytes(damaged))
    again = Spool(tmp_path, max_bytes=8 << 20)
    with caplog.at_level(logging.CRITICAL, "twinflow.device"):
        rest = taken(again)
    assert rest == sorted(rest)
    assert again.damaged > 100
    assert len(rest) + again.damaged == 3000
    again.close()


def test_a_new_segment_begins_with_what_it_needs_to_be_read_alone(tmp_path: Path) -> None:
    opening = [NOTE, Record("samples", b"k", b"0 schema", (("kind", b"schema"),))]
    spool = Spool(tmp_path, max_bytes=1 << 20, opening=lambda: opening)
    for n in range(1, 500):
        spool.append(record(n))
    files = sorted(tmp_path.glob("*.seg"))
    assert len(files) > 3
    spool.close()
    assert all(list(records(path))[:2] == opening for path in files)


def test_answers_reach_the_disk_at_once_and_samples_when_they_settle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def seen(fd: int) -> None:
        synced.append(fd)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", seen)
    answers, samples = Spool(tmp_path / "answers", sync_each=True), Spool(tmp_path / "samples", max_bytes=1 << 20)
    samples.append(record(0))
    assert synced == []
    samples.settle()
    assert len(synced) == 2  # the records, then how far they are done
    samples.append(record(1))
    samples.settle()
    assert len(synced) == 2  # not yet a second later
    answers.append(record(0))
    assert len(synced) >= 3
    answers.close()
    samples.close()


def test_a_closed_spool_writes_nothing_more_whoever_has_its_files_now(tmp_path: Path) -> None:
    answers, samples = Spool(tmp_path / "a"), Spool(tmp_path / "s", max_bytes=1 << 20)
    for spool in (answers, samples):
        spool.append(record(0))
        spool.close()
    other = tmp_path / "other"
    with other.open("wb"), other.open("wb"), other.open("wb"):  # these have the descriptors now
        with pytest.raises(OSError, match="the spool is closed"):
            answers.append(record(1))
        samples.append(record(1))
        for spool in (answers, samples):
            spool.done(0)
            spool.settle()
            spool.close()
    assert other.read_bytes() == b""
    assert samples.dropped == 1
    again = Spool(tmp_path / "a")
    assert taken(again) == [0]
    again.close()


def test_one_process_has_the_folder_until_it_ends_however_it_ends(tmp_path: Path) -> None:
    hold = "import sys,time; from pathlib import Path; from connectors.device.folder import lock; "
    hold += f"lock(Path({str(tmp_path)!r})); print('held', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", hold], cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SpoolInUse, match=rf"in use by process {other.pid}; end that one"):
            lock(tmp_path)
        other.send_signal(signal.SIGKILL)
        other.wait(20)
    lock(tmp_path)


def test_a_full_disk_drops_and_counts_samples_and_refuses_what_must_not_be_lost(tmp_path: Path) -> None:
    """A real full disk is a device of its own; here the kernel's limit on the size of a file stands in for it."""
    program = """
import resource, signal, sys
from pathlib import Path
from connectors.device.segments import records
from connectors.device.spool import Spool
from connectors.device.records import Record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
bounded, answers = Spool(Path(sys.argv[1]) / "s", max_bytes=1 << 20), Spool(Path(sys.argv[1]) / "a")
for n in range(20):
    bounded.append(Record("t", b"", b"x" * 1000))
    answers.append(Record("t", b"", b"x" * 1000))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_600, 20_600))
for n in range(20):
    bounded.append(Record("t", b"", b"x" * 1000))
print(bounded.waiting, bounded.dropped)
try:
    answers.append(Record("t", b"", b"x" * 1000))
except OSError as error:
    print("refused", answers.waiting)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["20 20", "refused 20"], done.stderr
    again = Spool(tmp_path / "s", max_bytes=1 << 20)
    assert again.waiting == 20
    again.close()
