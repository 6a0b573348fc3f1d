"""What is used here of llvmlite: it builds code, nothing of it outlives the compiler."""

from typing import Any

ir: Any
