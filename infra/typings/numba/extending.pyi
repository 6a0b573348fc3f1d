"""The one name of numba.extending that is used here, typed: a function that kernels may call stays what it is."""
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

def register_jitable(*, no_cfunc_wrapper: bool = ..., _nrt: bool = ...) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...
