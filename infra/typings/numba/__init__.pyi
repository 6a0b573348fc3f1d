"""The small part of numba that is used here, typed: a compiled function keeps its signature."""
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

_P = ParamSpec("_P")
_R = TypeVar("_R")

@overload
def njit(fn: Callable[_P, _R], /) -> Callable[_P, _R]: ...
@overload
def njit(
    *, cache: bool = ..., inline: str = ..., boundscheck: bool = ..., nogil: bool = ..., error_model: str = ..., _nrt: bool = ...
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...
def prange(*args: int) -> range: ...

__version__: str
config: Any
