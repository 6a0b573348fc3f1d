"""What is used here of numba.extending, typed: a function that kernels may call stays what it is."""
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

def register_jitable(
    *, no_cfunc_wrapper: bool = ..., _nrt: bool = ..., forceinline: bool = ...
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]: ...

def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]: ...
