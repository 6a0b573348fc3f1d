"""The folder of compiled kernels follows the sources."""

from __future__ import annotations

import os
from pathlib import Path

from infra.kernels import KEPT, digest, folder


def sources(root: Path, part: str) -> Path:
    (root / "operators").mkdir(parents=True)
    (root / "operators" / "compiled.py").write_text("x")
    (root / "operators" / "loops.py").write_text(f"from operators.compiled import part\n{part}")
    (root / "operators" / "words.py").write_text(part)
    return root


def test_a_changed_part_is_another_folder_and_other_files_do_not_matter(tmp_path: Path) -> None:
    one, two = sources(tmp_path / "1", "a = 1"), sources(tmp_path / "2", "a = 2")
    again = sources(tmp_path / "3", "a = 1")
    (again / "operators" / "words.py").write_text("b")
    assert digest(one) == digest(again) != digest(two)


def test_the_oldest_folders_go(tmp_path: Path) -> None:
    for i in range(6):
        made = tmp_path / "numba" / f"old{i}"
        made.mkdir(parents=True)
        os.utime(made, (i, i))
    mine = folder(tmp_path)
    assert {p.name for p in mine.parent.iterdir()} == {mine.name, *(f"old{i}" for i in range(7 - KEPT, 6))}
