"""The docs are true where a machine can tell: the reference is current, every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.reference import document

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert (ROOT / "docs" / "reference.md").read_text() == document()


def test_every_test_that_a_page_names_is_there() -> None:
    named = {name for page in PAGES for name in re.findall(r"`(tests/[a-z_/]+\.py::test_\w+)`", page.read_text())}
    missing = [n for n in named if f"def {n.partition('::')[2]}(" not in (ROOT / n.partition("::")[0]).read_text()]
    assert missing == []
    assert len(named) > 5


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    inside = [link for link in links if not link.startswith(("http:", "https:", "mailto:"))]
    assert [link for link in inside if not (page.parent / link).exists()] == []
