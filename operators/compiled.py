"""The two decorators of compiled code: `kernel` for what Python calls, `part` for what only kernels call.

Compiling is the longest piece of a first start, so both leave out what nobody uses: wrappers for C, and reference
counts of arrays, since no kernel owns one (they borrow; scratch space comes as an argument). Counting costs at run time
too: without it the clock kernels are 11 times as fast. A part has no wrapper for Python either: called from Python it
runs as Python, slowly and with Python's integers. docs/decisions/cold-start.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit
from numba.extending import register_jitable

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled at its first call, with all its parts, and kept in the cache.

    Other threads run meanwhile (the client that fetches, above all): its arrays are the caller's alone while it runs.
    It must make no array of its own. The types of its arguments must not differ between calls, since each other kind
    (a read-only or a strided column, another width) is compiled once more.
    """
    return njit(cache=True, nogil=True, no_cfunc_wrapper=True, _nrt=False)(function)


def part(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled into the kernels that call it, once per process and per kinds of arguments.

    Always inlined: tables of columns are arguments by the dozen, and passing them on cost a third of decode.

    >>> @part
    ... def half(x: int) -> float:
    ...     return x / 2
    >>> half(3)
    1.5
    """
    return register_jitable(no_cfunc_wrapper=True, _nrt=False, forceinline=True)(function)
