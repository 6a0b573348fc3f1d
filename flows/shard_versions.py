"""What the state of a shard looks like, by version, and how a state of an older one becomes one of the next.

A change of any name, kind or row shape of the state needs the next VERSION, a step in MIGRATIONS from the one before,
and a log of its own in tests/golden/state, which every later version restores. A core that is not in a state yet
starts anew; that needs no step.

| version | since then |
| --- | --- |
| 1 | the first |
| 2 | `shard/version`; named windows have a core of their own |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from operators.errors import StateError
from operators.types import State

VERSION = 2
FIELD = "shard/version"


def _unchanged(state: State) -> State:
    return state


MIGRATIONS: Mapping[int, Callable[[State], State]] = MappingProxyType({1: _unchanged})
"""By version, the step to the next."""


def stamp() -> State:
    """What a snapshot carries of its version."""
    return {FIELD: np.array([VERSION], np.int64)}


def version_of(state: State) -> int:
    """The version of a state.

    >>> version_of({}), version_of(stamp()) == VERSION
    (1, True)
    """
    return int(state[FIELD][0]) if FIELD in state else 1


def migrated(state: State) -> State:
    """The same state as this version writes it.

    Raises:
        StateError: it is of a later version.
    """
    version = version_of(state)
    if version > VERSION:
        detail = f"is of version {version}; this twinflow knows up to {VERSION}"
        raise StateError(where="of the shard", detail=detail, fix="start the newer twinflow, or restore a savepoint")
    for step in range(version, VERSION):
        state = MIGRATIONS[step](state)
    return state | stamp()
