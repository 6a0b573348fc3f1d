"""What a worker does without: pandas, which pyarrow would load, and searches for garbage among all that it holds."""

from __future__ import annotations

import gc
import sys
from importlib.abc import MetaPathFinder

YOUNG, MIDDLE, OLD = 20_000, 20, 50
"""New objects before a search; a worker makes columns, and few objects refer to each other in circles."""


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out of this process", name=name)


def without_pandas() -> None:
    """Let nobody import pandas from now on: pyarrow does at its first array, half a second and 60 MB for nothing."""
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())


def settle() -> None:
    """All that was made so far stays: searches for garbage pass it over, and are rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
