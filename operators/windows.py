"""All named windows of a twin type: one core each, by kind."""

from __future__ import annotations

from typing import TypeAlias

from operators.definition import NamedWindow, TwinType
from operators.session import CountWindow, Session
from operators.types import Batch, State
from operators.window import Window, WindowOutput
from operators.window_extra import ExtraState

Named: TypeAlias = tuple[NamedWindow, WindowOutput]


class NamedWindows:
    """The windows under `windows` of a type, in its order.

    >>> from operators.definition import Signal, WindowSpec
    >>> run = NamedWindow("run", "session", ("b",), WindowSpec(length_ns=10, wait_ns=0))
    >>> probe = TwinType("probe", 1, (Signal("a"), Signal("b")), window=run.times, windows=(run,))
    >>> ((spec, out),) = NamedWindows(probe).push(Batch.of(series=[1, 1, 0], ts=[1, 9, 40], value=0.0), None)
    >>> spec.id, out.series, out.count
    ('run', array([1], dtype=int32), array([2]))
    """

    def __init__(self, twin_type: TwinType) -> None:
        self.specs = twin_type.windows
        self._cores = [_core(twin_type, spec) for spec in self.specs]
        self.in_order = any(spec.kind == "count" for spec in self.specs)

    def push(self, batch: Batch, ordered: Batch | None) -> list[Named]:
        """Take rows in log order, and, where `in_order` says that a window wants them, what they left in event order.

        `taken` of a count window belongs to the rows of `ordered`, that of all others to those of `batch`.
        """
        rows = {"count": ordered or Batch.join([])}
        return [(s, core.push(rows.get(s.kind, batch))) for s, core in zip(self.specs, self._cores, strict=True)]

    def finish(self, ordered: Batch | None) -> list[Named]:
        """End of input: what is left in event order, then all open windows, final."""
        last = self.push(Batch.join([]), ordered)
        return [*last, *((s, core.finish()) for s, core in zip(self.specs, self._cores, strict=True))]

    def snapshot(self) -> State:
        """The state of every window under `<id>/<name>`."""
        return {f"{s.id}/{k}": v for s, c in zip(self.specs, self._cores, strict=True) for k, v in c.snapshot().items()}

    def restore(self, state: State) -> None:
        """Take over a snapshot; a window that is new in the type starts anew, one that has left is forgotten.

        Raises:
            StateError: a window does not take its part, since its times, signals or statistics differ.
        """
        for spec, core in zip(self.specs, self._cores, strict=True):
            part = {name.partition("/")[2]: c for name, c in state.items() if name.partition("/")[0] == spec.id}
            if part:
                core.restore(part)


def _core(twin_type: TwinType, spec: NamedWindow) -> Window | Session | CountWindow:
    extra = ExtraState(spec, [s.name for s in twin_type.signals])
    if spec.kind == "count":
        return CountWindow(spec.count, extra)
    if spec.kind == "session":
        return Session(spec.times, twin_type.idle_timeout_ns, extra)
    return Window(extra.chosen.size, spec.times, twin_type.idle_timeout_ns, extra)
