"""The small part of numba that is used here, typed: a compiled function keeps its signature."""
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

def njit(
    *, cache: bool = ..., nogil: bool = ..., no_cfunc_wrapper: bool = ..., _nrt: bool = ...
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...

__version__: str
config: Any
types: Any
