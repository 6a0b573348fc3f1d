"""Each (device, boot, seq) passes once, gaps are told, and a plain-dictionary oracle agrees."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.dedupe import WINDOW, Dedupe
from operators.frames import Frames
from operators.types import TICK, Batch
from tests.operators.wire_cases import T0, decoder, message, sample

Sent = tuple[int, int, int]
SENT = st.tuples(
    st.integers(0, 2), st.sampled_from([0, 1, 2]), st.one_of(st.integers(-1, 12), st.sampled_from([2000, 2**62]))
)


def rows(sent: list[Sent], first: int = 0) -> Batch:
    """Two rows per message, a tick after each third message."""
    series = [x for i, (d, _, _) in enumerate(sent) for x in [2 * d, 2 * d + 1] + [TICK] * (i % 3 == 2)]
    index = [i for i in range(len(sent)) for _ in range(2 + (i % 3 == 2))]
    return Batch.of(
        series=series,
        ts=[0] * len(series),
        value=[0.0] * len(series),
        seq=[sent[i][2] for i in index],
        boot=[sent[i][1] for i in index],
        offset=[2 * i + (s == TICK) + first for i, s in zip(index, series, strict=True)],
    )


def oracle(sent: list[Sent]) -> tuple[list[bool], list[tuple[int, int, int, int]]]:
    seen: dict[tuple[int, int], set[int]] = {}
    duplicate, gaps = [], []
    for device, boot, seq in sent:
        known = seen.setdefault((device, boot), set())
        high = max(known, default=-1)
        duplicate.append(seq >= 0 and seq in known and seq > high - WINDOW)
        if seq > high + 1 and known:
            gaps.append((device, boot, high + 1, seq - 1))
        if seq >= 0:
            known.add(seq)
    return duplicate, gaps


def boots_in_order(sent: list[Sent]) -> list[Sent]:
    """Boots numbered by appearance, as decode gives them."""
    numbers: dict[tuple[int, int], int] = {}
    counts: dict[int, int] = {}
    out = []
    for device, boot, seq in sent:
        if boot and (device, boot) not in numbers:
            counts[device] = counts.get(device, 0) + 1
            numbers[device, boot] = counts[device]
        out.append((device, numbers.get((device, boot), 0), seq))
    return out


@given(sent=st.lists(SENT, max_size=40))
@settings(max_examples=60, deadline=None)
def test_verdicts_and_gaps_are_those_of_a_plain_set(sent: list[Sent]) -> None:
    sent = boots_in_order(sent)
    out = Dedupe(2).push(rows(sent))
    duplicate, gaps = oracle(sent)
    g = out.gaps
    assert out.duplicate_messages.tolist() == duplicate
    told = list(zip(g.device.tolist(), g.boot.tolist(), g.from_seq.tolist(), g.to_seq.tolist(), strict=True))
    assert told == gaps
    assert (g.missing == g.to_seq - g.from_seq + 1).all()


@given(sent=st.lists(SENT, max_size=40), at=st.integers(0, 40), resume=st.booleans())
@settings(max_examples=60, deadline=None)
def test_batch_cuts_replays_and_restarts_change_nothing(sent: list[Sent], at: int, resume: bool) -> None:
    sent = boots_in_order(sent)
    batch = rows(sent)
    edge = int(np.searchsorted(batch.offset, 2 * at))
    dedupe, whole = Dedupe(2), Dedupe(2).push(batch)
    first = dedupe.push(batch.take(slice(0, edge)))
    if resume:
        state, dedupe = dedupe.snapshot(), Dedupe(2)
        dedupe.restore(state)
    second = dedupe.push(batch.take(slice(edge, None)))
    assert [*first.duplicate, *second.duplicate] == whole.duplicate.tolist()
    assert [*first.gaps.offset, *second.gaps.offset] == whole.gaps.offset.tolist()
    assert [*first.batch.offset, *second.batch.offset] == whole.batch.offset.tolist()


def test_a_number_too_old_to_be_proven_seen_passes() -> None:
    out = Dedupe(2).push(rows([(0, 0, 5), (0, 0, 5 + WINDOW), (0, 0, 5), (0, 0, 6)]))
    assert out.duplicate_messages.tolist() == [False, False, False, False]


def test_a_new_boot_counts_from_anew_and_an_old_one_is_remembered() -> None:
    out = Dedupe(2).push(rows([(0, 1, 7), (0, 2, 0), (0, 1, 7), (0, 2, 0), (0, 2, 1)]))
    assert out.duplicate_messages.tolist() == [False, False, True, True, False]
    assert len(out.gaps) == 0


def test_the_first_body_wins() -> None:
    decoded = decoder().push(Frames.of([sample(v=1, seq=0, boot="a"), sample(v=2, seq=0, boot="a")]))
    assert Dedupe(9).push(decoded.batches[0]).batch.value.tolist() == [1.0]


def test_a_message_without_rows_leaves_no_gap() -> None:
    report = message(ts=T0, seq=1, report={"task": "lift"})
    unknown = message(ts=T0, seq=2, signals={"lidar": 1})
    decoded = decoder().push(Frames.of([sample(seq=0), report, unknown, sample(seq=3), report]))
    out = Dedupe(9).push(decoded.batches[0], decoded.messages.of_type(0))
    assert len(out.gaps) == 0
    assert out.duplicate_messages.tolist() == [False, False, False, False, True]
    assert len(out.batch) == 2
