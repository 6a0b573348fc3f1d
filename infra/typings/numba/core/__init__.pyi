"""What is used here of numba.core."""

from typing import Any

cgutils: Any
config: Any
