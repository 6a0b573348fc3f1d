"""What became of each row of a batch while it passed through operators that take rows away, and the ledger of it."""

from __future__ import annotations

import numpy as np

from operators.decoded import Messages
from operators.ledger import Counts, Ledger
from operators.types import TICK, U8, Batch, Mask, Outcome


class Verdict:
    """Follows the rows of one batch. Each `mark` is about the rows that are still on their way, and takes some away.

    >>> verdict = Verdict(Batch.of(series=[0, 0, 0], ts=[1, 2, 3], value=[1.0, 2.0, 3.0]))
    >>> verdict.mark(np.array([True, False, False]), Outcome.DUPLICATE)
    >>> verdict.mark(np.array([False, True]), Outcome.QUARANTINED)
    >>> verdict.outcome.tolist() == [Outcome.DUPLICATE, Outcome.APPLIED, Outcome.QUARANTINED]
    True
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.outcome: U8 = np.full(len(batch), int(Outcome.APPLIED), np.uint8)
        self._rows = np.arange(len(batch))

    def mark(self, gone: Mask, outcome: Outcome) -> None:
        """Give an outcome to some of the rows still on their way; they leave."""
        if gone.any():
            self.outcome[self._rows[gone]] = int(outcome)
            self._rows = self._rows[~gone]

    def mark_some(self, among: Mask, marked: Mask, outcome: Outcome) -> None:
        """Give an outcome to the rows `marked` among those of `among`; nobody leaves."""
        if marked.any():
            self.outcome[self._rows[among][marked]] = int(outcome)

    def of_messages(self, messages: Messages, duplicate: Mask) -> U8:
        """Outcome of each message: the mildest of its samples; without any, by its repeat or its unknown signals."""
        result = np.full(len(messages), int(Outcome.APPLIED), np.uint8)
        result[(messages.rows == 0) & (messages.aside > 0)] = int(Outcome.QUARANTINED)
        result[duplicate] = int(Outcome.DUPLICATE)
        filled = np.flatnonzero(messages.rows > 0)
        if filled.size:
            samples = self.outcome[self._batch.series != TICK]
            starts = np.concatenate([[0], np.cumsum(messages.rows[filled])[:-1]]).astype(np.intp)
            result[filled] = np.minimum.reduceat(samples, starts)
        return result

    def ledger(self, messages: Messages, outcome: U8) -> Ledger:
        """The ledger of this batch: its samples and unknown signals, and its messages by `outcome`."""
        aside = int(messages.aside.sum())
        samples = self.outcome[self._batch.series != TICK]
        counted = _counts(samples)
        counted.quarantined += aside
        return Ledger(len(messages), int(samples.size) + aside, _counts(outcome), counted)


def _counts(outcome: U8) -> Counts:
    n = np.bincount(outcome, minlength=len(Outcome)).tolist()
    return Counts(
        applied=n[Outcome.APPLIED],
        late=n[Outcome.LATE],
        duplicate=n[Outcome.DUPLICATE],
        rejected=n[Outcome.REJECTED],
        quarantined=n[Outcome.QUARANTINED],
    )
