"""Instructions that compiled code may use and Python has no word for: a load, a bit count, a step of CRC-32C."""

from __future__ import annotations

import platform
import sys
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

_WIDE, _NARROW = ir.IntType(64), ir.IntType(32)


def _crc32c_instruction() -> str:
    """LLVM's name of the instruction that this process may use, "" for none."""
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:  # compiled for some other machine
        return ""
    has, machine = llvm.get_host_cpu_features(), platform.machine()
    if machine in ("x86_64", "AMD64") and has.get("sse4.2", False):
        return "llvm.x86.sse42.crc32.64.64"
    if machine in ("aarch64", "arm64") and has.get("crc", False):
        return "llvm.aarch64.crc32cx"
    return ""


CRC32C = _crc32c_instruction()
"""Empty where `crc32c_word` must not be used."""


@intrinsic
def load_word(_typing: Any, text: Any, _at: Any) -> Any:
    """The 8 bytes of a uint8 array from a place on as a uint64, the first in the lowest bits.

    Nothing is checked: the caller knows that 0 <= at and at + 8 <= text.size.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        array = context.make_array(text)(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(place, _WIDE.as_pointer()), align=1)
        if sys.byteorder == "little":
            return word
        swap = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_WIDE, [_WIDE]), "llvm.bswap.i64")
        return builder.call(swap, [word])

    return types.uint64(text, types.int64), generate


@intrinsic
def load_byte(_typing: Any, text: Any, _at: Any) -> Any:
    """One byte of a uint8 array as an int64; the caller knows that 0 <= at < text.size, negative places are not looked
    for."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        array = context.make_array(text)(context, builder, arguments[0])
        return builder.zext(builder.load(builder.gep(array.data, [arguments[1]])), _WIDE)

    return types.int64(text, types.int64), generate


@intrinsic
def crc32c_word(_typing: Any, _crc: Any, _word: Any) -> Any:
    """A running CRC-32C (uint64, inverted) after 8 more bytes, the first in the lowest bits of a uint64."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        crc, word = arguments
        own = _WIDE if "x86" in CRC32C else _NARROW
        step = cgutils.get_or_insert_function(builder.module, ir.FunctionType(own, [own, _WIDE]), CRC32C)
        if own is _WIDE:
            return builder.call(step, [crc, word])
        return builder.zext(builder.call(step, [builder.trunc(crc, own), word]), _WIDE)

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def trailing_zeros(_typing: Any, _word: Any) -> Any:
    """Zero bits below the lowest one bit of a uint64, 64 where there is none; an int64."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def store_word(_typing: Any, text: Any, _at: Any, _word: Any) -> Any:
    """Write a uint64 into a uint8 array from a place on, its lowest bits first.

    Nothing is checked: the caller knows that 0 <= at and at + 8 <= text.size.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        array = context.make_array(text)(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = arguments[2]
        if sys.byteorder != "little":
            swap = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_WIDE, [_WIDE]), "llvm.bswap.i64")
            word = builder.call(swap, [word])
        builder.store(word, builder.bitcast(place, _WIDE.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(text, types.int64, types.uint64), generate
