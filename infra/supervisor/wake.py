"""One place to wait: for a signal, for a thread that finished, for a deadline."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType
from typing import Generic, TypeVar

T = TypeVar("T")


class Wake:
    """A pipe that ends `wait` from a signal handler or another thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __call__(self) -> None:
        with suppress(OSError):  # full: it will wake anyway; closed: nobody waits any more
            os.write(self._write, b"\0")

    def wait(self, secs: float) -> None:
        """Return at the first wake-up, or after `secs`."""
        if select.select([self._read], [], [], max(0.0, secs))[0]:
            with suppress(BlockingIOError):
                while os.read(self._read, 4096):
                    pass

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)

    @contextmanager
    def on_signals(self, stop: Callable[[], None]) -> Iterator[None]:
        """While inside: SIGCHLD wakes; SIGINT, SIGTERM and SIGHUP call `stop` and wake. Main thread only."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            stop()
            self()

        def child(_number: int, _frame: FrameType | None) -> None:
            self()

        wanted = {signal.SIGINT: ask, signal.SIGTERM: ask, signal.SIGHUP: ask, signal.SIGCHLD: child}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Task(Generic[T]):
    """A call in a daemon thread: it may hang without holding up the supervisor or its end."""

    def __init__(self, work: Callable[[], T], wake: Callable[[], None]) -> None:
        self.done = False
        self._result: list[T] = []
        self.error: Exception | None = None
        self._work, self._wake = work, wake
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except Exception as error:  # handed to whoever asks for the result
            self.error = error
        self.done = True
        self._wake()

    def result(self) -> T:
        """What the call returned; raises what it raised. Only once `done`."""
        if self.error is not None:
            raise self.error
        return self._result[0]
